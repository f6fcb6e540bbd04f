"""What a run keeps for another cell to load: data, and the uninterrupted runs with their checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tunematrix.base.store import Store

FOLDER: Final = "artifacts"
# The tests whose folders hold the artifacts, by the pipeline command that they run.
TEST_NAMES: Final = {"finetune": "test_real_checkpoint_resume", "align": "test_real_align_resume"}
KEPT_FOLDERS: Final = ("data", "checkpoints/whole", "checkpoints/finetuned")


def folder_of(store: Store, cell: str) -> Path:
    """The folder for the artifacts of ``cell``."""
    return store.cell_folder(cell) / FOLDER


def keep(basetemp: Path, target: Path) -> None:
    """Copy the artifacts of a run from pytest's ``basetemp`` to ``target``, replacing older ones."""
    shutil.rmtree(target, ignore_errors=True)
    for command, test_name in TEST_NAMES.items():
        for test_folder in sorted(basetemp.glob(f"{test_name}*")):
            for folder in KEPT_FOLDERS:
                if (test_folder / folder).is_dir() and not (target / command / folder).exists():
                    shutil.copytree(test_folder / folder, target / command / folder)
