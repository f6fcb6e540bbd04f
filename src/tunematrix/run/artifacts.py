"""What a run keeps for another cell to load: data, and the uninterrupted runs with their checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.shared.repos import TINY

FOLDER: Final = "artifacts"
KEY_FILE: Final = "key.txt"  # in the folder: the key of the record that the artifacts belong to
# The tests whose folders hold the artifacts, by the pipeline command that they run.
TEST_NAMES: Final = {"finetune": "test_real_checkpoint_resume", "align": "test_real_align_resume"}
SCRIPTS: Final = "test_scripts"  # the test that runs a team's own scripts
SCRIPTS_KEPT: Final = "kept"  # and the folder in its own that another cell loads
MODEL: Final = "model"  # a tiny one that the cell made; no Hub has it
KEPT_FOLDERS: Final = ("data", "checkpoints/whole", "checkpoints/finetuned")


def folder_of(store: Store, cell: str) -> Path:
    """The folder for the artifacts of ``cell``."""
    return store.cell_folder(cell) / FOLDER


def belong_to(folder: Path, record: Record) -> bool:
    """Whether the artifacts in ``folder`` come from the run of ``record``, or one with the same key."""
    path = folder / KEY_FILE
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace") == record.key


def keep(basetemp: Path, target: Path, record: Record) -> None:
    """Copy the artifacts of ``record``'s run from pytest's ``basetemp`` to ``target``, replacing older ones.

    What its stack offers goes with them: the other stack tries what it does not offer itself.

    The key is written last: artifacts whose copy was interrupted belong to no record.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for command, test_name in TEST_NAMES.items():
        for test_folder in sorted(basetemp.glob(f"{test_name}*")):
            for folder in KEPT_FOLDERS:
                if (test_folder / folder).is_dir() and not (target / command / folder).exists():
                    shutil.copytree(test_folder / folder, target / command / folder)
    for kept in sorted(basetemp.glob(f"{SCRIPTS}*/{SCRIPTS_KEPT}")):
        shutil.copytree(kept, target / SCRIPTS_KEPT, dirs_exist_ok=True)
        if record.model.get("name", "").startswith(TINY):
            for model in kept.parent.glob("models/*"):
                shutil.copytree(model, target / MODEL, dirs_exist_ok=True)
    surface = {name: getattr(record, name) for name in ("defaults", "signatures", "symbols")}
    (target / "surface.json").write_text(json.dumps(surface), encoding="utf-8")
    (target / KEY_FILE).write_text(record.key, encoding="utf-8")
