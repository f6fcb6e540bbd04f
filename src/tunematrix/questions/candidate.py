"""Candidates: a baseline re-resolved with the smallest change that satisfies a request, and its run."""

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

Progress = Callable[[str], None]  # receives progress, a line at a time
FOLDER: Final = "candidates"  # in the results folder: the locks, records and environments of candidates


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """The cell to change, its locked packages, and the store of its record.

    ``direct`` names the packages that the cell requires by name, not through another package.
    """

    cell: Cell
    matrix: Matrix
    store: Store
    packages: Mapping[str, str] = field(default_factory=dict)
    direct: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """The baseline as the resolver changes it for ``requests``; ``moved`` maps a package to (before, after).

    ``required_by`` maps each other package that moves to the packages that require it.
    """

    cell: Cell
    matrix: Matrix
    requests: tuple[str, ...]
    packages: Mapping[str, str]
    moved: Mapping[str, tuple[str | None, str | None]]
    required_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load_baseline(name: str | None, store: Store) -> Baseline:
    """The baseline called ``name``: a cell, or any file that ``lock --from`` reads.

    Without a name, the cell that ``matrix.toml`` sets as its baseline. Raises ``UsageError``.
    """
    if name and (path := Path(name)).is_file():
        return _baseline_from_file(path, store)
    matrix = table.load()
    if not (cell_name := name or matrix.baseline):
        raise UsageError(
            "no baseline; name a cell or a lock file with --baseline (bisect: --cell), "
            "or set 'baseline' in matrix.toml"
        )
    cell = matrix.cell(cell_name)
    if not matrix.lock_path(cell).is_file():
        lock.write(cell, matrix.lock_path(cell))
    direct = [*cell.pins, *lock.WORKFLOW_PACKAGES, *lock.TEST_TOOLS]
    # An imported lock does not show which packages are required by name, so all of them count as direct.
    return _read_baseline(cell, matrix, store, [] if cell.imported_from else direct)


def _baseline_from_file(path: Path, store: Store) -> Baseline:
    """A baseline from a lock file, stored with the candidates so that the matrix stays unchanged."""
    matrix = Matrix(folder=_candidates_folder(store), cells=())
    imported_lock = imported.import_lock(path, matrix.python)
    digest = lock.digest(imported_lock.text)[:8]
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", path.stem).strip(".-") or "file"
    cell = Cell(name=f"{name}-{digest}", why=f"imported from {path.name}", imported_from=path.name)
    write_atomic(matrix.lock_path(cell), imported_lock.text)
    return _read_baseline(cell, matrix, Store(matrix.folder), [])


def _read_baseline(cell: Cell, matrix: Matrix, store: Store, direct: Sequence[str]) -> Baseline:
    packages = lock.versions(matrix.lock_path(cell).read_text(), str(matrix.lock_path(cell)))
    locked = tuple(dict.fromkeys(name for name in direct or packages if name in packages))
    return Baseline(cell=cell, matrix=matrix, store=store, packages=packages, direct=locked)


def resolve(base: Baseline, requests: Sequence[str], store: Store) -> Candidate:
    """Resolve ``requests`` over the baseline; every other package stays where the resolver allows it.

    Raises ``UsageError`` for a malformed request, ``UnresolvableError`` with uv's own explanation.
    """
    requested = [_parse_request(text) for text in requests]
    names = {canonicalize_name(requirement.name) for requirement in requested}
    torch = [f"torch=={lock.public_version(base.packages['torch'])}"] if "torch" in base.packages else []
    unpinned = [name for name in base.direct if name not in names and name != "torch"]
    text = _compile([*map(str, requested), *([] if "torch" in names else torch), *unpinned], base)
    packages = lock.versions(text)
    moved = {
        name: (base.packages.get(name), packages.get(name))
        for name in sorted(base.packages.keys() | packages.keys())
        if _public(base.packages.get(name)) != _public(packages.get(name))
    }
    description = f"{base.cell.name} with {', '.join(requests)}"
    cell = Cell(name=_cell_name(base, requests), why=description, pins={})
    matrix = Matrix(folder=_candidates_folder(store), cells=(cell,), python=base.cell.python)
    header = f"# {description}; every other package stays where the resolver allows it.\n"
    path = matrix.lock_path(cell)
    if not path.is_file() or path.read_text() != header + text:
        write_atomic(path, header + text)
    return Candidate(
        cell=cell,
        matrix=matrix,
        requests=tuple(requests),
        packages=packages,
        moved=moved,
        required_by={name: _dependents(text, name) for name in moved if name not in names},
    )


def _compile(requirements: Sequence[str], base: Baseline) -> str:
    """Compile a lock; uv keeps the versions of an existing output file where the requirements allow it."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "lock.txt"
        output.write_text("".join(f"{name}=={version}\n" for name, version in base.packages.items()))
        style = ["--quiet", "--no-header", "--annotation-style", "line", "--python-version", base.cell.python]
        command = ["pip", "compile", *style, *uv.torch_options(), "--output-file", str(output), "-"]
        uv.checked(uv.run(*command, stdin="\n".join(requirements) + "\n"), UnresolvableError)
        return output.read_text()


def _parse_request(text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise UsageError(f"{text!r} is not a request such as 'trl==1.16.0' or 'transformers>=5.20'") from None
    if not requirement.specifier:
        requirement.specifier &= ">=0"
    return requirement


def _dependents(text: str, name: str) -> tuple[str, ...]:
    """The packages that require ``name``, from uv's annotations in the lock."""
    annotation = re.search(rf"(?m)^{re.escape(name)}==\S+\s+# via (.*)$", text)
    return tuple(dependent.strip() for dependent in annotation[1].split(",")) if annotation else ()


def _public(version: str | None) -> str | None:
    return lock.public_version(version) if version else None


def _cell_name(base: Baseline, requests: Sequence[str]) -> str:
    suffix = "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", text.replace("==", "-")) for text in requests)
    digest = lock.digest(repr((base.packages, tuple(requests))))[:6]
    return f"{base.cell.name}-{suffix}"[:80].strip(".-") + f"-{digest}"


def _candidates_folder(store: Store) -> Path:
    """The folder of the candidates; ``store`` may already be theirs."""
    return store.folder if store.folder.name == FOLDER else store.folder / FOLDER


def candidate_store(store: Store) -> Store:
    return Store(_candidates_folder(store))


def run(candidate: Candidate, options: Options, store: Store) -> Record:
    """Run the candidate, or reuse its record if nothing has changed."""
    annotate = ledger.load(table.constraints_folder()).annotate
    return cells.run(candidate.matrix, candidate.cell, options, candidate_store(store), annotate)


def install(candidate: Candidate, store: Store) -> None:
    """Install the environment of the candidate before its run."""
    candidates = candidate_store(store)
    venv = candidates.cell_folder(candidate.cell.name) / "venv"
    with candidates.locked(candidate.cell.name):
        environment.sync(venv, candidate.matrix.lock_path(candidate.cell), candidate.cell)


def run_baseline(base: Baseline, options: Options) -> Record:
    return cells.run(base.matrix, base.cell, options, base.store, ledger.load(base.matrix.folder).annotate)
