"""What a team's own scripts saved: the ``keep`` folders of ``workload.toml``, to be read by cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store, read_record
from tunematrix.questions import files, reads
from tunematrix.questions.candidate import Baseline, Candidate, Progress, candidate_store
from tunematrix.questions.files import Files
from tunematrix.questions.reads import Answer, Folder, inspect, kinds, last_checkpoint
from tunematrix.run import artifacts
from tunematrix.run.options import Options
from tunematrix.verdict import kept as verdict

NONE: Final = (
    "no run has kept anything to read; name a folder, or let a stage of workload.toml keep what it writes, "
    "such as keep = ['{out}/adapter'], and run it"
)


def last(store: Store) -> list[Folder]:
    """The folders that the cell kept which ran last; raises ``UsageError`` if none kept any."""
    keys = store.folder.glob(f"*/{artifacts.FOLDER}/{artifacts.KEY_FILE}")
    for key in sorted(keys, key=lambda path: path.stat().st_mtime, reverse=True):
        if folders := of_cell(store, key.parent.parent.name):
            return folders
    raise UsageError(f"{store.folder}: {NONE}")


def of_cells(store: Store, cells: Iterable[str]) -> list[Folder]:
    """The folders that the cells kept."""
    return [folder for cell in cells for folder in of_cell(store, cell)]


def of_cell(store: Store, cell: str) -> list[Folder]:
    """The folders that the last run of ``cell`` kept; none if it kept none, or was cut off.

    The base model of an adapter is that of the run, whose own copy is gone. Raises ``UsageError`` for files
    that cannot be read.
    """
    own = artifacts.folder_of(store, cell)
    root, path = own / artifacts.SCRIPTS_KEPT, store.path(cell)
    if not root.is_dir() or not path.is_file():
        return []
    record = read_record(path)
    if not artifacts.belong_to(own, record):
        return []
    model = own / artifacts.MODEL
    base = str(model) if model.is_dir() else str(record.model.get("name", ""))
    return [inspect(folder, base) for folder in _readable(root)]


def _readable(folder: Path) -> Iterator[Path]:
    """The folders with something to read; what lies in them is theirs."""
    checkpoint = last_checkpoint(folder)
    if any(kinds(folder)) or (checkpoint and "checkpoint" in kinds(checkpoint)):
        yield folder
        return
    for path in sorted(folder.glob("*/")):
        yield from _readable(path)


def swap(
    base: Baseline, candidate: Candidate, store: Store, after: Record, progress: Progress
) -> Files | None:
    """What each of the two stacks reads of the folders that the scripts kept in the other.

    None if no stage keeps any. ``after`` is the candidate's record: where the script itself resumed, or
    failed to, that is told of it.
    """
    old, new = base.cell.name, candidate.cell.name
    there, back = of_cell(base.store, old), of_cell(candidate_store(store), new)
    if not there and not back:
        return None
    progress("files: each stack reads what the scripts kept in the other")
    members = files.both(base, candidate, store)
    answers = reads.read(
        [*there, *back], members, store, progress, jobs=len(members), seconds=Options().time_limit
    )
    resumed = any(probe.name.startswith("exchange:") for probe in after.probes)
    saved = dict(_parts(base.store, old, answers[: len(there)]))
    saved_now = dict(_parts(candidate_store(store), new, answers[len(there) :]))
    return Files(
        findings=(
            *verdict.find(saved, old, new, resumed=resumed),
            *verdict.find_back(saved_now, new, old),
        ),
        rollback=verdict.rollback(saved_now, new, old),
        absent=verdict.absent([each.verdict for each in answers]),
    )


def _parts(store: Store, cell: str, answers: Iterable[Answer]) -> Iterator[tuple[str, verdict.Part]]:
    """Each part of the folders that ``cell`` kept, by its name, such as ``sft/adapter``."""
    root = artifacts.folder_of(store, cell) / artifacts.SCRIPTS_KEPT
    for answer in answers:
        place = answer.folder.path.relative_to(root).as_posix()
        for name, entry in answer.folder.parts.items():
            outcomes = {each: parts.get(name) for each, parts in answer.verdict.parts.items()}
            yield f"{place}/{name}".removeprefix("./"), verdict.Part(kind=entry["kind"], outcomes=outcomes)
