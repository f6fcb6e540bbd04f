"""Whether a summary is still that of what it was made from, so that it need not be made again.

Beside the summary lies what the terminal shows of it, with a digest of all that went in, and size and time of
each file that was written. That a record was reused changes none of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import tunematrix
from tunematrix.base.files import check_inside, files_below, write_atomic
from tunematrix.base.store import Store, ran_last
from tunematrix.locks.table import Matrix
from tunematrix.report.overview import Overview
from tunematrix.run.outdated import Reader

FILE: Final = ".overview"  # in the folder of a model; not .json, as records are
PACKAGE: Final = Path(tunematrix.__file__).parent
# Lines of a record, as the store writes it, in which a run that was reused differs.
REUSE: Final = re.compile(rb'^ "reused(?:_at)?": .*\n', re.MULTILINE)
REUSED: Final = re.compile(rb'^ "reused": true,$', re.MULTILINE)
WORKLOAD: Final = re.compile(rb'^ "workload": \{\n  "file": (".*"),$', re.MULTILINE)


def digest(matrix: Matrix, store: Store, further: Iterable[Path]) -> str:
    """A hash over all that a summary is made from: records, the files of the matrix, ``further`` ones, us.

    A workload counts with all that it reads. Empty while a cell runs, or after one was killed: which of the
    two no file says.
    """
    if any(store.running_path(cell.name).is_file() for cell in matrix.cells):
        return ""
    found, reader = hashlib.sha256(), Reader()
    found.update(repr([ran_last(store), [_stat(path) for path in sorted(files_below(PACKAGE))]]).encode())
    for path in (*_records(matrix, store), *sorted(matrix.folder.glob("*.*")), *further):
        if path.is_file():
            content = REUSE.sub(b"", path.read_bytes())
            found.update(f"{path}\0{len(content)}\0".encode() + content)
            for file in WORKLOAD.findall(content):
                found.update(repr(reader.read(json.loads(file))).encode())
    return found.hexdigest()


def _records(matrix: Matrix, store: Store) -> Iterator[Path]:
    for cell in matrix.cells:
        yield store.path(cell.name)
        yield store.interrupted_path(cell.name)
        yield store.previous_path(cell.name)


def _stat(path: Path) -> list[Any]:
    """Name, size and time; of a missing file, its name."""
    with contextlib.suppress(OSError):
        stat = path.stat()
        return [str(path), stat.st_size, stat.st_mtime_ns]
    return [str(path)]


def keep(store: Store, digest: str, overview: Overview, written: Iterable[Path]) -> None:
    """Keep what the terminal shows of a summary that was made from the inputs with ``digest``."""
    content = {
        "inputs": digest,
        "files": [_stat(path) for path in written],
        "overview": overview.to_dict(),
    }
    write_atomic(check_inside(store.folder / FILE, store.root), _sealed(json.dumps(content)))


def forget(store: Store) -> None:
    (store.folder / FILE).unlink(missing_ok=True)


def load(matrix: Matrix, store: Store, further: Iterable[Path]) -> Overview | None:
    """What the terminal shows of the summary that is there; None if it must be made again."""
    try:
        seal, _, text = (store.folder / FILE).read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return None
    if seal != _seal(text):
        return None
    content = json.loads(text)
    if any(_stat(Path(name)) != [name, *rest] for name, *rest in content["files"]):
        return None
    if not content["inputs"] or content["inputs"] != digest(matrix, store, further):
        return None
    overview = Overview.from_dict(content["overview"])
    lines = [dataclasses.replace(line, reused=_is_reused(store.path(line.cell))) for line in overview.lines]
    return dataclasses.replace(overview, lines=lines)


def _is_reused(path: Path) -> bool:
    return path.is_file() and bool(REUSED.search(path.read_bytes()))


def _sealed(text: str) -> str:
    return f"{_seal(text)}\n{text}"


def _seal(text: str) -> str:
    """A checksum, so that a damaged file, or one of another release, is none."""
    return hashlib.sha256(f"{tunematrix.__name__} {text}".encode()).hexdigest()
