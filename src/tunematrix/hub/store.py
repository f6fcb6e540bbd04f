"""The repositories that the Hub serves: an index of folders, with ids that depend only on content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final

# Upstream, .gitattributes decides which files are LFS; these are the suffixes of model files.
LFS_SUFFIXES: Final = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".msgpack", ".h5"}
LFS_BYTES: Final = 10 * 1024 * 1024
CHUNK: Final = 1024 * 1024
Ids = tuple[str, str | None, int]  # oid, sha256 and pointer size of a file


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """One file of a repository.

    ``oid`` is the git blob id of the file or, for LFS, of its pointer. ``sha256`` is set for LFS files only
    and is then also the entity tag, as upstream.
    """

    path: Path
    size: int
    oid: str
    sha256: str | None = None
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid


@dataclass(frozen=True, kw_only=True)
class Repo:
    """A model repository with a single revision."""

    name: str
    files: dict[str, Blob] = field(default_factory=dict)

    @cached_property
    def commit(self) -> str:
        """40 hex digits that change with every byte and are the same on every machine."""
        lines = (f"{name}\0{blob.etag}\0{blob.size}\n" for name, blob in sorted(self.files.items()))
        return hashlib.sha1("".join(lines).encode(), usedforsecurity=False).hexdigest()

    def has_revision(self, revision: str) -> bool:
        return revision in ("main", self.commit)


def git_blob_id(size: int) -> hashlib._Hash:
    """A hash object that already holds the header that git hashes before a blob of ``size`` bytes."""
    return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)


def hash_file(path: Path) -> Blob:
    """Read a file once and compute every id that the Hub lists for it."""
    size = path.stat().st_size
    lfs = path.suffix in LFS_SUFFIXES or size > LFS_BYTES
    digest = hashlib.sha256() if lfs else git_blob_id(size)
    with path.open("rb") as stream:
        _update(digest, stream)
    if not lfs:
        return Blob(path=path, size=size, oid=digest.hexdigest())
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest.hexdigest()}\nsize {size}\n"
    ).encode()
    pointer_id = git_blob_id(len(pointer))
    pointer_id.update(pointer)
    return Blob(
        path=path,
        size=size,
        oid=pointer_id.hexdigest(),
        sha256=digest.hexdigest(),
        pointer_size=len(pointer),
    )


def _update(digest: hashlib._Hash, stream: BinaryIO) -> None:
    while chunk := stream.read(CHUNK):
        digest.update(chunk)


class NotServed(Exception):
    """Why a file or a folder is not served."""


class Hashes:
    """The ids of files, cached by path, size and mtime: hashing a model takes a second."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._stored = _load_ids(cache)
        self._used: dict[str, Ids] = {}

    def blob(self, path: Path) -> Blob:
        status = path.stat()
        key = f"{path}|{status.st_size}|{status.st_mtime_ns}"
        if ids := self._stored.get(key):
            oid, sha256, pointer_size = ids
            blob = Blob(path=path, size=status.st_size, oid=oid, sha256=sha256, pointer_size=pointer_size)
        else:
            blob = hash_file(path)
        self._used[key] = (blob.oid, blob.sha256, blob.pointer_size)
        return blob

    def save(self) -> None:
        """Save the ids of the files that exist, if they have changed."""
        if self._used == self._stored:
            return
        temporary = self._cache.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_text(json.dumps(self._used), encoding="ascii")
            temporary.replace(self._cache)
        except OSError:  # a read-only root can be served without the cache
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _load_ids(cache: Path) -> dict[str, Ids]:
    """The stored ids; none if the file is missing or not what ``save`` writes, since it only saves time."""
    try:
        stored = json.loads(cache.read_bytes())
        return {
            key: (oid, sha256, size)
            for key, (oid, sha256, size) in stored.items()
            if _is_id(oid, 40) and (sha256 is None or _is_id(sha256, 64)) and isinstance(size, int)
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _is_id(value: object, digits: int) -> bool:
    return isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None


def index_repo(name: str, folder: Path, root: Path, hashes: Hashes) -> Repo:
    """Index the visible files below ``folder``, also links to files inside of ``root``."""
    files = {}
    for parent, folders, names in os.walk(folder, onerror=_report_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for path in (Path(parent, name) for name in sorted(links + names) if not name.startswith(".")):
            file_name = path.relative_to(folder).as_posix()
            with _reporting(path):
                if not _target(file_name, path, root).is_file():
                    raise NotServed("not a file")
                files[file_name] = hashes.blob(path)
    return Repo(name=name, files=files)


def index_root(root: Path) -> dict[str, Repo]:
    """Every repository below ``root``: a folder with a ``config.json``, one or two levels deep.

    Prints on stderr which files and folders are not served, and why.
    """
    root = root.resolve()
    hashes = Hashes(root / ".hashes.json")
    repos = {}
    for config in sorted([*root.glob("*/config.json"), *root.glob("*/*/config.json")]):
        folder = config.parent
        name = folder.relative_to(root).as_posix()
        if name.startswith(".") or "/." in name:
            continue
        with _reporting(folder):
            _target(name, folder, root)
            repos[name] = index_repo(name, folder, root, hashes)
    hashes.save()
    return repos


def _target(name: str, path: Path, root: Path) -> Path:
    """What ``path``, to be served as ``name``, leads to; raises ``NotServed``."""
    if not name.isprintable():  # nor can a name that is not UTF-8 be printed
        raise NotServed("its name has characters that cannot be printed")
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError for a loop of links
        raise NotServed("a link that leads to nothing") from None
    if not target.is_relative_to(root):
        raise NotServed(f"it leads to {str(target)!r}, outside of {str(root)!r}")
    return target


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, NotServed) as error:
        _report(path, error)


def _report_error(error: OSError) -> None:
    _report(error.filename, error)


def _report(path: object, error: Exception) -> None:
    reason = error.strerror if isinstance(error, OSError) else error
    print(f"not served: {str(path)!r}: {reason}", file=sys.stderr)
