"""Packages that move and are no releases, such as commits: no lock of a cell has them, so nobody can tell."""

from __future__ import annotations

from typing import Final

from tunematrix.locks import moves
from tunematrix.questions.candidate import Baseline, Candidate

ADVICE: Final = "pin a release, or try it in an environment of your own"


def not_installed(candidate: Candidate | None, *, own_scripts: bool) -> tuple[str, ...]:
    """Those that the work may import, a line each."""
    moved = candidate.unreleased if candidate else {}
    found = {name: pair for name, pair in moved.items() if moves.matters(name, own_scripts=own_scripts)}
    return tuple(
        f"{line}: not a release on an index, so it was not installed; {ADVICE}" for line in moves.lines(found)
    )


def prevents_run(base: Baseline, candidate: Candidate) -> bool:
    """Whether nothing else moves, or a lock lacks such a package of the stack: all would fail there."""
    names = {name for name in candidate.unreleased if name in moves.STACK}
    return not candidate.moved or not names <= (base.packages.keys() & candidate.packages.keys())
