"""Requests for an upgrade: whether they ask for anything, what else they need, and what a known fix adds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tunematrix.base.errors import UsageError
from tunematrix.locks.lock import TEST_TOOLS
from tunematrix.questions.candidate import Baseline, Candidate


def nothing_moves(candidate: Candidate, base: Baseline) -> str:
    """Why there is nothing to run, for a file that pins what the baseline has; empty if a package moves.

    Raises ``UsageError`` for a request, which is typed in order to change something; a file may have got a
    comment.
    """
    if candidate.moved:
        return ""
    try:
        names = [canonicalize_name(Requirement(text).name) for text in candidate.requests]
    except InvalidRequirement:
        file = ", ".join(candidate.requests).removeprefix("as in ")
        return f"nothing moves: {file} pins what {base.cell.imported_from or base.cell.name} pins"
    present = ", ".join(f"{name} {base.packages[name]}" for name in names if name in base.packages)
    raise UsageError(
        f"{', '.join(candidate.requests)} asks for nothing new: {base.cell.name} has {present} already; "
        f"name another release, such as '{names[0]}==...'"
    )


def fix_requests(text: str, requested: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The alternatives in the fix of a known issue: ``trl>=0.23, or transformers<5`` are two.

    Leaves out what contradicts the request, since it names the same package, and prose.
    """
    names = {canonicalize_name(Requirement(request).name) for request in requested}
    for alternative in re.split(r",?\s+or\s+", text):
        try:
            parts = [Requirement(part.strip()) for part in re.split(r"\s+with\s+|\s+and\s+", alternative)]
        except InvalidRequirement:
            continue
        if not names & {canonicalize_name(part.name) for part in parts}:
            yield tuple(str(part) for part in parts)


def advise(base: Baseline, candidate: Candidate) -> Iterator[str]:
    """The packages that the owner requires by name and that must be bumped in the same change."""
    for name, (_, version) in candidate.moved.items():
        dependents = candidate.required_by.get(name, ())
        if name in base.direct and dependents and name not in TEST_TOOLS:
            yield f"bump {name} to {version} in the same change: required by {', '.join(dependents)}"


def requested_packages(candidate: Candidate, base: Baseline) -> list[str]:
    return [name for name in candidate.moved if name in base.packages and name not in candidate.required_by]
