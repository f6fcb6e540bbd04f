"""What the terminal shows of a summary, as plain words and numbers that can be kept and shown again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tunematrix.base.record import stage_names
from tunematrix.locks.table import CORE
from tunematrix.report.rows import Row
from tunematrix.report.summary import Summary
from tunematrix.verdict.ledger import Issue


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A cell: a word for each stage, the answer to its step, and the seconds of its run; None without one."""

    cell: str
    title: str
    group: str
    state: str
    versions: Mapping[str, str]
    outcomes: Mapping[str, str]
    answer: str
    seconds: float | None
    reused: bool

    @classmethod
    def of(cls, row: Row, stages: list[str]) -> Self:
        record = row.record
        return cls(
            cell=row.cell,
            title=row.title,
            group=row.group,
            state=row.state,
            versions={name: row.versions[name] for name in CORE},
            outcomes=dict(zip(stages, row.displayed_outcomes(stages), strict=True)),
            answer=row.judgement.answer if row.compared_with and record else "",
            seconds=record.seconds if record else None,
            reused=bool(record and record.reused),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """A root cause, or a note, which is shown ``whole``."""

    cell: str
    text: str
    whole: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A known issue: where it shows, its cause and its fix."""

    id: str
    where: str
    advice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """The table of a summary, and the lines below it."""

    model: str
    stages: list[str]
    lines: list[Line]
    remarks: list[Remark]
    known: list[Known]
    problems: list[str]

    @classmethod
    def of(cls, summary: Summary) -> Self:
        stages = list(stage_names(*(row.record for row in summary.rows)))
        return cls(
            model=summary.model,
            stages=stages,
            lines=[Line.of(row, stages) for row in summary.rows],
            remarks=[
                Remark(cell=row.cell, text=reason.line, whole=reason.is_note)
                for row in summary.rows
                for reason in (row.reasons if row.state != "unknown" else [])
                if not reason.issue
            ],
            known=list(_known(summary.rows)),
            problems=summary.problems,
        )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The overview that ``to_dict`` made."""
        kinds = {"lines": Line, "remarks": Remark, "known": Known}
        parts = {name: [kind(**part) for part in content[name]] for name, kind in kinds.items()}
        return cls(**{**content, **parts})


def _known(rows: list[Row]) -> Iterator[Known]:
    cells_by_issue: dict[str, tuple[Issue, list[str]]] = {}
    for row in rows:
        for issue in {issue.id: issue for issue in row.known_issues.values()}.values():
            cells_by_issue.setdefault(issue.id, (issue, []))[1].append(row.cell)
    for issue, cells in cells_by_issue.values():
        stages = f" {', '.join(issue.stages)}" if issue.stages else ""
        where, advice = f":{stages} in {', '.join(cells)}", f"{issue.cause}; fix: {issue.fix}"
        yield Known(id=issue.id, where=where, advice=advice)
