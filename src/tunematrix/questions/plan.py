"""``upgrade --all``: each outdated package alone, all together, and an order in which every step works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import Version

from tunematrix.base.errors import UsageError
from tunematrix.locks import releases
from tunematrix.locks.lock import TEST_TOOLS
from tunematrix.questions.candidate import Baseline
from tunematrix.questions.upgrade import Answer, Upgrader
from tunematrix.verdict.answer import BEST_FIRST, BREAKS, CANNOT_TELL


def outdated(base: Baseline) -> dict[str, str]:
    """The newest final release of each direct package, where the baseline has an older one."""
    newest = {}
    for name in base.direct:
        if name in TEST_TOOLS or name == "torch":
            continue
        final = [release.version for release in releases.releases(name) if release.final]
        if final and final[-1] > Version(base.packages[name]):
            newest[name] = str(final[-1])
    return newest


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Each bump alone, all together, and an order in which every step works; ``blocked`` are the rest."""

    alone: dict[str, Answer]
    together: Answer
    order: list[tuple[str, Answer]]
    blocked: list[str]


def plan(upgrader: Upgrader) -> Plan:
    """Evaluate every outdated package, and find an order of bumps in which every step works.

    Raises ``UsageError`` where nothing is outdated.
    """
    requests = {name: f"{name}=={version}" for name, version in outdated(upgrader.base).items()}
    if not requests:
        raise UsageError(f"nothing to upgrade: every package of {upgrader.base.cell.name} is the newest")
    alone = {name: upgrader.evaluate([request], with_fix=False) for name, request in requests.items()}
    together = upgrader.evaluate(list(requests.values()), with_fix=False)
    order: list[tuple[str, Answer]] = []
    blocked = sorted(requests, key=lambda name: BEST_FIRST.index(alone[name].answer))
    while step := _next_step(upgrader, requests, alone, order, blocked):
        order.append(step)
        blocked.remove(step[0])
    return Plan(alone=alone, together=together, order=order, blocked=blocked)


def _next_step(
    upgrader: Upgrader,
    requests: Mapping[str, str],
    alone: Mapping[str, Answer],
    order: Sequence[tuple[str, Answer]],
    blocked: Sequence[str],
) -> tuple[str, Answer] | None:
    """The first of the bumps left that works on top of those in ``order``."""
    done = [requests[name] for name, _ in order]
    for name in blocked:
        answer = upgrader.evaluate([*done, requests[name]], with_fix=False) if done else alone[name]
        if answer.answer not in (BREAKS, CANNOT_TELL):
            return name, answer
    return None
