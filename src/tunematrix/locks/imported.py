"""Cells from an existing environment: requirements, a ``pip freeze``, a ``pylock.toml`` or a ``uv.lock``.

Pins in the file are kept, also if a resolver would refuse them together. Only the test tools are added; a
pin that has to move for them is reported.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.versions import exact_version
from tunematrix.locks import editing, lock, package_files, uv
from tunematrix.locks.package_files import PackageFile
from tunematrix.locks.table import CORE, FILE, Cell, Matrix, check_name

MOVED_PREFIX: Final = "# Moved for the test tools: "
SHOWN: Final = 3  # changed packages that a warning names


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedLock:
    """A lock made from another file: ``moved`` maps a package to its versions in the file and in the lock.

    ``left_out`` names CUDA packages and entries that are not releases on an index, such as VCS installs.
    ``replaced`` names those entries that another package requires: the lock has a release of them. ``listed``
    is what the file lists.
    """

    packages: Mapping[str, str]
    added: tuple[str, ...]
    moved: Mapping[str, tuple[str, str]]
    left_out: tuple[str, ...]
    replaced: tuple[str, ...] = ()
    listed: PackageFile = field(default_factory=PackageFile)

    @property
    def cuda(self) -> list[str]:
        """The CUDA packages of the lock; it has some only if no CPU build of its torch can be had."""
        return [name for name in self.packages if uv.CUDA.match(name)]

    def differences(self, name: str) -> Iterator[str]:
        """Where the lock is not what the file says, a line each; ``name`` is what it is called in them."""
        if self.left_out:
            yield f"{name}: left out, not releases for a CPU: {', '.join(self.left_out)}"
        for package in self.replaced:
            version = self.packages[package]
            yield f"{name}: {package} is no release on an index; {package} {version} takes its place"
        for package, (before, after) in self.moved.items():
            yield f"{name}: {package} {before} -> {after}, for the test tools"

    @property
    def text(self) -> str:
        return "".join(f"{name}=={version}\n" for name, version in sorted(self.packages.items()))


def import_lock(path: Path, python: str, torch: str | None = None) -> ImportedLock:
    """Read ``path`` and complete it to a lock for ``python``, with torch ``torch`` if the file names none.

    Raises ``UsageError`` for a file that lists no packages in a supported format, ``UnresolvableError`` if
    its requirements cannot be resolved.
    """
    listed = package_files.read(path, python)
    requirements = [item for item in listed.requirements if not uv.CUDA.match(canonicalize_name(item.name))]
    if not requirements:
        raise UsageError(
            f"{path}: lists no packages; name a requirements.txt, pip freeze, pylock.toml or uv.lock"
        )
    names = {str(canonicalize_name(item.name)) for item in listed.requirements}
    pins = {str(canonicalize_name(item.name)): pin for item in requirements if (pin := _pin(item))}
    constraints = [_portable(item) for item in listed.constraints]
    wheels = [] if torch else uv.torch_constraints(python=python)
    platform = _Platform(python, torch or "".join(wheels).removeprefix("torch==") or None)
    packages = _complete(requirements, constraints, pins, platform)
    cuda = sorted(name for name in names if uv.CUDA.match(name))
    return ImportedLock(
        packages=packages,
        added=tuple(sorted(packages.keys() - names - set(listed.others))),
        moved=dict(sorted(_moved(pins, packages).items())),
        left_out=tuple(name for name in (*listed.others, *cuda) if name not in packages),
        replaced=tuple(name for name in listed.others if name in packages),
        listed=listed,
    )


def _moved(pins: Mapping[str, str], packages: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {
        name: (version, packages[name])
        for name, version in pins.items()
        if name in packages and Version(lock.public_version(packages[name])) != Version(version)
    }


def import_cell(matrix: Matrix, source: Path, name: str, *, force: bool = False) -> tuple[Cell, ImportedLock]:
    """Make the cell ``name`` from ``source``: its lock and its entry in ``matrix.toml``.

    Raises ``UsageError`` if ``name`` is a cell that is not imported or, unless ``force``, if its lock would
    replace a file that an import did not write. Nothing is written until all is known to be readable.
    """
    check_name(name, "--name")
    has_matrix = (matrix.folder / FILE).is_file()
    existing = next((cell for cell in matrix.cells if cell.name == name), None) if has_matrix else None
    if existing and not existing.imported_from:
        raise UsageError(f"'{name}' is a cell of {FILE} already; choose another name with --name")
    cell = existing or Cell(name=name, why=f"imported from {source.name}", python=matrix.python)
    path = matrix.lock_path(cell)
    if not force:
        _check_replaceable(path, source, listed=existing is not None)
    imported_lock = import_lock(source, cell.python, matrix.torch)
    versions = imported_lock.packages
    pins = {package: versions[package] for package in (*CORE, *cell.pins) if package in versions}
    cell = dataclasses.replace(cell, imported_from=source.name, pins=dict(sorted(pins.items())))
    edits = editing.Edits(replace=[cell]) if existing else editing.Edits(add=[(cell, None)])
    if has_matrix:
        editing.edited_text(matrix.folder, edits)
    write_atomic(path, lock_text(source, imported_lock))
    if has_matrix:
        editing.edit(matrix.folder, edits)
    return cell, imported_lock


def lock_text(source: Path, imported_lock: ImportedLock) -> str:
    """The lock as it is written: with what it was imported from, and which pins of that it does not keep."""
    moved = ", ".join(f"{name}=={before}" for name, (before, _) in imported_lock.moved.items())
    comment = f"{lock.IMPORTED_PREFIX}{source.name}; installed exactly as written.\n"
    return lock.sealed(comment + (f"{MOVED_PREFIX}{moved}\n" if moved else ""), imported_lock.text)


def outdated(matrix: Matrix, cell: Cell) -> str:
    """In a line, that the file from which the lock of ``cell`` was imported pins something else by now.

    Empty if it does not, or if there is no such file in the current folder.
    """
    path, source = matrix.lock_path(cell), Path(cell.imported_from or "")
    if not (cell.imported_from and (matrix.folder / FILE).is_file() and path.is_file() and source.is_file()):
        return ""
    try:
        text, listed = lock.read(path), package_files.read(source, cell.python).requirements
        changed = list(_changed(lock.versions(text), listed, _moved_at_import(text)))
    except UsageError:  # who runs the cell need not have anything of that file
        return ""
    if not changed:
        return ""
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return (
        f"{cell.name} was made from {source}, which has changed ({', '.join(changed[:SHOWN])}{more}); "
        f"update it: tunematrix lock --from {source} --name {cell.name}"
    )


def _changed(
    locked: Mapping[str, str], listed: Iterable[Requirement], moved: Mapping[str, str]
) -> Iterator[str]:
    """The entries of a file that a lock made from it does not meet."""
    for requirement in listed:
        name = str(canonicalize_name(requirement.name))
        version, pin = lock.public_version(locked.get(name, "")), _pin(requirement)
        if not version:
            met = bool(uv.CUDA.match(name))  # never part of a lock for the CPU
        elif pin:
            met = Version(pin) == Version(version) or moved.get(name) == pin
        else:
            met = requirement.specifier.contains(version, prereleases=True)
        if not met:
            yield f"{name} {version or 'not there'} -> {pin or requirement.specifier or 'any'}"


def _moved_at_import(text: str) -> dict[str, str]:
    """The pins of the file that the lock did not keep from the start."""
    match = re.search(f"^{MOVED_PREFIX}(.*)$", text, re.MULTILINE)
    return lock.versions(match[1].replace(", ", "\n")) if match else {}


def _check_replaceable(path: Path, source: Path, *, listed: bool) -> None:
    """Raise ``UsageError`` if no import wrote ``path``; ``listed`` if its cell is an imported one."""
    if not os.path.lexists(path):
        return
    if path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"{path}: is the file to import; choose another name with --name")
    if not lock.is_imported(path) and not listed:
        raise UsageError(
            f"{path}: exists, and 'lock --from' did not write it; choose another name with --name, "
            "or replace it with --force"
        )
    if lock.is_imported(path) and lock.is_edited(path):
        raise UsageError(f"{path}: was edited by hand; to replace it, repeat the command with --force")


@dataclass(frozen=True, slots=True)
class _Platform:
    """The Python version, and the version of torch for requirements that do not name torch."""

    python: str
    torch: str | None


def _complete(
    requirements: list[Requirement],
    constraints: Sequence[str],
    pins: Mapping[str, str],
    platform: _Platform,
) -> dict[str, str]:
    """The requirements, their dependencies and the test tools, with as few moved pins as possible."""
    requested = [_portable(requirement) for requirement in requirements]
    tools = [name for name in lock.TEST_TOOLS if name not in pins]
    try:
        return _resolve([*requested, *tools], constraints, platform)
    except UnresolvableError:
        if len(pins) < len(requirements):
            raise
    # All is pinned and the resolver refuses the pins, but somebody uses this environment: keep it as it is.
    try:
        added = _resolve(lock.TEST_TOOLS, [f"{name}=={version}" for name, version in pins.items()], platform)
    except UnresolvableError:
        added = _resolve(lock.TEST_TOOLS, [], platform)
    return {**pins, **added}


def _resolve(requirements: Sequence[str], constraints: Sequence[str], platform: _Platform) -> dict[str, str]:
    """Versions by package; raises ``UnresolvableError`` with uv's explanation."""
    if platform.torch and _torch_specifier([*requirements, *constraints]) is None:
        try:
            return _compile(requirements, [*constraints, f"torch=={platform.torch}"], platform.python)
        except UnresolvableError as error:
            if not re.search(r"\btorch\b", str(error)):
                raise
    return _compile(requirements, constraints, platform.python)


