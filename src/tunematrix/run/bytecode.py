"""Byte code that outlives an environment: what one cell has compiled, no other compiles again.

uv links the files of a package from its cache into an environment, without byte code. Python compiles what a
cell imports, which is a third of the time of a cell in a new environment. It is kept by release in the user's
cache and linked into the next environment that has the release. Python itself checks each file against the
time and the size of its source, and compiles anew what does not fit.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tunematrix.hub.models import cache_root

FOLDER: Final = "bytecode"  # in the user's cache
UNUSED: Final = 60 * 24 * 3600.0  # seconds after which a release that no environment had is removed
CACHE: Final = "__pycache__"


def restore(venv: Path) -> None:
    """Link what is kept of the releases in ``venv`` into it. What cannot be linked is compiled again."""
    for packages, kept, _ in _releases(venv):
        with contextlib.suppress(OSError):
            os.utime(kept)
            for folder, _, names in os.walk(kept):
                target = packages / Path(folder).relative_to(kept)
                if names and target.parent.is_dir():
                    target.mkdir(exist_ok=True)
                    for name in names:
                        with contextlib.suppress(FileExistsError):
                            os.link(Path(folder, name), target / name)


def keep(venv: Path) -> None:
    """Keep the byte code in ``venv``, and remove that of releases without use.

    Where the cache is on another disk, or full, nothing is kept.
    """
    with contextlib.suppress(OSError):
        for packages, kept, sources in _releases(venv):
            kept.mkdir(parents=True, exist_ok=True)
            for folder in sorted({source.rpartition("/")[0] for source in sources}):
                _keep_folder(packages / folder / CACHE, kept / folder / CACHE)
        for release in (cache_root() / FOLDER).iterdir():
            if release.stat().st_mtime < time.time() - UNUSED:
                shutil.rmtree(release, ignore_errors=True)


def _keep_folder(compiled: Path, kept: Path) -> None:
    """Link the files in ``compiled`` to ``kept``, each in place of an older one."""
    with contextlib.suppress(FileNotFoundError), os.scandir(compiled) as entries:
        there = _inodes(kept)
        for entry in entries:
            if entry.name.endswith(".pyc") and there.get(entry.name) != entry.inode():
                kept.mkdir(parents=True, exist_ok=True)
                new = kept / f"{entry.name}.{os.getpid()}"
                os.link(entry.path, new)
                new.replace(kept / entry.name)


def _inodes(folder: Path) -> dict[str, int]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        return {entry.name: entry.inode() for entry in entries}
    return {}


def _releases(venv: Path) -> Iterator[tuple[Path, Path, list[str]]]:
    """Of each release in ``venv``: its site-packages, the folder that keeps its byte code, its sources.

    The same release may have several builds: the folder is named by the list of its files and their hashes.
    """
    for record in venv.glob("lib/*/site-packages/*.dist-info/RECORD"):
        text = record.read_bytes()
        name = record.parent.name.removesuffix(".dist-info")
        rows = csv.reader(text.decode(errors="replace").splitlines())
        sources = [row[0] for row in rows if row and row[0].endswith(".py") and not row[0].startswith("..")]
        checksum = hashlib.sha256(text).hexdigest()[:16]
        yield record.parent.parent, cache_root() / FOLDER / f"{name}-{checksum}", sources
