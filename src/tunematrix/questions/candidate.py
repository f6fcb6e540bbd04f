"""Candidates: a baseline re-resolved with the smallest change that satisfies a request, and its run."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record
from tunematrix.base.store import CANDIDATES, Store
from tunematrix.base.versions import exact_version, parse_requirement, parse_version
from tunematrix.locks import discover, imported, lock, moves, table
from tunematrix.locks.package_files import PackageFile
from tunematrix.locks.releases import day_of, releases
from tunematrix.locks.table import Cell, Matrix
from tunematrix.run import cell as cells
from tunematrix.run import environment
from tunematrix.run.options import Options
from tunematrix.shared import reading
from tunematrix.verdict import ledger
from tunematrix.verdict.diff import moved_packages

Progress = Callable[[str], None]  # receives progress, a line at a time


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
    notes: tuple[str, ...] = ()  # where it is not what its file says
    listed: PackageFile = field(default_factory=PackageFile)  # what its file lists

    @property
    def source(self) -> str:
        """The name of the file that it was read from; empty for a cell."""
        return self.listed.files[0].name if self.listed.files else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """The baseline as the resolver changes it for ``requests``; ``moved`` maps a package to (before, after).

    ``required_by`` maps each other package that moves to the packages that require it, and ``unreleased`` a
    package that moves from or to what is no release, such as a commit, to both: it is in no lock.
    """

    cell: Cell
    matrix: Matrix
    requests: tuple[str, ...]
    packages: Mapping[str, str]
    moved: Mapping[str, tuple[str | None, str | None]]
    required_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # where it is not what its file says
    unreleased: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def load_baseline(name: str | None, store: Store, progress: Progress = lambda _: None) -> Baseline:
    """The baseline called ``name``: a cell, or any file that ``lock --from`` reads.

    Without a name, the cell that ``matrix.toml`` sets as its baseline, or where there are no cells, what the
    repository pins; ``progress`` is told which. Raises ``UsageError``.
    """
    if name is None and not table.has_cells(table.constraints_folder()):
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        path, what = discover.find(Path(), _candidates_folder(store), python)
        progress(f"baseline: {what}")
        return _baseline_from_file(path, store)
    if name and reading.is_file(name):
        return _baseline_from_file(Path(name), store)
    if name and (Path(name).suffix in (".txt", ".toml", ".lock", ".in") or "/" in name):
        raise UsageError(f"--baseline {name}: no such file")
    matrix = table.load()
    if not (cell_name := name or matrix.baseline):
        raise UsageError(
            "no baseline; name a cell or a lock file with --baseline (bisect: --cell), "
            "or set 'baseline' in matrix.toml"
        )
    cell = matrix.cell(cell_name)
    if not matrix.lock_path(cell).is_file():
        lock.write(cell, matrix.lock_path(cell))
    if warning := imported.outdated(matrix, cell):
        progress(warning)
    direct = [*cell.pins, *lock.WORKFLOW_PACKAGES, *lock.TEST_TOOLS]
    # An imported lock does not show which packages are required by name, so all of them count as direct.
    return _read_baseline(cell, matrix, store, [] if cell.imported_from else direct)


def _baseline_from_file(path: Path, store: Store) -> Baseline:
    """A baseline from a lock file, stored with the candidates so that the matrix stays unchanged."""
    matrix = Matrix(folder=_candidates_folder(store), cells=())
    imported_lock = imported.import_lock(path, matrix.python)
    digest = lock.digest(imported_lock.text)[:8]
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", path.stem).strip(".-")[:60] or "file"
    cell = Cell(name=f"{name}-{digest}", why=f"imported from {path.name}", imported_from=path.name)
    write_atomic(matrix.lock_path(cell), imported_lock.text)
    base = _read_baseline(cell, matrix, candidate_store(store), [])
    notes = tuple(imported_lock.differences("baseline"))
    return dataclasses.replace(base, notes=notes, listed=imported_lock.listed)


def _read_baseline(cell: Cell, matrix: Matrix, store: Store, direct: Sequence[str]) -> Baseline:
    packages = lock.read_versions(matrix.lock_path(cell))
    locked = tuple(dict.fromkeys(name for name in direct or packages if name in packages))
    return Baseline(cell=cell, matrix=matrix, store=store, packages=packages, direct=locked)


def resolve(base: Baseline, requests: Sequence[str], store: Store) -> Candidate:
    """Resolve ``requests`` over the baseline; every other package stays where the resolver allows it.

    Raises ``UsageError`` for a malformed request, ``UnresolvableError`` with uv's own explanation.
    """
    requested = [_parse_request(text) for text in requests]
    names = {canonicalize_name(requirement.name) for requirement in requested}
    requirements = [*requested, *(_kept_torch(base) if "torch" not in names else [])]
    torch = next((str(item.specifier) for item in requirements if item.name == "torch"), "")
    unpinned = [name for name in base.direct if name not in names and name != "torch"]
    candidate, text = describe(
        base, requests, _compile([*map(str, requirements), *unpinned], base, torch), store
    )
    path = candidate.matrix.lock_path(candidate.cell)
    if not path.is_file() or path.read_text() != text:
        write_atomic(path, text)
    return candidate


def describe(base: Baseline, requests: Sequence[str], text: str, store: Store) -> tuple[Candidate, str]:
    """The candidate with the lock ``text``, as a resolver wrote it, and the lock with its header."""
    names = {canonicalize_name(_parse_request(request).name) for request in requests}
    packages = lock.versions(text)
    moved = _moved(base, packages)
    description = f"{base.cell.name} with {', '.join(requests)}"
    cell = Cell(name=_cell_name(base, requests), why=description, pins={})
    matrix = Matrix(folder=_candidates_folder(store), cells=(cell,), python=base.cell.python)
    header = f"# {description}; every other package stays where the resolver allows it.\n"
    candidate = Candidate(
        cell=cell,
        matrix=matrix,
        requests=tuple(requests),
        packages=packages,
        moved=moved,
        required_by={name: _dependents(text, name) for name in moved if name not in names},
    )
    return candidate, header + text


def exactly(base: Baseline, name: str, packages: Mapping[str, str], store: Store) -> Candidate:
    """A candidate with exactly these packages; those with equal packages are one candidate."""
    text = "".join(f"{package}=={version}\n" for package, version in packages.items())
    digest = lock.digest(text)
    cell = Cell(name=f"{base.cell.name}-{digest}", why=f"{base.cell.name}, {name}")
    matrix = Matrix(folder=candidate_store(store).root, cells=(cell,), python=base.cell.python)
    if not matrix.lock_path(cell).is_file():
        write_atomic(matrix.lock_path(cell), f"# {base.cell.name}, {name}.\n{text}")
    return Candidate(cell=cell, matrix=matrix, requests=(name,), packages=packages, moved={})


def from_file(base: Baseline, path: Path, store: Store) -> Candidate:
    """The candidate that has exactly what a file pins; raises ``UsageError``."""
    imported_lock = imported.import_lock(path, base.cell.python)
    candidate = exactly(base, f"as in {path}", imported_lock.packages, store)
    notes = tuple(imported_lock.differences("candidate"))
    # The lock of a cell does not show what its file had from git.
    before = base.listed if base.listed.files else PackageFile(requirements=_pins(base))
    unreleased = moves.unreleased(before, imported_lock.listed)
    return dataclasses.replace(_with_moved(candidate, base), notes=notes, unreleased=unreleased)


def _pins(base: Baseline) -> list[Requirement]:
    return [Requirement(f"{name}=={version}") for name, version in base.packages.items()]


def requested(base: Baseline, requests: Sequence[str], store: Store) -> Candidate:
    """The baseline with the requested versions alone, whatever the bounds of other packages say.

    Raises ``UsageError`` for a request that is not of one release, or of one that the index does not have.
    """
    packages = dict(base.packages)
    for text in requests:
        requirement = _parse_request(text)
        name = str(canonicalize_name(requirement.name))
        if (version := exact_version(requirement)) is None:
            raise UsageError(
                f"{text!r} cannot be resolved, so it has to name one release, such as trl==1.16.0"
            )
        with contextlib.suppress(InfrastructureError):  # offline, the ladder may know it all the same
            if not day_of(name, version):
                newest = [str(release.version) for release in releases(name) if release.final]
                raise UsageError(f"{text}: no such release; the newest is {newest[-1] if newest else 'none'}")
        packages[name] = version
    return _with_moved(exactly(base, ", ".join(requests), packages, store), base)


def _with_moved(candidate: Candidate, base: Baseline) -> Candidate:
    return dataclasses.replace(candidate, moved=_moved(base, candidate.packages))


def _moved(base: Baseline, packages: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """The packages whose releases differ; another build of the same release does not count."""
    pairs = moved_packages(base.packages, packages)
    return {name: pair for name, pair in pairs.items() if _public(pair[0]) != _public(pair[1])}


def _kept_torch(base: Baseline) -> list[Requirement]:
    """The baseline's torch, in whatever build."""
    version = base.packages.get("torch")
    return [Requirement(f"torch=={lock.public_version(version)}")] if version else []


