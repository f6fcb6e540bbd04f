"""Issues: one for each problem of the matrix, opened, updated, closed and reopened as it comes and goes.

An issue is ours if it has the label, was opened by the account of the token, and ends with the marker, which
holds the problem's id. No other is touched. Nothing is closed unless every cell in which the problem was seen
was tested again.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunematrix.base.errors import InfrastructureError
from tunematrix.pulls import issue_text
from tunematrix.pulls.api import Api, again
from tunematrix.pulls.comment import AUTHOR
from tunematrix.report.problems import Problem, problems, tested_cells
from tunematrix.report.summary import Summary

LABEL: Final = "tunematrix"
COLOUR: Final = "5319e7"
MAX_NEW: Final = 10  # issues that one run opens
REST: Final = "rest"  # the id of the issue that counts the others
MARKER: Final = re.compile(r"<!-- tunematrix: problem (\{[^\n]*\}) -->")
ESCAPES: Final = {ord("<"): "\\u003c", ord(">"): "\\u003e"}
FAILURE: Final = "failure:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Marker:
    """What an issue remembers: its problem, of which model, in which cells, and since which day.

    ``over`` if we closed it. One that is closed and not over was closed by a person.
    """

    id: str
    model: str
    cells: tuple[str, ...]
    since: str
    over: bool = False

    @property
    def line(self) -> str:
        """The last line of the issue's text; nothing in it can end the comment."""
        names = ("id", "model", "cells", "since", "over")
        content = json.dumps({name: getattr(self, name) for name in names})
        return f"<!-- tunematrix: problem {content.translate(ESCAPES)} -->"


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """An issue that we opened."""

    number: int
    open: bool
    text: str
    marker: Marker


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing to do: ``verb`` it to ``issue``, which is None for a new one."""

    verb: str  # open, update, reopen, close, leave
    title: str
    text: str = ""
    issue: Issue | None = None
    comment: str = ""


def read_own(api: Api, model: str, author: str = AUTHOR) -> dict[str, Issue]:
    """Our issues for ``model``, by the id of the problem; of several with one id the oldest."""
    found: dict[str, Issue] = {}
    with _shape():
        for entry in api.pages("issues", state="all", labels=LABEL, creator=author):
            issue = _issue(entry, author)
            if issue and issue.marker.model == model:
                older = found.get(issue.marker.id)
                found[issue.marker.id] = min(issue, older or issue, key=lambda each: each.number)
    return found


def _issue(entry: Mapping[str, Any], author: str) -> Issue | None:
    labels = [label["name"] for label in entry["labels"]]
    if "pull_request" in entry or LABEL not in labels or (entry.get("user") or {}).get("login") != author:
        return None
    text = str(entry.get("body") or "").rstrip()
    marker = _marker(text.splitlines()[-1] if text else "")
    if marker is None:
        return None
    return Issue(number=int(entry["number"]), open=entry["state"] == "open", text=text, marker=marker)


def _marker(line: str) -> Marker | None:
    match = MARKER.fullmatch(line)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        content = json.loads(match[1]) if match else {}
        return Marker(
            id=str(content["id"]),
            model=str(content["model"]),
            cells=tuple(map(str, content["cells"])),
            since=str(content["since"]),
            over=content["over"] is True,
        )
    return None


def plan(summary: Summary, own: Mapping[str, Issue], run: issue_text.Run) -> list[Step]:
    """What to do so that the issues say what the run found."""
    found = problems(summary)
    new = [problem for problem in found if problem.id not in own]
    rest = new[MAX_NEW:]
    shown = [problem for problem in found if problem not in rest]
    shown += [issue_text.count(REST, rest)] if rest else []
    steps = [_shown(problem, own.get(problem.id), summary.model, run) for problem in shown]
    shown_ids = {problem.id for problem in shown}
    # One that we closed stays closed, and one that a person opened again after that is theirs.
    gone = [issue for name, issue in sorted(own.items()) if name not in shown_ids and not issue.marker.over]
    return steps + [_gone(issue, summary, run) for issue in gone]


def _shown(problem: Problem, issue: Issue | None, model: str, run: issue_text.Run) -> Step:
    title = issue_text.title(problem)
    if issue and not issue.open and not issue.marker.over:
        return Step(verb="leave", title=f"{title}: lasts, but a person closed it", issue=issue)
    # Back again after it was over, it has begun anew.
    since = issue.marker.since if issue and issue.open else run.day
    marker = Marker(id=problem.id, model=model, cells=problem.cells, since=since)
    verb = "open" if issue is None else "update" if issue.open else "reopen"
    text = f"{issue_text.body(problem, model, since, run)}\n\n{marker.line}"
    return Step(verb=verb, title=title, text=text, issue=issue)


def _gone(issue: Issue, summary: Summary, run: issue_text.Run) -> Step:
    """Close the issue of a problem that is not there any more, if that is certain."""
    marker, title = issue.marker, issue.marker.id
    present = {row.cell for row in summary.rows}
    tested = tested_cells(summary, compared=not marker.id.startswith(FAILURE))
    untested = (present & set(marker.cells)) - tested
    if untested:
        return Step(verb="leave", title=f"{title}: not tested in {', '.join(sorted(untested))}", issue=issue)
    over = Marker(id=marker.id, model=marker.model, cells=marker.cells, since=marker.since, over=True)
    text = "\n".join([*issue.text.splitlines()[:-1], over.line])
    comment = issue_text.over(sorted(present & set(marker.cells)), run) if issue.open else ""
    return Step(verb="close", title=title, text=text, issue=issue, comment=comment)


def apply(api: Api, steps: Sequence[Step]) -> None:
    """Do the steps; an earlier run that was cut off in the middle does no harm."""
    if any(step.verb == "open" for step in steps):
        _ensure_label(api)
    for step in steps:
        content: dict[str, Any] = {"title": step.title, "body": step.text}
        if step.verb == "open":
            api.post("issues", {**content, "labels": [LABEL]})
        elif step.issue and step.verb in ("update", "reopen"):
            _patch(api, step.issue, {**content, "state": "open"})
        elif step.issue and step.verb == "close":
            _patch(api, step.issue, {"body": step.text, "state": "closed", "state_reason": "completed"})
            if step.comment:
                api.post(f"issues/{step.issue.number}/comments", {"body": step.comment})


def _patch(api: Api, issue: Issue, content: Mapping[str, Any]) -> None:
    again(lambda: api.patch(f"issues/{issue.number}", content))


def _ensure_label(api: Api) -> None:
    """Make the label if it is not there: an issue without it would not be found again."""
    if not any(label.get("name") == LABEL for label in api.pages("labels")):
        description = "Opened, updated and closed by tunematrix"
        api.post("labels", {"name": LABEL, "color": COLOUR, "description": description})


@contextlib.contextmanager
def _shape() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InfrastructureError("the API's issues have another form than documented") from None