def _compile(requirements: Sequence[str], constraints: Sequence[str], python: str) -> dict[str, str]:
    """Resolve with a CPU build of torch, as far as one can be had."""
    specifier = _torch_specifier([*requirements, *constraints])
    wheels = uv.torch_constraints(specifier, python) if specifier is not None else []
    style = ["--quiet", "--python-version", python, "--no-header", "--no-annotate"]

    def attempt(platform: list[str]) -> subprocess.CompletedProcess[str]:
        return uv.compile(requirements, [*constraints, *wheels], [*style, *platform])

    completed = uv.cpu_first(attempt, [] if wheels else uv.torch_backend())
    return lock.versions(uv.checked(completed, UnresolvableError).stdout)


def _torch_specifier(requirements: Iterable[str]) -> str | None:
    """The versions of torch that are allowed; None if no requirement names torch."""
    parsed = [Requirement(text) for text in requirements]
    specifiers = [str(item.specifier) for item in parsed if canonicalize_name(item.name) == "torch"]
    return ",".join(filter(None, specifiers)) if specifiers else None


def _portable(requirement: Requirement) -> str:
    """The requirement without its marker and without the local part of a pin: ``+cu121`` is a build."""
    version = _pin(requirement)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{f'=={version}' if version else requirement.specifier}"


def _pin(requirement: Requirement) -> str | None:
    """The exact version of a pinned requirement, without its local part."""
    exact = exact_version(requirement)
    return lock.public_version(exact) if exact else None
