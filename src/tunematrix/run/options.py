"""The options of a run, beside the cell."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.base.errors import UsageError
from tunematrix.run import scripts
from tunematrix.run.scripts import Scripts
from tunematrix.shared.stages import DEFAULT_MODEL, FULL

MAX_SECONDS: Final = 10_000_000.0  # four months; what waits for a process cannot wait for ever longer
MAX_DEPTH: Final = 50  # of parentheses; pytest fails at some hundred
WORD: Final = re.compile(r"[()]|[^() \t]+")
NAME: Final = re.compile(r"[()]|[\w:+\-.\[\]\\/]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of ``nox -s e2e -- ...``, and those that ``upgrade`` adds."""

    model: str = DEFAULT_MODEL
    rerun: bool = False
    keep: bool = False
    select: str | None = None
    workload: Path | None = None
    command: str | None = None  # a workload of one line, as somebody types it in the current folder
    depth: str = FULL
    venv: Path | None = None
    keep_artifacts: bool = False  # keep the checkpoints for another cell to load
    exchange: Path | None = None  # kept checkpoints of another cell, to load and resume in this one

    @classmethod
    def of(cls, model: str | None = None, **fields: Any) -> Options:
        """Options as a command takes them; raises ``UsageError``.

        A ``workload.toml`` in the current folder is the workload unless another one is named, and names the
        model unless another one is.
        """
        if not fields.get("workload") and not fields.get("command") and Path(scripts.FILE).is_file():
            fields["workload"] = Path(scripts.FILE)
        own = cls(**fields).scripts
        return cls(model=model or (own.model if own else DEFAULT_MODEL), **fields)

    @property
    def scripts(self) -> Scripts | None:
        """The team's own scripts, if they are the workload; raises ``UsageError``."""
        if self.command:
            return scripts.of_command(self.command, Path.cwd())
        return scripts.load(self.workload) if self.workload and scripts.is_scripts(self.workload) else None

    @property
    def keeps(self) -> bool:
        """Whether what the run saves is kept: for another cell, or since the team's scripts ask for it."""
        own = self.scripts
        return self.keep_artifacts or bool(own and any(stage.keep for stage in own.stages))

    @property
    def time_limit(self) -> float:
        """Seconds for all tests of a cell; ``TUNEMATRIX_CELL_SECONDS`` raises it for slow machines."""
        return _seconds("TUNEMATRIX_CELL_SECONDS", 1200)

    @property
    def stage_limit(self) -> float:
        """Seconds for one stage; ``TUNEMATRIX_STAGE_SECONDS`` raises it."""
        return _seconds("TUNEMATRIX_STAGE_SECONDS", 100)

    def check(self) -> None:
        """Raise ``UsageError`` for what would fail only after the environment is installed."""
        _ = self.time_limit, self.stage_limit
        if self.workload and self.command:
            raise UsageError("pass --workload or --run, not both")
        if self.workload and not self.workload.exists():
            raise UsageError(f"--workload {self.workload}: no such file or folder")
        if own := self.scripts:
            own.check()
        if self.select is not None and not is_expression(self.select):
            raise UsageError(
                f"-k {self.select[:200]!r}: not an expression such as 'finetune and not resume'; "
                "it consists of names, and, or, not and pairs of parentheses"
            )


def _seconds(variable: str, default: int) -> float:
    text = os.environ.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < MAX_SECONDS:
        raise UsageError(f"{variable}={text[:80]}: must be a number of seconds, such as {default}")
    return seconds


def is_expression(text: str) -> bool:
    """Whether pytest's ``-k`` understands ``text``."""
    name_comes, depth = True, 0
    for word in WORD.findall(text):
        if word in ("and", "or", ")"):
            valid, name_comes = not name_comes, word != ")"
        else:
            valid, name_comes = name_comes, word in ("(", "not")
        depth += {"(": 1, ")": -1}.get(word, 0)
        if not valid or not 0 <= depth <= MAX_DEPTH or not NAME.fullmatch(word):
            return False
    return not name_comes and depth == 0
