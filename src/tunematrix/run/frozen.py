"""Frozen sets: artifacts that a cell wrote once, kept with its lock, so that no later code rewrites them.

A set is a folder beside ``matrix.toml``: ``frozen/CELL`` with ``artifacts.tar.xz``, the ``lock.txt`` that
wrote them, and ``frozen.json`` with the checksums of both. The archive also has the models that they were
made with.
"""

from __future__ import annotations

import io
import lzma
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.base.errors import UsageError
from tunematrix.locks import lock
from tunematrix.locks.table import Matrix
from tunematrix.run import environment
from tunematrix.shared import reading

SCHEMA: Final = 1
FOLDER: Final = "frozen"  # beside matrix.toml
CONTENT: Final = "frozen.json"
ARCHIVE: Final = "artifacts.tar.xz"
LOCK: Final = "lock.txt"
ARTIFACTS: Final = "artifacts"  # in the archive
BASES: Final = "models"
UNPACKED: Final = ".frozen"  # in the results folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Frozen:
    """A frozen set, a writer of an exchange: ``unpacked`` has the files for the readers."""

    cell: str
    folder: Path
    unpacked: Path
    digest: str

    @property
    def name(self) -> str:
        return f"{self.cell} (frozen)"

    @property
    def packages(self) -> Mapping[str, str]:
        return lock.read_versions(self.folder / LOCK)

    @property
    def artifacts(self) -> Path:
        return self.unpacked / ARTIFACTS

    @property
    def bases(self) -> Path:
        return self.unpacked / BASES

    def key(self) -> str:
        """A hash of the artifacts, and of nothing that may change."""
        return self.digest


def folder_of(matrix: Matrix, cell: str) -> Path:
    return matrix.folder / FOLDER / cell


def load(matrix: Matrix, results: Path) -> tuple[Frozen, ...]:
    """The sets beside ``matrix.toml``, in the order of its cells, unpacked below ``results``.

    Raises ``UsageError`` for a set that is not as it was written.
    """
    order = {cell.name: place for place, cell in enumerate(matrix.cells)}
    folders = sorted(
        (path for path in (matrix.folder / FOLDER).glob("*/") if path.is_dir()),
        key=lambda path: (order.get(path.name, len(order)), path.name),
    )
    return tuple(_load(folder, results) for folder in folders)


def _load(folder: Path, results: Path) -> Frozen:
    path = folder / CONTENT
    try:
        content = reading.parse_json(reading.read_text(path), f"{path}: not a frozen set")
    except reading.UnreadableError as error:
        raise UsageError(f"{error}; {_restore(folder)}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UsageError(f"{path}: needs schema = {SCHEMA}; {_restore(folder)}")
    digest = _checked(folder, content, ARCHIVE)
    _checked(folder, content, LOCK)
    unpacked = results / UNPACKED / digest[:32]
    if not unpacked.is_dir():
        _unpack(folder / ARCHIVE, unpacked)
    return Frozen(cell=folder.name, folder=folder, unpacked=unpacked, digest=digest)


def _checked(folder: Path, content: Mapping[str, Any], name: str) -> str:
    """The checksum of a file of the set, which must be the one that was written down."""
    sums = content.get("sha256")
    expected = sums.get(name) if isinstance(sums, dict) else None
    path = folder / name
    if not path.is_file():
        raise UsageError(f"{path}: is missing; {_restore(folder)}")
    if (found := environment.sha256(path)) != expected:
        raise UsageError(
            f"{path}: was changed after it was frozen: its sha256 is {found[:16]}..., "
            f"{CONTENT} has {str(expected)[:16]}...; {_restore(folder)}"
        )
    return found


def _restore(folder: Path) -> str:
    return f"a frozen set is read as it was written or not at all: git checkout -- {folder}"


def _unpack(archive: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".part-"))
    try:
        with tarfile.open(archive, "r:xz") as tar:
            tar.extractall(temporary, filter="data")
        temporary.chmod(0o755)
        if not target.is_dir():  # another process was faster
            temporary.replace(target)
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise UsageError(f"{archive}: cannot be unpacked: {error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def pack(files: Mapping[str, bytes], order: Sequence[str]) -> bytes:
    """A tar.xz of ``files`` by path; the same files in the same ``order`` give the same bytes everywhere.

    Files that resemble each other should be neighbours: what one shares with an earlier one takes no room.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in order:
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(files[path]), 0o644
            tar.addfile(entry, io.BytesIO(files[path]))
    return lzma.compress(stream.getvalue(), preset=9 | lzma.PRESET_EXTREME)
