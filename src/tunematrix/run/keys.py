"""Whether a record can be reused: a key over everything that a cell's result depends on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import tunematrix
from tunematrix.base.files import files_below
from tunematrix.base.record import Record
from tunematrix.run import workload
from tunematrix.run.options import Options

PACKAGE: Final = Path(tunematrix.__file__).parent
SUITE: Final = PACKAGE / "suite"
REUSABLE: Final = ("passed", "failed")  # other outcomes may be caused by the machine or by a Hub


def key(record: Record, options: Options, sources: Sequence[str] | None = None) -> str:
    """A hash over lock, sources, model, options, Python and platform; ``sources`` are hashed unless given."""
    inputs = {
        "lock": record.lock["sha256"],
        "python": record.environment["python"],
        "platform": record.environment["platform"],
        "model": dict(record.model),
        "select": options.select,
        "sources": list(sources or hash_sources()),
        "workload": workload.digest_of(options),
        "depth": options.depth,
        **({"exchange": hash_tree(options.exchange)} if options.exchange else {}),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def hash_sources() -> list[str]:
    """The hashes of the folders with code that runs inside a cell."""
    return [hash_tree(folder) for folder in source_folders()]


def is_reusable(record: Record, current_key: str) -> bool:
    """Whether ``record`` has the key ``current_key`` and an outcome that another run would only repeat."""
    return record.key == current_key and record.outcome in REUSABLE


def source_folders() -> list[Path]:
    """The folders with all code that runs inside a cell, and that of the models which are measured there."""
    inside = (PACKAGE / name for name in ("pipeline", "harness", "shared"))
    return [*inside, PACKAGE / "hub" / "models", suite_folder()]


def suite_folder() -> Path:
    """The folder of the tests that every cell runs; ``TUNEMATRIX_SUITE`` replaces it."""
    return Path(os.environ.get("TUNEMATRIX_SUITE") or SUITE)


def hash_tree(path: Path) -> str:
    """A hash over the names and contents of all files in the folder ``path``, or of the file ``path``."""
    digest = hashlib.sha256()
    for file in sorted([path] if path.is_file() else files_below(path)):
        digest.update(f"{file.relative_to(path.parent).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()
