"""The options of a run, beside the cell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tunematrix.shared.stages import DEFAULT_MODEL


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of ``nox -s e2e -- ...``, and those that ``upgrade`` adds."""

    model: str = DEFAULT_MODEL
    rerun: bool = False
    keep: bool = False
    select: str | None = None
    workload: Path | None = None
    venv: Path | None = None
    keep_artifacts: bool = False  # keep the checkpoints for another cell to load
    exchange: Path | None = None  # kept checkpoints of another cell, to load and resume in this one

    @property
    def time_limit(self) -> float:
        """Seconds for all tests of a cell; ``TUNEMATRIX_CELL_SECONDS`` raises it for slow machines."""
        return float(os.environ.get("TUNEMATRIX_CELL_SECONDS", "1200"))