def _compile(requirements: Sequence[str], base: Baseline, torch: str) -> str:
    """Compile a lock; uv keeps the versions of the baseline where the requirements allow it."""
    return lock.compile_over(base.packages, requirements, base.cell.python, torch)


def _parse_request(text: str) -> Requirement:
    """The requirement in ``text``, of a release on the index; raises ``UsageError`` for anything else."""
    try:
        requirement = parse_requirement(text)
    except ValueError:
        requirement = None
    if requirement is None or requirement.url:
        raise UsageError(f"{text[:200]!r} is not a request such as 'trl==1.16.0' or 'transformers>=5.20'")
    if parse_version(requirement.name):
        raise UsageError(f"{text!r} is a version alone; write it with its package, such as 'trl=={text}'")
    if requirement.marker or requirement.url:
        raise UsageError(f"{text!r}: a request has no marker and no URL; write it as 'trl==1.16.0'")
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
    return f"{base.cell.name}-{suffix}"[:73].strip(".-") + f"-{digest}"


def _candidates_folder(store: Store) -> Path:
    """The folder of the candidates; ``store`` may already be theirs."""
    return store.root if store.root.name == CANDIDATES else store.root / CANDIDATES


def candidate_store(store: Store) -> Store:
    """The store of the candidates' records, for the same model; all models share the candidates' locks."""
    return Store(_candidates_folder(store), store.model)


def run(candidate: Candidate, options: Options, store: Store) -> Record:
    """Run the candidate, or reuse its record if nothing has changed."""
    annotate = ledger.load(table.constraints_folder()).annotate
    return cells.run(candidate.matrix, candidate.cell, options, candidate_store(store), annotate)


def install(candidate: Candidate, store: Store) -> None:
    """Install the environment of the candidate before its run."""
    candidates = candidate_store(store)
    venv = candidates.environment(candidate.cell.name)
    with candidates.locked(candidate.cell.name):
        environment.sync(venv, candidate.matrix.lock_path(candidate.cell), candidate.cell)


def run_baseline(base: Baseline, options: Options) -> Record:
    return cells.run(base.matrix, base.cell, options, base.store, ledger.load(base.matrix.folder).annotate)
