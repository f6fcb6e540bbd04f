"""Cells from an existing environment: requirements, a ``pip freeze``, a ``pylock.toml`` or a ``uv.lock``.

Pins in the file are kept, also if a resolver would refuse them together. Only the test tools are added; a
pin that has to move for them is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tunematrix.base import toml
from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.files import write_atomic
from tunematrix.locks import lock, table, uv
from tunematrix.locks.table import CORE, FILE, Cell, Matrix, check_name

CUDA: Final = re.compile(r"(nvidia|cuda|triton|pytorch-triton)(-|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedLock:
    """A lock made from another file: ``moved`` maps a package to its versions in the file and in the lock.

    ``left_out`` names CUDA packages and entries that are not releases on an index, such as VCS installs.
    """

    packages: Mapping[str, str]
    added: tuple[str, ...]
    moved: Mapping[str, tuple[str, str]]
    left_out: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(f"{name}=={version}\n" for name, version in sorted(self.packages.items()))


def import_lock(path: Path, python: str) -> ImportedLock:
    """Read ``path`` and complete it to a lock for ``python``.

    Raises ``UsageError`` for a file that lists no packages in a supported format, ``UnresolvableError`` if
    its requirements cannot be resolved.
    """
    entries = list(_read_packages(path, python))
    left_out = tuple(name for name, requirement in entries if requirement is None or CUDA.match(name))
    requirements = [requirement for name, requirement in entries if requirement and not CUDA.match(name)]
    if not requirements:
        raise UsageError(
            f"{path}: lists no packages; name a requirements.txt, pip freeze, pylock.toml or uv.lock"
        )
    names = [canonicalize_name(requirement.name) for requirement in requirements]
    pins: dict[str, str] = {
        name: version
        for name, requirement in zip(names, requirements, strict=True)
        if (version := _pin(requirement))
    }
    packages = _complete(requirements, pins, python)
    moved = {
        name: (version, packages[name])
        for name, version in sorted(pins.items())
        if lock.public_version(packages[name]) != version
    }
    added = tuple(sorted(packages.keys() - set(names)))
    return ImportedLock(packages=packages, added=added, moved=moved, left_out=left_out)


def import_cell(matrix: Matrix, source: Path, name: str) -> tuple[Cell, ImportedLock]:
    """Make the cell ``name`` from ``source``: its lock and, if missing, its entry in ``matrix.toml``.

    Raises ``UsageError`` if ``name`` is a cell that is not imported.
    """
    check_name(name, "--name")
    existing = next((cell for cell in matrix.cells if cell.name == name), None)
    if existing and not existing.imported_from:
        raise UsageError(f"'{name}' is a cell of {FILE} already; choose another name with --name")
    python = existing.python if existing else matrix.python
    imported = import_lock(source, python)
    core_pins = {package: imported.packages[package] for package in CORE if package in imported.packages}
    cell = Cell(
        name=name,
        why=f"imported from {source.name}",
        python=python,
        imported_from=source.name,
        pins=core_pins,
    )
    write_atomic(
        matrix.lock_path(cell),
        f"# Imported from {source.name}; installed exactly as written.\n{imported.text}",
    )
    if not existing and (matrix.folder / FILE).is_file():
        table.edit(matrix.folder, add=[(cell, None)])
    return cell, imported


def _complete(requirements: list[Requirement], pins: Mapping[str, str], python: str) -> dict[str, str]:
    """The requirements, their dependencies and the test tools, with as few moved pins as possible."""
    requested = [_portable(requirement) for requirement in requirements]
    try:
        return _resolve([*requested, *(name for name in lock.TEST_TOOLS if name not in pins)], [], python)
    except UnresolvableError:
        if len(pins) < len(requirements):
            raise
    # All is pinned and the resolver refuses the pins, but somebody uses this environment: keep it as it is.
    try:
        tools = _resolve(lock.TEST_TOOLS, [f"{name}=={version}" for name, version in pins.items()], python)
    except UnresolvableError:
        tools = _resolve(lock.TEST_TOOLS, [], python)
    return {**pins, **tools}


def _resolve(requirements: Sequence[str], constraints: Sequence[str], python: str) -> dict[str, str]:
    """Versions by package; raises ``UnresolvableError`` with uv's explanation."""
    options = ["--quiet", "--python-version", python, "--no-header", "--no-annotate", *uv.torch_options()]
    completed = uv.compile(requirements, constraints, options)
    return lock.versions(uv.checked(completed, UnresolvableError).stdout)


def _portable(requirement: Requirement) -> str:
    """The requirement without its marker and without the local part of a pin: ``+cu121`` is a build."""
    version = _pin(requirement)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{f'=={version}' if version else requirement.specifier}"


def _pin(requirement: Requirement) -> str | None:
    """The exact version of a pinned requirement, without its local part."""
    exact = [
        clause.version
        for clause in requirement.specifier
        if clause.operator in ("==", "===") and "*" not in clause.version
    ]
    return lock.public_version(exact[0]) if exact else None


def _read_packages(path: Path, python: str) -> Iterator[tuple[str, Requirement | None]]:
    """Name and requirement of each package; None for one that is not a release on an index."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}; name a file that lists packages") from None
    if path.suffix not in (".toml", ".lock"):
        yield from _parse_requirements(path, text, python)
        return
    content = toml.parse(text, path)
    entries = content.get("packages") or content.get("package")
    if not isinstance(entries, list):
        raise UsageError(f"{path}: neither a pylock.toml nor a uv.lock: it lists no packages")
    for entry in entries:
        yield from _parse_lock_entry(entry, python)


def _parse_lock_entry(entry: Mapping[str, Any], python: str) -> Iterator[tuple[str, Requirement | None]]:
    """An entry of a ``pylock.toml`` or, with ``source`` and ``resolution-markers``, of a ``uv.lock``."""
    name = canonicalize_name(entry["name"])
    markers = entry.get("resolution-markers") or ([entry["marker"]] if entry.get("marker") else [])
    if markers and not any(_applies(marker, python) for marker in markers):
        return
    source = entry.get("source", {})
    if source.keys() & {"virtual", "editable", "directory"}:
        return  # the project that the lock belongs to
    released = (
        "version" in entry
        and not entry.keys() & {"vcs", "directory"}
        and not source.keys() & {"git", "path", "url"}
    )
    yield name, Requirement(f"{name}=={entry['version']}") if released else None


def _parse_requirements(path: Path, text: str, python: str) -> Iterator[tuple[str, Requirement | None]]:
    for number, line in enumerate(re.sub(r"\\\n", " ", text).splitlines(), start=1):
        entry = re.sub(r"(^|\s)#.*", "", line).strip()
        entry = re.sub(r"\s--hash=\S+", "", entry).strip()
        if not entry or entry.startswith(("--", "-i ", "-f ")):
            continue
        if entry.startswith(("-r ", "-c ")):
            yield from _read_packages(path.parent / entry[3:].strip(), python) if entry[1] == "r" else ()
            continue
        if entry.startswith(("-e ", ".", "/", "git+", "http:", "https:", "file:")):
            yield entry.split()[-1], None
            continue
        try:
            requirement = Requirement(entry)
        except InvalidRequirement:
            raise UsageError(f"{path}: line {number}: {entry!r} is not a requirement") from None
        if requirement.marker is None or _applies(str(requirement.marker), python):
            yield canonicalize_name(requirement.name), None if requirement.url else requirement


def _applies(marker: str, python: str) -> bool:
    """Whether an environment marker holds for a Python version; an invalid marker never holds."""
    try:
        return Marker(marker).evaluate(
            {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
        )
    except InvalidMarker:
        return False
