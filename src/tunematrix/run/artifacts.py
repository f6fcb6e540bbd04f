"""What a run keeps for another cell to load: data, and the uninterrupted runs with their checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tunematrix.base.store import Store

FOLDER: Final = "artifacts"
TESTS: Final = {"finetune": "test_real_checkpoint_resume", "align": "test_real_align_resume"}
KEPT: Final = ("data", "checkpoints/whole", "checkpoints/finetuned")


def folder_of(store: Store, cell: str) -> Path:
    """Where a run of ``cell`` keeps its artifacts."""
    return store.work(cell) / FOLDER


def keep(tests: Path, artifacts: Path) -> None:
    """Copy the artifacts of a run out of the folders of its ``tests``."""
    shutil.rmtree(artifacts, ignore_errors=True)
    for command, test in TESTS.items():
        for folder in sorted(tests.glob(f"{test}*")):
            for part in KEPT:
                if (folder / part).is_dir() and not (artifacts / command / part).exists():
                    shutil.copytree(folder / part, artifacts / command / part)
