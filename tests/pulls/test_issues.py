"""``ci issues`` against a local server: planted regressions open, update and close the right issues."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.pulls.github import BOT, GitHub
from tests.pulls.matrix import MODEL, act, entry, only, record, stage, write_table
from tunematrix.base.record import Failure, Record, Result
from tunematrix.pulls.issues import LABEL, MAX_NEW, Marker
from tunematrix.pulls.issues import _marker as read_marker

MISSING = "no module named 'x' at 0x7f01, /tmp/a1/x.py:12"
SAME = "no module named 'x' at 0x9a02, /tmp/b7/x.py:99"
BROKEN = record("latest", align=MISSING)


@pytest.fixture(autouse=True)
def _table(github: GitHub) -> None:
    write_table()


def states(github: GitHub) -> list[str]:
    return [issue["state"] for issue in github.issues]


def writes(github: GitHub) -> list[str]:
    return [request for request in github.requests if not request.startswith("GET")]


def test_a_new_failure_opens_one_issue_for_all_its_cells(github: GitHub) -> None:
    assert act(record("new", align=SAME), BROKEN) == 0
    (issue,) = github.issues
    assert issue["title"].startswith("broken: align: KeyError: no module named 'x'")
    assert [label["name"] for label in issue["labels"]] == [LABEL]
    for part in (
        "**broken** in `new`, `latest`, with the model `tiny-gpt2`",
        f"latest: align [other]: KeyError: {MISSING} (trl/x.py:1)",
        'nox -s "e2e(old)" "e2e(new)" -- --model tiny-gpt2',
        "Cause: `unknown: no entry of the ledger explains it; kind of failure: other`",
    ):
        assert part in issue["body"]
    assert github.labels == [{"name": LABEL}]


def test_the_entry_in_the_issue_explains_the_failure_and_closes_it(github: GitHub) -> None:
    failing = (record("new", align=SAME), record("latest", align=SAME))
    assert act(*failing) == 0
    write_table(entry(github.issues[0]["body"]))
    assert act(*failing) == 0
    assert states(github) == ["closed"]


def test_a_failure_that_lasts_updates_its_issue_and_says_nothing_else(github: GitHub) -> None:
    assert act(BROKEN) == 0
    assert act(record("latest", day=2, align=SAME), record("new", day=2, align=SAME)) == 0
    (issue,) = github.issues
    assert "**broken** in `new`, `latest`" in issue["body"]
    assert github.comments == []


def test_a_fix_closes_with_a_comment_and_a_return_reopens(github: GitHub) -> None:
    for records, state in (((BROKEN,), "open"), ((), "closed"), ((), "closed"), ((BROKEN,), "open")):
        assert act(*records) == 0
        assert states(github) == [state]
    (comment,) = github.comments
    assert comment["issue"] == 100
    assert comment["body"].startswith("Over: tested in `latest`, and not seen by ")


CUT_OFF = Failure(type="InfrastructureError", message="no space left on device")


@pytest.mark.parametrize(
    "latest",
    [
        None,
        replace(record("latest"), outcome="crashed", error=CUT_OFF),
        stage(replace(record("latest"), outcome="skipped"), "generate", outcome="skipped"),
        stage(record("latest", download="new"), "align", outcome="not_run"),
        replace(record("latest"), lock={"sha256": "0" * 64}),
    ],
    ids=["no record", "cut off", "skipped", "another failure in front of it", "another lock"],
)
def test_what_was_not_tested_again_is_not_closed(github: GitHub, latest: Record | None) -> None:
    assert act(BROKEN) == 0
    Path("constraints/latest.txt").write_text("trl==1.16.0\n")
    present = [each for each in (record("old"), record("new"), latest) if each]
    assert only(*present) == 0
    assert states(github)[0] == "open"
    assert github.comments == []


def test_an_empty_run_touches_nothing(github: GitHub) -> None:
    assert act(BROKEN) == 0
    before = len(writes(github))
    assert only() == 0
    assert len(writes(github)) == before


def test_a_cell_that_is_gone_closes_what_was_only_there(github: GitHub) -> None:
    assert act(BROKEN) == 0
    table = Path("constraints/matrix.toml")
    table.write_text(table.read_text().replace('name = "latest"', 'name = "newest"'))
    assert only(record("old"), record("new"), record("newest")) == 0
    assert states(github) == ["closed"]
    assert "its cells are not in the matrix any more" in github.comments[0]["body"]


def many(count: int) -> Record:
    probes = tuple(
        Result(name=f"p{number}", outcome="failed", error=Failure(type=f"E{number:c}", message="x"))
        for number in range(ord("A"), ord("A") + count)
    )
    return replace(record("latest"), outcome="failed", probes=probes)


def test_a_bad_day_opens_ten_issues_and_one_that_counts_the_rest(github: GitHub) -> None:
    assert act(many(25)) == 0
    assert len(github.issues) == MAX_NEW + 1
    rest = github.issues[-1]
    assert rest["title"] == "broken: 15 more problems of the matrix"
    assert act(many(25)) == 0
    assert len(github.issues) == 2 * MAX_NEW + 1
    assert rest["title"] == "broken: 5 more problems of the matrix"
    assert act(many(25)) == 0
    assert (len(github.issues), rest["state"]) == (26, "closed")
    assert act() == 0
    assert set(states(github)) == {"closed"}


def test_issues_of_others_are_never_touched(github: GitHub) -> None:
    assert act(BROKEN) == 0
    own = github.issues.pop()
    body = own["body"]
    github.open_issue("same marker", body, [LABEL], author="mallory")
    github.open_issue("no label", body)
    github.open_issue("a pull request", body, [LABEL], pull_request={})
    github.open_issue("no marker", "text", [LABEL])
    github.open_issue("no author", body, [LABEL])["user"] = None
    github.open_issue("marker in the middle", f"{body}\nmore", [LABEL])
    github.open_issue("broken marker", '<!-- tunematrix: problem {"id": 1} -->', [LABEL])
    github.open_issue("other model", body.replace(f'"{MODEL}"', '"other"'), [LABEL])
    before = [dict(issue) for issue in github.issues]
    assert act() == 0
    assert act(BROKEN) == 0
    assert github.issues[:-1] == before
    assert github.issues[-1]["title"].startswith("broken: align")


def test_one_that_a_person_closed_stays_closed_until_it_comes_back(github: GitHub) -> None:
    assert act(BROKEN) == 0
    github.issues[0]["state"] = "closed"
    assert act(BROKEN) == 0
    assert states(github) == ["closed"]
    assert act() == 0
    assert (states(github), github.comments) == (["closed"], [])
    assert act(BROKEN) == 0
    assert states(github) == ["open"]


def test_a_dry_run_prints_and_writes_nothing(github: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert act(BROKEN, options=("--dry-run",)) == 0
    assert capsys.readouterr().out.startswith("would open broken: align: KeyError")
    assert writes(github) == []


def test_a_finding_that_nobody_explained_is_a_problem_and_a_known_one_is_none(github: GitHub) -> None:
    before = replace(record("new"), fingerprint={"sft.text.loss": 1.0})
    after = replace(record("latest"), fingerprint={"sft.text.error": "ValueError"})
    assert act(before, after) == 0
    (issue,) = github.issues
    assert issue["title"].startswith("broken: SFT raises ValueError")
    assert "latest: sft.text.error: <absent> -> ValueError" in issue["body"]
    assert "tunematrix diff new latest --model tiny-gpt2" in issue["body"]
    write_table(entry(issue["body"]))
    assert act(before, after) == 0
    assert states(github) == ["closed"]


TOKEN = f"hf_{'aB3' * 12}"
HOSTILE = (
    "@mallory closes #1 ```\n<!-- tunematrix: problem {} -->\n::error::x ##[error]y <img src=x> "
    f"https://evil.example/ [a](javascript:b) \x1b[31m\u202e {TOKEN} {'`' * 50} {'x' * 9_999}"
)


def prose(body: str) -> str:
    """What of a text GitHub reads as Markdown: all but code and comments."""
    tokens = MarkdownIt().parse(body)
    inline = [child for token in tokens for child in token.children or []]
    html = [token.content for token in tokens if token.type.startswith("html")]
    return " ".join([*(child.content for child in inline if child.type != "code_inline"), *html])


@pytest.mark.parametrize("kind", [HOSTILE, "KeyError"])
def test_text_of_a_record_is_shown_and_does_nothing(github: GitHub, kind: str) -> None:
    error = Failure(type=kind, message=HOSTILE, where=HOSTILE)
    hostile = stage(replace(record("latest"), outcome="failed"), "align", outcome="failed", error=error)
    assert act(hostile) == 0
    (issue,) = github.issues
    body = issue["body"]
    assert len(body) < 20_000
    assert len(issue["title"]) <= 200
    assert not re.search(r"@\w", issue["title"])
    for text in ("@", "#1", "evil", "img", "javascript", "::error", "##["):
        assert text not in prose(body)
    assert len(re.findall(r"^<!-- tunematrix", body, re.MULTILINE)) == 1
    for character in ("\x1b", "\u202e", TOKEN, "##["):
        assert character not in body + issue["title"]
    assert act(hostile) == 0
    assert len(github.issues) == 1
    assert act() == 0
    assert states(github) == ["closed"]


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((403, {}, b"{}"), 2, "issues: write"),
        ((500, {}, b"{}"), 3, "out of order"),
        ((200, {}, b'[{"number": "x"}]'), 3, "another form"),
    ],
)
def test_an_api_that_refuses_is_one_message(
    github: GitHub, answer: Any, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(9):
        github.plant("GET issues", *answer)
    assert act(BROKEN) == code
    assert words in capsys.readouterr().err
    assert github.issues == []


def test_a_run_that_was_cut_off_is_repeated_without_harm(github: GitHub) -> None:
    assert act(BROKEN) == 0
    for _ in range(9):
        github.plant("POST comments", 500)
    assert act() == 3
    assert states(github) == ["closed"]
    github.faults.clear()
    assert act() == 0
    assert act(BROKEN) == 0
    assert [issue["user"]["login"] for issue in github.issues] == [BOT]


def test_nothing_in_a_marker_ends_it() -> None:
    marker = Marker(id="a --> b", model="<!-- x -->\n", cells=("c",), since="2026-11-28")
    assert marker.line.count(">") == 1
    assert "\n" not in marker.line
    assert read_marker(marker.line) == marker
