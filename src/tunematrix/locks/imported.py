"""A cell from what somebody has: requirements, a ``pip freeze``, a ``pylock.toml`` or a ``uv.lock``.

What is pinned there stays as it is, also where a resolver would refuse it; only the in-cell test tools are
added, and what they force to move is told.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.files import write_atomic
from tunematrix.locks import lock, table, uv
from tunematrix.locks.table import CORE, FILE, Cell, Matrix, check_name

CUDA: Final = re.compile(r"(nvidia|cuda|triton|pytorch-triton)(-|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedLock:
    """A lock made of somebody's file: ``moved`` maps a package to (theirs, ours)."""

    packages: Mapping[str, str]
    added: tuple[str, ...]
    moved: Mapping[str, tuple[str, str]]
    left_out: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(f"{name}=={version}\n" for name, version in sorted(self.packages.items()))


def import_lock(path: Path, python: str) -> ImportedLock:
    """Read ``path`` and complete it to a lock for ``python``.

    Raises ``UsageError`` for a file that is none of the known kinds, ``UnresolvableError`` where what it asks
    for cannot be had.
    """
    rows = list(_rows(path, python))
    left_out = tuple(name for name, requirement in rows if requirement is None or CUDA.match(name))
    theirs = [requirement for name, requirement in rows if requirement and not CUDA.match(name)]
    if not theirs:
        raise UsageError(
            f"{path}: no packages in it; name a requirements.txt, pip freeze, pylock.toml or uv.lock"
        )
    pins: dict[str, str] = {canonicalize_name(one.name): version for one in theirs if (version := _pin(one))}
    packages = _complete(theirs, pins, python)
    moved = {
        name: (version, packages[name])
        for name, version in sorted(pins.items())
        if packages[name].split("+")[0] != version
    }
    added = tuple(sorted(packages.keys() - {canonicalize_name(one.name) for one in theirs}))
    return ImportedLock(packages=packages, added=added, moved=moved, left_out=left_out)


def import_cell(matrix: Matrix, source: Path, name: str) -> tuple[Cell, ImportedLock]:
    """Make the cell ``name`` of ``source``: its lock, and a row in ``matrix.toml`` if it has none.

    Raises ``UsageError`` where the name belongs to a cell that is made from its row.
    """
    check_name(name, "--name")
    known = next((cell for cell in matrix.cells if cell.name == name), None)
    if known and not known.imported_from:
        raise UsageError(f"'{name}' is a cell of {FILE} already; choose another name with --name")
    python = known.python if known else matrix.python
    lock_made = import_lock(source, python)
    shown = {package: lock_made.packages[package] for package in CORE if package in lock_made.packages}
    cell = Cell(
        name=name, why=f"lock_made from {source.name}", python=python, imported_from=source.name, pins=shown
    )
    write_atomic(
        matrix.lock(cell),
        f"# Given: lock_made from {source.name}; installed exactly as written.\n{lock_made.text}",
    )
    if not known and (matrix.folder / FILE).is_file():
        table.edit(matrix.folder, put=[(cell, None)])
    return cell, lock_made


def _complete(theirs: list[Requirement], pins: Mapping[str, str], python: str) -> dict[str, str]:
    """Their packages, what these still need, and the test tools; as little moved as can be."""
    asked = [_wanted(one) for one in theirs]
    try:
        return _resolve([*asked, *(name for name in lock.TOOLS if name not in pins)], [], python)
    except UnresolvableError:
        if len(pins) < len(theirs):
            raise
    # No resolver would make this environment, yet somebody runs it: take it as it is.
    try:
        tools = _resolve(lock.TOOLS, [f"{name}=={version}" for name, version in pins.items()], python)
    except UnresolvableError:
        tools = _resolve(lock.TOOLS, [], python)
    return {**pins, **tools}


def _resolve(asked: Sequence[str], constraints: Sequence[str], python: str) -> dict[str, str]:
    """The resolution of ``asked``; raises ``UnresolvableError`` with uv's own explanation."""
    options = ["--quiet", "--python-version", python, "--no-header", "--no-annotate", *uv.torch_source()]
    done = uv.compile(asked, constraints, options)
    return lock.versions(uv.checked(done, UnresolvableError).stdout)


def _wanted(one: Requirement) -> str:
    """A requirement without its marker and, if pinned, without a local part: ``+cu121`` is a build."""
    version = _pin(one)
    extras = f"[{','.join(sorted(one.extras))}]" if one.extras else ""
    return f"{one.name}{extras}{f'=={version}' if version else one.specifier}"


def _pin(one: Requirement) -> str | None:
    exact = [
        item.version for item in one.specifier if item.operator in ("==", "===") and "*" not in item.version
    ]
    return exact[0].split("+")[0] if exact else None


def _rows(path: Path, python: str) -> Iterator[tuple[str, Requirement | None]]:
    """Name and requirement of each package; None for what is no release of an index."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}; name a file that lists packages") from None
    if path.suffix not in (".toml", ".lock"):
        yield from _lines(path, text, python)
        return
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    listed = content.get("packages") or content.get("package")
    if not isinstance(listed, list):
        raise UsageError(f"{path}: neither a pylock.toml nor a uv.lock: it lists no packages")
    for row in listed:
        yield from _row(row, python)


def _row(row: Mapping[str, Any], python: str) -> Iterator[tuple[str, Requirement | None]]:
    """An entry of a ``pylock.toml`` or, with ``source`` and ``resolution-markers``, of a ``uv.lock``."""
    name = canonicalize_name(row["name"])
    markers = row.get("resolution-markers") or ([row["marker"]] if row.get("marker") else [])
    if markers and not any(_applies(marker, python) for marker in markers):
        return
    source = row.get("source", {})
    if source.keys() & {"virtual", "editable", "directory"}:
        return  # the project itself
    released = (
        "version" in row
        and not row.keys() & {"vcs", "directory"}
        and not source.keys() & {"git", "path", "url"}
    )
    yield name, Requirement(f"{name}=={row['version']}") if released else None


def _lines(path: Path, text: str, python: str) -> Iterator[tuple[str, Requirement | None]]:
    for number, line in enumerate(re.sub(r"\\\n", " ", text).splitlines(), start=1):
        bare = re.sub(r"(^|\s)#.*", "", line).strip()
        bare = re.sub(r"\s--hash=\S+", "", bare).strip()
        if not bare or bare.startswith(("--", "-i ", "-f ")):
            continue
        if bare.startswith(("-r ", "-c ")):
            yield from _rows(path.parent / bare[3:].strip(), python) if bare[1] == "r" else ()
            continue
        if bare.startswith(("-e ", ".", "/", "git+", "http:", "https:", "file:")):
            yield bare.split()[-1], None
            continue
        try:
            one = Requirement(bare)
        except InvalidRequirement:
            raise UsageError(f"{path}: line {number}: {bare!r} is not a requirement") from None
        if one.marker is None or _applies(str(one.marker), python):
            yield canonicalize_name(one.name), None if one.url else one


def _applies(marker: str, python: str) -> bool:
    try:
        return Marker(marker).evaluate(
            {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
        )
    except InvalidMarker:
        return False
