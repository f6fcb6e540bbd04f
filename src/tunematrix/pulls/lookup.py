"""Which pull request a finished run belongs to, which run has its answer, and who accepted it.

All of it from the event and the API: the artifact comes from a job that ran unvetted packages.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.pulls.api import Api
from tunematrix.shared import reading

ARTIFACT: Final = "tunematrix-answer"
LABEL: Final = "tunematrix: accept"
NO_EVENT: Final = "this command belongs in a workflow that runs on 'workflow_run'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A finished run of the workflow that answers; ``owner`` and ``branch`` are those of its head."""

    id: int
    workflow: int
    sha: str
    owner: str
    branch: str
    conclusion: str
    url: str

    @property
    def idle(self) -> bool:
        """Whether it ran nothing: for an event of a label, or because somebody has to approve it first."""
        return self.conclusion in ("skipped", "action_required")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pull:
    number: int
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The run that has the answer, its page, and when it gave it."""

    run: int
    url: str
    time: datetime.datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Acceptance:
    """Who set the label, and when; ``current`` if that was after the answer that it is to accept."""

    who: str
    time: datetime.datetime | None
    current: bool


def read_event() -> Run:
    """The run in the event of this job; raises ``UsageError`` in a job of another kind."""
    path = os.environ.get("GITHUB_EVENT_PATH")
    if not path:
        raise UsageError(f"GITHUB_EVENT_PATH is not set; {NO_EVENT}")
    try:
        event = reading.parse_json(reading.read_text(Path(path)), path)
    except ValueError as error:
        raise UsageError(f"{error}; {NO_EVENT}") from None
    run = event.get("workflow_run") if isinstance(event, dict) else None
    if not isinstance(run, dict):
        raise UsageError(f"{path}: no event of a finished run; {NO_EVENT}")
    try:
        return _run(run)
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f"{path}: the event does not describe its run; {NO_EVENT}") from None


def _run(content: Mapping[str, Any]) -> Run:
    fork = content["head_repository"] or {}  # None once the fork is deleted
    return Run(
        id=int(content["id"]),
        workflow=int(content["workflow_id"]),
        sha=str(content["head_sha"]),
        owner=str(fork["owner"]["login"]) if fork else "",
        branch=str(content["head_branch"]),
        conclusion=str(content["conclusion"]),
        url=str(content["html_url"]),
    )


def find_pulls(api: Api, run: Run) -> list[Pull]:
    """The open pull requests whose head is the commit of ``run``; none once something else was pushed.

    By branch, because the API knows no pull requests of a commit of a fork.
    """
    if not run.owner:
        return []
    listed = api.pages("pulls", state="open", head=f"{run.owner}:{run.branch}")
    with _shape("pulls"):
        return [
            Pull(number=int(entry["number"]), labels=tuple(str(label["name"]) for label in entry["labels"]))
            for entry in listed
            if entry["head"]["sha"] == run.sha
        ]


def find_answer(api: Api, run: Run) -> Source | None:
    """Where the newest answer for the commit is: in ``run`` or, if that ran nothing, in one before it."""
    for number in _runs(api, run) if run.idle else [run.id]:
        artifacts = api.pages(f"actions/runs/{number}/artifacts", "artifacts", name=ARTIFACT)
        with _shape("artifacts"):
            times = [_time(each["created_at"]) for each in artifacts if not each["expired"]]
        if times:
            return Source(run=number, url=f"{run.url.rpartition('/')[0]}/{number}", time=max(times))
    return None


def _runs(api: Api, run: Run) -> Iterator[int]:
    """The runs of the same workflow for the same commit, the newest first."""
    listed = api.pages("actions/runs", "workflow_runs", head_sha=run.sha, event="pull_request")
    with _shape("runs"):
        numbers = [int(each["id"]) for each in listed if each["workflow_id"] == run.workflow]
    yield from sorted(numbers, reverse=True)


def find_acceptance(api: Api, pull: Pull, answered: datetime.datetime) -> Acceptance | None:
    """Who set the label that is on the pull request; None without it.

    What nobody had seen, nobody accepted: a label that is older than the answer is not current.
    """
    if LABEL not in pull.labels:
        return None
    last = None
    with _shape("events"):
        for event in api.pages(f"issues/{pull.number}/events"):
            if event["event"] == "labeled" and event["label"]["name"] == LABEL:
                last = event
        if last is None:  # such as of a label that was renamed
            return Acceptance(who="nobody known", time=None, current=False)
        who, time = (last.get("actor") or {}).get("login", "ghost"), _time(last["created_at"])
    return Acceptance(who=str(who), time=time, current=time > answered)


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


@contextlib.contextmanager
def _shape(what: str) -> Iterator[None]:
    """Turn what reading an unexpected answer raises into an ``InfrastructureError``."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InfrastructureError(f"the API's {what} have another form than documented") from None
