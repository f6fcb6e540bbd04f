"""The exchange: every cell writes its artifacts, and every cell reads those of every other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tunematrix.base.errors import UntestableError
from tunematrix.base.store import Store
from tunematrix.questions.candidate import Progress
from tunematrix.run import activity
from tunematrix.run import exchange as cells
from tunematrix.run.exchange import Member, Writer
from tunematrix.verdict.pairs import UNAVAILABLE, Pair, Side

ALL: Final = "all artifacts"  # in place of an artifact, where a cell takes no part


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """The outcome: a pair for each artifact, writer and reader, and the cells that took no part, with why."""

    sides: tuple[Side, ...]
    pairs: tuple[Pair, ...]
    absent: Mapping[str, str]


def run(
    members: Sequence[Member],
    store: Store,
    jobs: int,
    seconds: float,
    progress: Progress,
    *,
    between: Sequence[tuple[str, str]] = (),
    frozen: Sequence[Writer] = (),
) -> Exchange:
    """Write what is not there yet, then read it; what neither side's lock and code changed is not run again.

    Two processes for each cell at most. ``between`` are the pairs (writer, reader) to read, all by default;
    ``frozen`` are writers whose artifacts are there, and who read nothing.
    """
    absent: dict[str, str] = {}

    def write(member: Member) -> tuple[str, str]:
        with activity.running(member.name), store.locked(member.name):
            if member.has_written:
                return "", ""
            try:
                return "wrote", cells.write(member, seconds)
            except UntestableError as error:
                return "wrote", str(error)

    writing: list[Writer] = [*frozen, *members]
    wanted = set(between) or {(writer.name, reader.name) for writer in writing for reader in members}
    with ThreadPoolExecutor(jobs) as pool:
        for member, (did, reason) in zip(members, pool.map(write, members), strict=True):
            if reason:
                absent[member.name] = reason
            if did:
                progress(f"{member.name}: {reason or 'wrote its artifacts'}")
        present = [member for member in members if member.name not in absent]
        writing = [writer for writer in writing if writer.name not in absent]
        keys = {writer.name: writer.key() for writer in writing}

        def read(reader: Member) -> tuple[list[Pair], str]:
            writers = [writer for writer in writing if (writer.name, reader.name) in wanted]
            with activity.running(reader.name), store.locked(reader.name):
                return _read(reader, writers, keys, seconds)

        pairs: list[Pair] = []
        for reader, (found, told) in zip(present, pool.map(read, present), strict=True):
            pairs += found
            if told:
                progress(f"{reader.name}: {told}")
    pairs += [
        Pair(writer=writer, reader=reader, model="", artifact=ALL, outcome=UNAVAILABLE, detail=absent[name])
        for writer, reader in sorted(wanted)
        for name in (writer, reader)[:: 1 if writer in absent else -1][:1]
        if name in absent
    ]
    sides = [Side(name=each.name, packages=dict(each.packages), reads=False) for each in frozen]
    sides += [Side(name=member.name, packages=dict(member.packages)) for member in members]
    return Exchange(sides=tuple(sides), pairs=tuple(pairs), absent=absent)


def _read(
    reader: Member, writers: Sequence[Writer], keys: Mapping[str, str], seconds: float
) -> tuple[list[Pair], str]:
    """The pairs of one reader, and what to tell of it."""
    both = {writer.name: keys[writer.name] + keys[reader.name] for writer in writers}
    known = {writer.name: reader.results_of(writer.name, both[writer.name]) for writer in writers}
    stale = [writer for writer in writers if known[writer.name] is None]
    reason = ""
    if stale:
        try:
            found, reason = cells.read(reader, stale, seconds)
        except UntestableError as error:
            found, reason = [], str(error)
        fresh = {writer.name: [each for each in found if each["writer"] == writer.name] for writer in stale}
        if not reason:
            reader.keep_results({name: (both[name], results) for name, results in fresh.items()})
        known |= fresh
    pairs = list(_pairs(reader.name, known, reason))
    told = f"read {len(stale)} of {len(writers)} cells" if stale else ""
    return pairs, reason or told


def _pairs(reader: str, known: Mapping[str, Sequence[cells.Result] | None], reason: str) -> Iterator[Pair]:
    for writer, results in known.items():
        yield from (Pair.of(reader, result) for result in results or ())
        if reason:  # what is missing was not read
            yield Pair(
                writer=writer, reader=reader, model="", artifact=ALL, outcome=UNAVAILABLE, detail=reason
            )
