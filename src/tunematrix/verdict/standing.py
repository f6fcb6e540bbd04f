"""What is known to be broken or silently wrong in a set of packages, without a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from packaging.utils import canonicalize_name

from tunematrix.base.record import BROKEN
from tunematrix.base.versions import parse_version
from tunematrix.locks.table import CORE
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.ledger import Issue
from tunematrix.verdict.releases import Rung

# What a stage that ends without an error and with a wrong result is recorded as.
SILENT: Final = "Mismatch: the resumed run is not the uninterrupted one"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One cause. ``severity`` is broken or wrong; ``stages`` are the parts of the work that it hits."""

    id: str
    severity: str
    stages: tuple[str, ...]
    cause: str
    fix: str
    link: str = ""


def problems(packages: Mapping[str, str], issues: Iterable[Issue], rungs: Sequence[Rung]) -> list[Problem]:
    """The issues whose conditions ``packages`` meet, and the stages that a release broke and none mended.

    ``packages`` maps canonical names to versions. The worst come first.
    """
    # One stack alone says nothing of whose files it will read.
    own = (issue for issue in issues if not issue.only_of_exchange)
    found = [_of_issue(issue) for issue in own if issue.applies_to(packages)]
    known = {stage: problem.severity for problem in found for stage in problem.stages}
    found += [
        problem
        for problem in _of_rungs(packages, rungs)
        # That a stage is silently wrong does not say that it crashes.
        if any(known.get(stage) not in ("broken", problem.severity) for stage in problem.stages)
    ]
    return sorted(found, key=lambda problem: problem.severity != "broken")


def exported(issues: Iterable[Issue], rungs: Sequence[Rung]) -> dict[str, Any]:
    """What ``problems`` needs, in JSON types, for a page that answers the same without Python.

    ``issues`` are problems with their conditions ``when``, each ``[package, specifier]``. ``rungs`` have the
    stages that a release changed, each ``[name, before, after]``, and what mends each of them.
    """
    own = [issue for issue in issues if not issue.only_of_exchange]
    return {
        "core": CORE,
        "stages": STAGES,
        "broken": sorted(BROKEN),
        "issues": [
            asdict(_of_issue(issue))
            | {"when": [[canonicalize_name(each.name), str(each.specifier)] for each in issue.when]}
            for issue in own
        ],
        "rungs": [
            {
                "package": rung.package,
                "after": rung.after,
                "cause": _cause(rung),
                "stages": [[name, *pair] for name, pair in rung.stages.items() if name in STAGES],
                "fixes": {name: _fix(rung, name, rungs) for name in rung.stages if name in STAGES},
            }
            for rung in rungs
            if any(name in STAGES for name in rung.stages)
        ],
    }


def _of_issue(issue: Issue) -> Problem:
    silent = issue.error is None or issue.error.search(SILENT) is not None
    return Problem(
        id=issue.id,
        severity="wrong" if silent else "broken",
        stages=issue.stages,
        cause=issue.cause,
        fix=issue.fix,
        link=issue.link,
    )


def _of_rungs(packages: Mapping[str, str], rungs: Sequence[Rung]) -> Iterator[Problem]:
    """A problem for each release that broke stages, if none that is there too made them pass again."""
    seen: dict[str, list[tuple[Rung, str]]] = {}
    for rung in rungs:
        if _has(packages, rung):
            for name, (_, new) in rung.stages.items():
                # One that another kept from running says nothing of its own release.
                if name in STAGES and new.partition(":")[0] != "not_run":
                    seen.setdefault(name, []).append((rung, new))
    standing: dict[str, list[tuple[str, Rung, str]]] = {}
    for name, outcomes in seen.items():
        rung, outcome = outcomes[-1]
        earlier = outcomes[-2][1] if len(outcomes) > 1 else rung.stages[name][0]
        # One that failed or did not run before was not broken here; what broke it is not on the ladder.
        if outcome.partition(":")[0] in BROKEN and earlier == "passed":
            standing.setdefault(f"{rung.package} {rung.after}", []).append((name, rung, outcome))
    for release, entries in standing.items():
        stages = tuple(name for name in STAGES if name in {entry[0] for entry in entries})
        _, rung, outcome = entries[0]
        yield Problem(
            id=release.replace(" ", "-"),
            severity="wrong" if outcome.endswith("Mismatch") else "broken",
            stages=stages,
            cause=f"{_cause(rung)}: {outcome}",
            fix=_fix(rung, stages[0], rungs),
        )


def _cause(rung: Rung) -> str:
    """The release, its day, and what stood beside it."""
    beside = rung.beside(CORE)
    return f"{rung.package} {rung.after} ({rung.day}){f' with {beside}' if beside else ''}"


def _has(packages: Mapping[str, str], rung: Rung) -> bool:
    installed, release = parse_version(packages.get(rung.package)), parse_version(rung.after)
    return installed is not None and release is not None and installed >= release


def _fix(rung: Rung, stage: str, rungs: Sequence[Rung]) -> str:
    later = rungs[rungs.index(rung) + 1 :]
    mends = (each for each in later if each.stages.get(stage, ("", ""))[1] == "passed")
    mended = next((f"{each.package}>={each.after} or " for each in mends), "")
    return f"{mended}{rung.package}<={rung.before}"
