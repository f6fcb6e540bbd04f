"""When a record can be reused: a key over everything that a cell's result depends on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import tunematrix
from tunematrix.base.record import Record
from tunematrix.run.options import Options

PACKAGE: Final = Path(tunematrix.__file__).parent
SUITE: Final = PACKAGE / "suite"
REUSABLE: Final = ("passed", "failed")  # anything else may be the machine's fault, or a Hub's


def key(record: Record, options: Options) -> str:
    """A hash over lock, sources, model, options, Python and platform."""
    parts = {
        "lock": record.lock["sha256"],
        "python": record.environment["python"],
        "platform": record.environment["platform"],
        "model": dict(record.model),
        "select": options.select,
        "sources": [hash_tree(folder) for folder in sources(options)],
        **({"exchange": hash_tree(options.exchange)} if options.exchange else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def reusable(record: Record, wanted: str) -> bool:
    """Whether ``record`` has the key ``wanted`` and an outcome that another run would only repeat."""
    return record.key == wanted and record.outcome in REUSABLE


def sources(options: Options) -> list[Path]:
    """Everything of ours and of the user's that runs inside a cell."""
    own = [PACKAGE / "pipeline", PACKAGE / "harness", PACKAGE / "shared", suite()]
    return [*own, options.workload] if options.workload else own


def suite() -> Path:
    """The folder of tests that every cell runs; ``TUNEMATRIX_SUITE`` puts another in its place."""
    return Path(os.environ.get("TUNEMATRIX_SUITE") or SUITE)


def hash_tree(path: Path) -> str:
    """A hash over the names and contents of the files below ``path``, or of the one file."""
    digest = hashlib.sha256()
    for file in sorted(_files(path)):
        digest.update(f"{file.relative_to(path.parent).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
