"""A repository on a local GitHub, with a finished run for the open pull request 7."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pulls.github import REPOSITORY, SHA, TOKEN, GitHub, serving
from tunematrix.cli.main import main

FINDINGS = [
    {
        "id": "broken-dpo",
        "severity": "broken",
        "title": "DPOTrainer.__init__() got an unexpected argument",
        "places": ["train.py:28"],
        "action": "edit train.py:28",
        "cause": {"package": "trl", "release": "0.29.0"},
        "accepted": False,
    },
    {"id": "default-x", "severity": "default", "title": "default 1.0 is now 0.5", "accepted": False},
]
ANSWER = {
    "answer": "BREAKS",
    "findings": FINDINGS,
    "moved": {"trl": ["0.26.2", "0.29.0"], "numpy": ["2.0", None]},
    "pins": {"file": "uv.lock", "others": ["requirements.txt"]},
    "pull_request": 7,
    "a key of a later release": {},
}
CHANGES = {**ANSWER, "answer": "BEHAVIOUR CHANGES", "findings": FINDINGS[1:]}
Comment = Callable[..., int]


@pytest.fixture(autouse=True)
def _no_folders_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of all checks has a results folder of its own, which is not that of these tests."""
    for name in ("TUNEMATRIX_RESULTS", "TUNEMATRIX_CONSTRAINTS"):
        monkeypatch.delenv(name, raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "pulls" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("error"))


@pytest.fixture(name="github")
def _github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHub]:
    with serving() as github:
        monkeypatch.setenv("GITHUB_API_URL", github.url)
        monkeypatch.setenv("GITHUB_REPOSITORY", REPOSITORY)
        monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
        monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        monkeypatch.chdir(tmp_path)
        write_event()
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
        github.open_pull()
        github.add_answer()
        yield github


def write_event(**changes: Any) -> None:
    run = {
        "id": 100,
        "workflow_id": 5,
        "head_sha": SHA,
        "head_branch": "bump",
        "head_repository": {"owner": {"login": "team"}},
        "conclusion": "success",
        "html_url": "https://github.com/team/models/actions/runs/100",
    }
    Path("event.json").write_text(json.dumps({"workflow_run": run | changes}))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["pr", *arguments])
    return int(exit_.value.code or 0)


@pytest.fixture(name="comment")
def _comment(github: GitHub) -> Comment:
    """Run ``pr comment`` on an answer, by default one that breaks; None leaves no file."""

    def comment(answer: Any = ANSWER, *options: str) -> int:
        Path("answer").mkdir(exist_ok=True)
        if answer is not None:
            text = answer if isinstance(answer, str) else json.dumps(answer)
            Path("answer/answer.json").write_text(text)
        return run("comment", "answer", *options)

    return comment
