"""The one answer to a comparison, in five words that people see everywhere."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tunematrix.base.record import Record, stage_names
from tunematrix.code.uses import Code
from tunematrix.shared.stages import RESUME
from tunematrix.verdict import accepted, causes, diff, findings, ledger, releases, usage
from tunematrix.verdict.accepted import Accepted
from tunematrix.verdict.causes import KnownChange
from tunematrix.verdict.diff import Diff
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.ledger import Ledger
from tunematrix.verdict.releases import Rung

AGAIN: Final = ":again"  # a script's stage run a second time, for its noise
TOLD: Final = (".error", ".unavailable")
# Numbers of a stage that say how it was observed, and are no evidence of what it does.
BOOKKEEPING: Final = (".noise", ".trainers", ".trainings_started", ".trainings_ended")
SAFE: Final = "SAFE"
SAFE_WITH_EDITS: Final = "SAFE WITH EDITS"
BEHAVIOUR_CHANGES: Final = "BEHAVIOUR CHANGES"
BREAKS: Final = "BREAKS"
CANNOT_TELL: Final = "CANNOT TELL"
NOTHING_TO_TEST: Final = "NOTHING TO TEST"  # of two files: nothing that matters moves between them
BEST_FIRST: Final = (SAFE, SAFE_WITH_EDITS, BEHAVIOUR_CHANGES, CANNOT_TELL, BREAKS)
FINGERPRINT: Final = "fingerprint:"
SHORT: Final = {
    SAFE: "safe",
    SAFE_WITH_EDITS: "edits",
    BEHAVIOUR_CHANGES: "changes",
    BREAKS: "breaks",
    CANNOT_TELL: "untested",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Knowledge:
    """What people wrote down: causes of changes, expected failures, and what the team has accepted."""

    known: tuple[KnownChange, ...]
    ledger: Ledger
    accepted: Accepted
    today: datetime.date
    rungs: tuple[Rung, ...] = ()  # what each release changed, by experiment
    code: Code | None = None  # what the team's own code uses; None where that is not known

    @classmethod
    def load(cls, folder: Path, today: datetime.date | None = None) -> Knowledge:
        """The files of a constraints folder, and in place of one that is not there, what this project knows.

        Raises ``UsageError``.
        """
        own_causes = (folder / causes.FILE).is_file()
        own_ledger = (folder / ledger.FILE).is_file()
        return cls(
            known=causes.load(folder if own_causes else ledger.shipped_folder(causes.FILE)),
            ledger=ledger.load(folder) if own_ledger else ledger.shipped(),
            accepted=accepted.load(folder),
            today=today or datetime.datetime.now(datetime.UTC).date(),
            rungs=releases.load(),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The answer, the findings it rests on, and the parts of the work that did not pass on both sides."""

    answer: str
    diff: Diff
    findings: tuple[Finding, ...] = ()
    untested: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """0 for what can be merged, 1 for what must not be, 3 where nobody can tell."""
        if self.answer == BEHAVIOUR_CHANGES:
            return int(
                any(
                    finding.severity in ("training", "default") and not finding.accepted
                    for finding in self.findings
                )
            )
        return {BREAKS: 1, CANNOT_TELL: 3}.get(self.answer, 0)

    def of(self, *severities: str) -> list[Finding]:
        """The findings of these severities that nobody accepted."""
        return [
            finding for finding in self.findings if finding.severity in severities and not finding.accepted
        ]


def judge(
    before: Record | None,
    after: Record | None,
    knowledge: Knowledge,
    extra: Sequence[Finding] = (),
    not_exchanged: Sequence[str] = (),
) -> Judgement:
    """Compare two records; ``extra`` are findings of an exchange of files.

    ``not_exchanged`` is why there are none. A missing record makes the answer CANNOT TELL, never SAFE.
    """
    comparison = causes.annotate(diff.compare(before, after), knowledge.known)
    if before is None or after is None:
        return Judgement(answer=CANNOT_TELL, diff=comparison, untested=("a record is missing",))
    found = findings.find(before, after, comparison, knowledge.known, knowledge.ledger)
    if knowledge.code:
        found = usage.narrow(found, comparison, knowledge.code)
    found = releases.attribute(found, before, after, comparison, knowledge.rungs)
    found = tuple(sorted((*found, *extra), key=lambda each: findings.SEVERITIES.index(each.severity)))
    found = knowledge.accepted.mark(found, after.packages, knowledge.today)
    untested = tuple(not_tested(before, after, comparison)) or tuple(
        _unexplained_outcome(before, after, found)
    )
    untested += tuple(not_exchanged)
    return Judgement(
        answer=_answer(found, untested),
        diff=comparison,
        findings=found,
        untested=untested,
        problems=tuple(knowledge.accepted.problems(found, before.packages, after.packages, knowledge.today)),
    )


