"""The repositories that the Hub serves: an index of folders, with ids that depend only on content."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final

# Upstream, .gitattributes decides which files are LFS; these are the suffixes of model files.
LFS_SUFFIXES: Final = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".msgpack", ".h5"}
LFS_BYTES: Final = 10 * 1024 * 1024
CHUNK: Final = 1024 * 1024


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


def index_repo(repo: str, folder: Path, hashes: dict[str, Blob] | None = None) -> Repo:
    """Index the regular, visible files below ``folder``; symbolic links are left out."""
    hashes = {} if hashes is None else hashes
    files = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            key = _hash_key(path)
            files[path.relative_to(folder).as_posix()] = hashes[key] = hashes.get(key) or hash_file(path)
    return Repo(name=repo, files=files)


def index_root(root: Path) -> dict[str, Repo]:
    """Every repository below ``root``: a folder with a ``config.json``, one or two levels deep.

    Hashing a model takes a second, so the ids are cached in ``root/.hashes.json`` by path, size and mtime.
    """
    cache = root / ".hashes.json"
    hashes = _load_hashes(cache)
    cached_keys = set(hashes)
    repos = {}
    for config in sorted([*root.glob("*/config.json"), *root.glob("*/*/config.json")]):
        name = config.parent.relative_to(root).as_posix()
        if not any(part.startswith(".") for part in config.parent.relative_to(root).parts):
            repos[name] = index_repo(name, config.parent, hashes)
    if set(hashes) != cached_keys:
        _save_hashes(cache, hashes)
    return repos


def _hash_key(path: Path) -> str:
    status = path.stat()
    return f"{path}|{status.st_size}|{status.st_mtime_ns}"


def _load_hashes(cache: Path) -> dict[str, Blob]:
    try:
        stored = json.loads(cache.read_text())
        return {
            key: Blob(path=Path(key.split("|")[0]), size=size, oid=oid, sha256=sha, pointer_size=pointer)
            for key, (size, oid, sha, pointer) in stored.items()
        }
    except (OSError, ValueError):
        return {}  # the cache only saves time


def _save_hashes(cache: Path, hashes: dict[str, Blob]) -> None:
    stored = {key: (blob.size, blob.oid, blob.sha256, blob.pointer_size) for key, blob in hashes.items()}
    temporary = cache.with_suffix(f".{os.getpid()}")
    try:
        temporary.write_text(json.dumps(stored))
        temporary.replace(cache)
    except OSError:
        temporary.unlink(missing_ok=True)  # a read-only root can be served without the cache
