"""A baseline with something else pinned: the smallest change that a resolver makes for it, and its run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks import imported, lock, table, uv
from tunematrix.locks.table import Cell, Matrix
from tunematrix.run import cell as cells
from tunematrix.run import environment
from tunematrix.run.options import Options
from tunematrix.verdict import ledger

Progress = Callable[[str], None]  # told of progress, a line at a time
FOLDER: Final = "candidates"  # below the results: locks, records and environments of what was tried


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What is changed: its lock, the packages that its owner asks for by name, and where its record lies."""

    cell: Cell
    matrix: Matrix
    store: Store
    packages: Mapping[str, str] = field(default_factory=dict)
    direct: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """The baseline as a resolver changes it for ``requests``; ``moved`` maps a package to (before, after).

    ``required_by`` names, for each package that had to move along, those that need it to.
    """

    cell: Cell
    matrix: Matrix
    requests: tuple[str, ...]
    packages: Mapping[str, str]
    moved: Mapping[str, tuple[str | None, str | None]]
    required_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def baseline(name: str | None, store: Store) -> Baseline:
    """The baseline called ``name``: a cell, or any file that ``lock --from`` reads.

    Without one it is the cell that ``matrix.toml`` names. Raises ``UsageError``.
    """
    if name and (path := Path(name)).is_file():
        return _from_file(path, store)
    matrix = table.load()
    if not (chosen := name or matrix.baseline):
        raise UsageError("no baseline: name a cell or a lock file with --baseline, or set it in matrix.toml")
    cell = matrix.cell(chosen)
    if not matrix.lock(cell).is_file():
        lock.write(cell, matrix.lock(cell))
    # Of a lock that was given nobody knows what was asked for by name: all of it stays.
    return _read(cell, matrix, store, [] if cell.imported_from else [*cell.pins, *lock.NEEDED, *lock.TOOLS])


def _from_file(path: Path, store: Store) -> Baseline:
    """A baseline of somebody's file, kept among the candidates: the matrix stays as it is."""
    matrix = Matrix(folder=_folder(store), cells=())
    brought = imported.import_lock(path, matrix.python)
    digest = lock.digest(brought.text)[:8]
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", path.stem).strip(".-") or "file"
    cell = Cell(name=f"{name}-{digest}", why=f"brought from {path.name}", imported_from=path.name)
    write_atomic(matrix.lock(cell), brought.text)
    return _read(cell, matrix, Store(matrix.folder), [])


def _read(cell: Cell, matrix: Matrix, store: Store, asked: Sequence[str]) -> Baseline:
    packages = lock.versions(matrix.lock(cell).read_text(), str(matrix.lock(cell)))
    named = tuple(dict.fromkeys(name for name in asked or packages if name in packages))
    return Baseline(cell=cell, matrix=matrix, store=store, packages=packages, direct=named)


def resolve(base: Baseline, requests: Sequence[str], store: Store) -> Candidate:
    """Resolve ``requests`` over the baseline: everything else stays where a resolver can leave it.

    Raises ``UsageError`` for a request that is none, ``UnresolvableError`` with uv's own explanation.
    """
    wanted = [_request(text) for text in requests]
    names = {canonicalize_name(one.name) for one in wanted}
    torch = [f"torch=={lock.public(base.packages['torch'])}"] if "torch" in base.packages else []
    free = [name for name in base.direct if name not in names and name != "torch"]
    asked = [*map(str, wanted), *([] if "torch" in names else torch), *free]
    text = _resolved(asked, base)
    packages = lock.versions(text)
    moved = {
        name: (base.packages.get(name), packages.get(name))
        for name in sorted(base.packages.keys() | packages.keys())
        if _plain(base.packages.get(name)) != _plain(packages.get(name))
    }
    folder = _folder(store)
    cell = Cell(name=_name(base, requests), why=f"{base.cell.name} with {', '.join(requests)}", pins={})
    matrix = Matrix(folder=folder, cells=(cell,), python=base.cell.python)
    header = f"# {base.cell.name} with {', '.join(requests)}; all else as far as it can stay.\n"
    path = matrix.lock(cell)
    if not path.is_file() or path.read_text() != header + text:
        write_atomic(path, header + text)
    needed = {name: _users(text, name) for name in moved if name not in names}
    return Candidate(
        cell=cell,
        matrix=matrix,
        requests=tuple(requests),
        packages=packages,
        moved=moved,
        required_by=needed,
    )


def _resolved(asked: Sequence[str], base: Baseline) -> str:
    """uv keeps the versions of an output file that is there, as far as the requests allow."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "lock.txt"
        output.write_text("".join(f"{name}=={version}\n" for name, version in base.packages.items()))
        style = ["--quiet", "--no-header", "--annotation-style", "line", "--python-version", base.cell.python]
        command = ["pip", "compile", *style, *uv.torch_source(), "--output-file", str(output), "-"]
        uv.checked(uv.run(*command, stdin="\n".join(asked) + "\n"), UnresolvableError)
        return output.read_text()


def _request(text: str) -> Requirement:
    try:
        one = Requirement(text)
    except InvalidRequirement:
        raise UsageError(f"{text!r} is not a request such as 'trl==1.16.0' or 'transformers>=5.20'") from None
    if not one.specifier:
        one.specifier &= ">=0"
    return one


def _users(text: str, name: str) -> tuple[str, ...]:
    """The packages that need ``name``, as uv annotates them."""
    found = re.search(rf"(?m)^{re.escape(name)}==\S+\s+# via (.*)$", text)
    return tuple(user.strip() for user in found[1].split(",")) if found else ()


def _plain(version: str | None) -> str | None:
    return lock.public(version) if version else None


def _name(base: Baseline, requests: Sequence[str]) -> str:
    told = "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", text.replace("==", "-")) for text in requests)
    digest = lock.digest(repr((base.packages, tuple(requests))))[:6]
    return f"{base.cell.name}-{told}"[:80].strip(".-") + f"-{digest}"


def _folder(store: Store) -> Path:
    """Where candidates live; ``store`` may be that of a candidate already."""
    return store.folder if store.folder.name == FOLDER else store.folder / FOLDER


def candidates(store: Store) -> Store:
    return Store(_folder(store))


def run(candidate: Candidate, options: Options, store: Store) -> Record:
    """Run the candidate, or take its record when nothing has changed."""
    annotate = ledger.load(table.constraints_folder()).annotate
    return cells.run(candidate.matrix, candidate.cell, options, candidates(store), annotate)


def install(candidate: Candidate, store: Store) -> None:
    """Have the candidate's environment ready before it is run."""
    venv = candidates(store).work(candidate.cell.name) / "venv"
    with candidates(store).locked(candidate.cell.name):
        environment.sync(venv, candidate.matrix.lock(candidate.cell), candidate.cell)


def run_baseline(base: Baseline, options: Options) -> Record:
    return cells.run(base.matrix, base.cell, options, base.store, ledger.load(base.matrix.folder).annotate)