def _answer(found: tuple[Finding, ...], untested: tuple[str, ...]) -> str:
    """The worst that holds. SAFE needs every part of the work to have passed on both sides."""
    severities = {finding.severity for finding in found}
    if severities & {"broken", "wrong"}:
        return BREAKS
    if untested:
        return CANNOT_TELL
    if severities & {"training", "default"}:
        return BEHAVIOUR_CHANGES
    return SAFE_WITH_EDITS if "edit" in severities else SAFE


def _unexplained_outcome(before: Record, after: Record, found: tuple[Finding, ...]) -> Iterator[str]:
    """An outcome that no stage, probe or finding accounts for."""
    if not any(
        finding.severity in ("broken", "wrong") or finding.id.startswith("training-") for finding in found
    ):
        for record in (before, after):
            if record.outcome != "passed":
                yield f"{record.cell}: its run {record.outcome}, and no stage says why"


def not_tested(before: Record, after: Record, comparison: Diff) -> Iterator[str]:
    """What did not pass on both sides and is no finding, a line each: failures first."""
    for record in (before, after):
        if record.error:
            yield f"{record.cell}: {record.outcome}: {record.error.one_line}"
    not_run = []
    stages = stage_names(before, after)
    for name, (old, new, verdict) in comparison.stages.items():
        absent = old == new == "unavailable" and name not in stages
        if verdict in ("regressed", "fixed") or old == new == "passed" or absent:
            continue
        part = name.removeprefix("probe:")
        if part.endswith(AGAIN) and "not_run" in (old, new):
            continue  # the stage that it repeats did not pass, and says so
        if "not_run" in (old, new) and "failed" not in (old, new):
            not_run.append(part)
        else:
            yield f"{part}: {_outcomes(old, new)}{_reason(before, after, part)}"
    if not_run:
        yield f"{', '.join(not_run)}: did not run on both sides"
    yield from _not_measured(before, after, comparison)


def _not_measured(before: Record, after: Record, comparison: Diff) -> Iterator[str]:
    """What one side has no evidence of, though nothing failed: absence must not look like equality."""
    for record in (before, after):
        if not record.packages and not record.error:
            yield f"{record.cell}: its record names no packages"
    new = [probe.name for probe in after.probes if probe.name.startswith(FINGERPRINT)]
    if "stages" in before.options:
        yield from _not_observed(before, after, comparison)
    if missing := [name for name in new if f"probe:{name}" not in comparison.stages]:
        yield f"{', '.join(missing)}: measured on one side only"
    passed = {name for name, (old, now, _) in comparison.stages.items() if old == now == "passed"}
    if all(f"probe:{name}" in passed for name in new) and (lost := _lost_measures(before, after)):
        count = "1 measure has" if len(lost) == 1 else f"{len(lost)} measures have"
        yield f"{count} no result in {after.cell}, such as {lost[0]}"


def _not_observed(before: Record, after: Record, comparison: Diff) -> Iterator[str]:
    """Stages of a team's scripts that passed without anything to compare.

    A script may catch what went wrong and end with 0; then its numbers are missing, and nothing else is.
    """
    for stage in stage_names(before, after):
        if stage == "import" or comparison.stages.get(stage, ("", ""))[:2] != ("passed", "passed"):
            continue
        old, new = (_observed(record, stage) for record in (before, after))
        if not old and not new and not stage.endswith(RESUME):
            yield f"{stage}: nothing to compare: no Trainer trained or evaluated in it"
        for cell, names in ((after.cell, old - new), (before.cell, new - old)):
            if names:
                yield f"{stage}: passed, but {', '.join(sorted(names))} has no numbers in {cell}"


def _observed(record: Record, stage: str) -> set[str]:
    """What was observed in a stage: the stage itself for its first trainer, ``STAGE.trainer_2`` and so on."""
    names = (name for name in record.fingerprint if name.startswith(f"{stage}."))
    return {name.rpartition(".")[0] for name in names if not name.endswith(BOOKKEEPING)}


def _lost_measures(before: Record, after: Record) -> list[str]:
    """The measures of ``before`` of which ``after`` has no number; those of stages are the stages' matter.

    One that raises there, or that the stack does not offer, says so itself.
    """
    kept = {name.rpartition(".")[0] for name in after.fingerprint} | set(after.fingerprint)
    told = tuple(name.rpartition(".")[0] for name in after.fingerprint if name.endswith(TOLD))
    measured = (name for name in before.fingerprint if not name.endswith(".unavailable"))
    lost = {name.rpartition(".")[0] for name in measured} - kept
    return sorted(
        name
        for name in lost
        if name.partition(".")[0] not in stage_names(before, after)
        and not any(name == measure or name.startswith(f"{measure}.") for measure in told)
    )


def _outcomes(old: str, new: str) -> str:
    return f"{old} in both" if old == new else f"{old} before, {new} after"


def _reason(before: Record, after: Record, name: str) -> str:
    """The error of a part; of one that fails otherwise now, both."""
    errors = [
        part.error.one_line
        for record in (before, after)
        for part in (*record.stages, *record.probes)
        if part.name == name and part.error and part.outcome != "passed"
    ]
    return f": {', now '.join(dict.fromkeys(errors))}" if errors else ""
