"""What a run is asked for, beside the cell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tunematrix.shared.stages import DEFAULT_MODEL


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of ``nox -s e2e -- ...``, and what ``upgrade`` adds to them."""

    model: str = DEFAULT_MODEL
    rerun: bool = False
    keep: bool = False
    select: str | None = None
    workload: Path | None = None
    venv: Path | None = None
    keep_artifacts: bool = False  # the checkpoints, for another cell to load
    exchange: Path | None = None  # another cell's kept checkpoints, to load and resume here

    @property
    def limit(self) -> float:
        """Seconds for the whole of a cell's tests; ``TUNEMATRIX_CELL_SECONDS`` for slow machines."""
        return float(os.environ.get("TUNEMATRIX_CELL_SECONDS", "1200"))
