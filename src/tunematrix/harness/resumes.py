"""Resumed runs: from which checkpoints, in which state of the files, and whether they went on from there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tunematrix.harness import copies, observe
from tunematrix.harness.checkpoint import compare_checkpoints

STATE: Final = "trainer_state.json"

Numbers = Mapping[str, Any]


def first_checkpoints(named: Sequence[Path], before: Path, out: Path) -> list[Path]:
    """The checkpoints in ``out`` to resume from: those ``named``, or the first that the stage wrote.

    A folder of checkpoints stands for the first in it, since the last is the end of the run. What an earlier
    stage wrote is read, and no checkpoint of this one; ``before`` is ``out`` as it was before the stage.
    """
    written = [path for path in named if not (before / path.relative_to(out)).exists()]
    if written:
        return [next(iter(copies.checkpoints(path)), path) for path in written]
    folders = sorted({path.parent for path in out.rglob("checkpoint-*") if copies.step_of(path) is not None})
    new = (
        [path for path in copies.checkpoints(folder) if not (before / path.relative_to(out)).exists()]
        for folder in folders
    )
    return [paths[0] for paths in new if paths]


def copy_until(starts: Sequence[Path], before: Path, out: Path, target: Path) -> None:
    """Copy ``out`` as it was when the checkpoints ``starts`` were written, as if the run ended then."""
    copies.copy_all(before, target)
    end = max(_written(start) for start in starts)
    for path in sorted(out.rglob("*")):
        if path.is_file() and not _is_later(path, starts, end):
            copies.add(path, target / path.relative_to(out))


def _written(start: Path) -> int:
    """When a checkpoint was complete, in nanoseconds."""
    return max((path.stat().st_mtime_ns for path in start.rglob("*") if path.is_file()), default=0)


def _is_later(path: Path, starts: Sequence[Path], end: int) -> bool:
    """Whether a file was written after the checkpoints, by its time or by the step of its own checkpoint."""
    if any(path.is_relative_to(start) for start in starts):
        return False
    for start in starts:
        step = copies.step_of(start)
        if step is not None and path.is_relative_to(start.parent):
            other = copies.step_of(Path(path.relative_to(start.parent).parts[0]))
            if other is not None and other > step:
                return True
    return path.stat().st_mtime_ns > end


def steps(starts: Sequence[Path]) -> list[int]:
    """The steps at which checkpoints were written, as the trainer wrote it in them."""
    files = (start / STATE for start in starts)
    return [int(json.loads(path.read_text())["global_step"]) for path in files if path.is_file()]


def not_continued(whole: Numbers, resumed: Numbers, steps: Sequence[int]) -> list[str]:
    """Why a run that should go on from checkpoints of these ``steps`` did not; empty if it did."""
    if not whole.get(observe.ENDED):
        return []  # the script trains without a Trainer
    if not resumed.get(observe.ENDED):
        return ["no Trainer trained in it"]
    began = [value for name, value in resumed.items() if name.rpartition(".")[2] == "began_at"]
    missing = [step for step in steps if step not in began]
    if missing:
        first = ", ".join(map(str, began))
        return [f"it did not go on from the checkpoint of step {missing[0]}: it began at step {first}"]
    trained = [value for name, value in resumed.items() if name.rpartition(".")[2] == "steps_trained"]
    if not any(trained):
        return ["it trained nothing, since its checkpoint is the end of the run; save after the first step"]
    count = _count(resumed)
    if count and count >= _count(whole) > 0:
        return [f"it did not go on from the checkpoint: it trained on all {count} batches again"]
    return []


def batch_differences(whole: Numbers, resumed: Numbers) -> list[str]:
    """A run that goes on sees the last batches of the whole run; only the last are kept of many."""
    last = [numbers.get("last_batches", numbers.get("batches", [])) for numbers in (whole, resumed)]
    size = min(map(len, last))
    if not size:
        return []
    expected, seen = (list(batches[-size:]) for batches in last)
    return [] if seen == expected else [f"data order: {expected} became {seen}"]


def _count(numbers: Numbers) -> int:
    return int(numbers.get("batch_count", 0))


def compare_ends(whole: Path, resumed: Path) -> list[str]:
    """The differences between the last checkpoints in two folders."""
    last = next(reversed(copies.checkpoints(whole)), None)
    if last is None:
        return []
    other = resumed / last.name
    if not other.is_dir():
        there = sorted(path.name for path in resumed.glob("checkpoint-*"))
        return [f"it wrote no {last.name}, only {', '.join(there) or 'nothing'}"]
    return compare_checkpoints(last, other)
