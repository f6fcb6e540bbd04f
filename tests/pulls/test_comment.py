"""``pr comment`` and ``pr find`` against a local server: one comment, one check, and what may go wrong."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.pulls.conftest import ANSWER, CHANGES, Comment, run, write_event
from tests.pulls.github import BOT, OTHER_SHA, SHA, TOKEN, GitHub
from tunematrix.pulls import answer as answers
from tunematrix.pulls import api
from tunematrix.pulls.comment import LONGEST, MARKER, Reply
from tunematrix.pulls.lookup import LABEL

LATER, EARLIER = "2026-11-28T11:00:00Z", "2026-11-28T09:00:00Z"


def states(github: GitHub) -> list[str]:
    return [status["state"] for _, status in github.statuses]


def test_the_first_comment_has_the_answer_in_its_first_line(github: GitHub, comment: Comment) -> None:
    assert comment() == 0
    (written,) = github.comments
    lines = written["body"].splitlines()
    assert lines[0] == "**BREAKS**: `trl 0.26.2 -> 0.29.0 and 1 more`"
    assert (
        "1 broken, 1 changed default. The check fails; what is broken or wrong cannot be accepted." in lines
    )
    assert "<details><summary>Findings (2)</summary>" in lines
    assert "- `train.py:28` `DPOTrainer.__init__() got an unexpected argument`" in lines
    assert "- changed too, and not used: `requirements.txt`" in lines
    assert lines[-1] == MARKER
    ((sha, status),) = github.statuses
    assert (sha, status["state"], status["context"]) == (SHA, "failure", "tunematrix")
    assert status["description"] == "BREAKS: trl 0.26.2 -> 0.29.0 and 1 more"


def test_the_comment_is_updated_in_place_also_on_a_later_page(github: GitHub, comment: Comment) -> None:
    for number in range(120):
        github.comment(f"talk {number}", "somebody")
    assert comment(CHANGES) == 0
    assert comment({**ANSWER, "answer": "SAFE", "findings": []}) == 0
    assert len(github.comments) == 121
    assert github.comments[-1]["body"].startswith("**SAFE**: ")
    assert states(github) == ["failure", "success"]


def test_a_comment_of_somebody_else_with_the_marker_is_not_taken(github: GitHub, comment: Comment) -> None:
    github.comment(f"**SAFE**\n{MARKER}", "mallory")
    github.comment(f"**SAFE**\n{MARKER}", "github-actions")
    github.comment(f"quoted {MARKER} in the middle", BOT)
    assert comment() == 0
    assert [each["body"].startswith("**BREAKS**") for each in github.comments] == [False] * 3 + [True]


def test_another_app_has_its_own_comment(github: GitHub, comment: Comment) -> None:
    github.comment(f"**SAFE**\n{MARKER}", "renamed[bot]")
    assert comment(ANSWER, "--author", "renamed[bot]") == 0
    assert [each["body"].startswith("**BREAKS**") for each in github.comments] == [True]


def test_a_comment_that_was_deleted_meanwhile_is_written_anew(github: GitHub, comment: Comment) -> None:
    own = github.comment(f"**SAFE**\n{MARKER}")
    github.plant(f"PATCH comments/{own}", 404)
    assert comment() == 0
    assert len(github.comments) == 2


def test_the_label_accepts_what_changes_and_says_who_set_it(github: GitHub, comment: Comment) -> None:
    github.pulls[0]["labels"] = [{"name": "dependencies"}, {"name": LABEL}]
    github.set_label(LABEL, "first", EARLIER)
    github.set_label("dependencies", "bot", LATER)
    github.set_label(LABEL, "ada", LATER)
    assert comment(CHANGES) == 0
    body = github.comments[0]["body"]
    assert "1 accepted. The check passes." in body
    assert f"The label `{LABEL}`, set by `ada` on 2026-11-28 11:00 UTC, accepts 1: `default-x`." in body
    assert github.statuses[0][1]["state"] == "success"
    assert github.statuses[0][1]["description"].startswith("accepted: BEHAVIOUR CHANGES: trl")


def test_without_the_label_the_check_fails_again(github: GitHub, comment: Comment) -> None:
    github.pulls[0]["labels"] = [{"name": LABEL}]
    github.set_label(LABEL, "ada", LATER)
    assert comment(CHANGES) == 0
    github.pulls[0]["labels"] = []
    assert comment(CHANGES) == 0
    assert states(github) == ["success", "failure"]
    assert f"all 1 at once by the label `{LABEL}`" in github.comments[0]["body"]


def test_a_label_that_is_older_than_the_answer_accepts_nothing(github: GitHub, comment: Comment) -> None:
    """Otherwise a later push could bring what nobody saw."""
    github.pulls[0]["labels"] = [{"name": LABEL}]
    github.set_label(LABEL, "ada", EARLIER)
    assert comment(CHANGES) == 0
    assert states(github) == ["failure"]
    assert "is not newer than this answer, and accepts nothing" in github.comments[0]["body"]


def test_a_label_that_no_event_set_accepts_nothing(github: GitHub, comment: Comment) -> None:
    github.pulls[0]["labels"] = [{"name": LABEL}]
    github.set_label("its old name", "ada", LATER)
    assert comment(CHANGES) == 0
    assert states(github) == ["failure"]
    assert f"The label `{LABEL}`, set by `nobody known`, is not newer" in github.comments[0]["body"]


def test_a_run_that_waits_for_approval_is_no_answer(github: GitHub, comment: Comment) -> None:
    github.artifacts.clear()
    write_event(conclusion="action_required")
    assert comment(None) == 0
    assert (github.comments, github.statuses) == ([], [])


@pytest.mark.parametrize(("word", "state"), [("BREAKS", "failure"), ("CANNOT TELL", "error")])
def test_no_label_accepts_what_breaks_or_was_not_tested(
    github: GitHub, comment: Comment, word: str, state: str
) -> None:
    github.pulls[0]["labels"] = [{"name": LABEL}]
    github.set_label(LABEL, "ada", LATER)
    assert comment({**ANSWER, "answer": word}) == 0
    assert states(github) == [state]
    assert github.comments[0]["body"].count("*accepted:* `by ada, with the label`") == 1, "the default alone"


def test_what_is_accepted_in_the_file_needs_no_label(github: GitHub, comment: Comment) -> None:
    finding = {**CHANGES["findings"][0], "accepted": True, "reason": "measured"}  # type: ignore[index]
    assert comment({**CHANGES, "findings": [finding]}) == 0
    assert states(github) == ["success"]
    assert "*accepted:* `measured`" in github.comments[0]["body"]


def test_a_pull_request_of_a_fork_is_found_by_its_branch(github: GitHub, comment: Comment) -> None:
    """The API knows no pull requests of a commit of a fork."""
    github.pulls[0]["head"]["label"] = "stranger:bump"
    write_event(head_repository={"owner": {"login": "stranger"}})
    assert comment() == 0
    assert len(github.comments) == 1


@pytest.mark.parametrize("fork", [None, {"owner": {"login": "nobody"}}])
def test_without_an_open_pull_request_nothing_is_written(
    github: GitHub, comment: Comment, fork: object, capsys: pytest.CaptureFixture[str]
) -> None:
    write_event(head_repository=fork)
    assert comment() == 0
    assert (github.comments, github.statuses) == ([], [])
    assert "no open pull request has this head" in capsys.readouterr().out


def test_a_run_of_an_older_push_writes_nothing(github: GitHub, comment: Comment) -> None:
    github.pulls[0]["head"]["sha"] = OTHER_SHA
    assert comment() == 0
    assert (github.comments, github.statuses) == ([], [])


def test_the_number_in_the_answer_only_chooses_among_those_of_this_head(
    github: GitHub, comment: Comment
) -> None:
    github.open_pull(8)
    github.open_pull(9, OTHER_SHA)
    assert comment({**ANSWER, "pull_request": 8}) == 0
    assert comment({**ANSWER, "pull_request": 9}) == 0
    posts = [request for request in github.requests if request.endswith("comments") and "POST" in request]
    assert [re.findall(r"issues/(\d+)", request) for request in posts] == [["8"]], "one server, one list"
    asked = {request for request in github.requests if "issues/9" in request}
    assert asked == set()


def test_nothing_to_test_passes_without_a_new_comment(github: GitHub, comment: Comment) -> None:
    nothing = {
        "answer": "NOTHING TO TEST",
        "reason": "ruff 0.1 -> 0.2: neither of the stack nor required by it",
    }
    assert comment(nothing) == 0
    assert (github.comments, states(github)) == ([], ["success"])
    assert github.statuses[0][1]["description"] == f"NOTHING TO TEST: {nothing['reason']}"
    assert comment() == 0
    assert comment(nothing) == 0
    assert [each["body"].startswith("**NOTHING TO TEST**: `ruff 0.1") for each in github.comments] == [True]


def test_a_run_that_ended_without_an_answer_cannot_tell(github: GitHub, comment: Comment) -> None:
    github.artifacts.clear()
    write_event(conclusion="timed_out")
    assert comment(None) == 0
    assert states(github) == ["error"]
    assert "`the run ended without an answer: timed_out; its log says why`" in github.comments[0]["body"]


def test_an_event_of_a_label_takes_the_answer_of_the_run_before(
    github: GitHub, comment: Comment, capsys: pytest.CaptureFixture[str]
) -> None:
    write_event(id=300, conclusion="skipped")
    github.runs += [
        {"id": 100, "workflow_id": 5, "head_sha": SHA},
        {"id": 150, "workflow_id": 6, "head_sha": SHA},  # another workflow
        {"id": 200, "workflow_id": 5, "head_sha": SHA},  # expired
        {"id": 250, "workflow_id": 5, "head_sha": OTHER_SHA},
    ]
    for number in (150, 250):
        github.add_answer(number)
    github.add_answer(200, expired=True)
    assert run("find") == 0
    assert capsys.readouterr().out == "pull=7\nrun=100\n"
    assert comment() == 0
    url = github.statuses[0][1]["target_url"]
    assert url.endswith("/runs/100")
    assert f"[The run]({url})" in github.comments[0]["body"]
    github.comments.clear()
    github.statuses.clear()
    github.artifacts.clear()
    assert comment() == 0
    assert "nothing to do: no answer yet" in capsys.readouterr().out
    assert (github.comments, github.statuses) == ([], [])


def test_find_writes_the_outputs_of_its_step(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", "output")
    github.open_pull(8)
    assert run("find") == 0
    assert Path("output").read_text() == "pull=7 8\nrun=100\n"


@pytest.mark.parametrize(
    "answer",
    [
        "not JSON",
        "[]",
        '{"answer": "FINE"}',
        json.dumps({**ANSWER, "findings": [{"id": 1, "severity": "edit", "title": "x"}]}),
        json.dumps({**ANSWER, "moved": {"trl": "0.29"}}),
        "{" * 10_000,
    ],
)
def test_an_answer_that_cannot_be_read_cannot_tell(github: GitHub, comment: Comment, answer: str) -> None:
    assert comment(answer) == 0
    assert states(github) == ["error"]
    assert github.comments[0]["body"].startswith("**CANNOT TELL**: `the answer of the run cannot be read: ")


ALLOWED = {
    *("paragraph_open", "paragraph_close", "inline", "text", "softbreak", "code_inline", "html_block"),
    *("strong_open", "strong_close", "em_open", "em_close", "link_open", "link_close"),
    *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
}
EVIL = [
    "@everyone hello",
    "team/other#1 and #2 and GH-3",
    "https://evil.example/x www.evil.example",
    "![x](https://evil.example/pixel.png)",
    "</details><img src=x onerror=alert(1)>",
    "``` \n# heading\n- [ ] task\n| a |",
    "`` ` ``` end `",
    f"x\n{MARKER}",
    "::error::x",
    "a" * 5000,
    "\u202egnp.exe",
]


@pytest.mark.parametrize("evil", EVIL)
def test_no_value_of_the_answer_is_more_than_text(github: GitHub, comment: Comment, evil: str) -> None:
    finding = {
        "id": evil,
        "severity": "edit",
        "title": evil,
        "action": evil,
        "places": [evil],
        "accepted": True,
        "reason": evil,
        "cause": {"package": evil, "release": evil},
    }
    answer = {
        "answer": "CANNOT TELL",
        "reason": evil,
        "findings": [finding],
        "untested": [evil],
        "notes": [evil],
        "moved": {evil: [evil, evil]},
        "pins": {"file": evil, "others": [evil]},
    }
    assert comment(answer) == 0
    assert comment(answer) == 0
    (written,) = github.comments
    plain, html = shown(written["body"])
    for sign in ("@", "#", "evil", "example", "<img", "heading", "aaaa", "GH-", "\u202e"):
        assert sign not in plain + html
    assert html.count(MARKER) == 1
    assert html.count("<details>") == html.count("</details>") == 6
    assert len(github.statuses[0][1]["description"]) <= 140


def body_with(text: str) -> str:
    """A comment in which every value is ``text``."""
    finding = {"id": text, "severity": "edit", "title": text, "action": text, "places": [text]}
    cause = {"package": text, "release": text}
    content = {
        "answer": "BREAKS",
        "findings": [{**finding, "cause": cause, "accepted": True, "reason": text}],
        "untested": [text],
        "notes": [text],
        "moved": {text: [text, text]},
        "pins": {"file": text, "others": [text]},
    }
    url = "https://github.com/team/models/actions/runs/100"
    return Reply(answer=answers.parse(content), sha=SHA, url=url).body


@given(text=st.one_of(st.text(min_size=1), st.text(alphabet="`@#<>!-[]()|\\*_~:/\n\r\t \u2028", min_size=1)))
@settings(max_examples=300, deadline=None)
def test_no_text_changes_what_surrounds_it(text: str) -> None:
    assert shown(body_with(text)) == shown(body_with("x"))


def shown(body: str) -> tuple[str, str]:
    """What a Markdown parser makes of ``body``: its text outside of code, and its HTML."""
    tokens = [each for token in MarkdownIt().parse(body) for each in (token, *(token.children or []))]
    links = [str(token.attrs.get("href", "")) for token in tokens]
    assert [link for link in links if link] == ["https://github.com/team/models/actions/runs/100"]
    assert {token.type for token in tokens} <= ALLOWED
    plain = "".join(token.content for token in tokens if token.type == "text")
    return plain, "".join(token.content for token in tokens if token.type.startswith("html_"))


def test_a_long_answer_is_cut_and_the_rest_counted(github: GitHub, comment: Comment) -> None:
    many = [
        {"id": f"edit-{number}", "severity": "edit", "title": "é" * 500, "places": [f"a.py:{number}"] * 3}
        for number in range(2000)
    ]
    assert (
        comment({**ANSWER, "findings": many, "moved": {f"p{number}": ["1", "2"] for number in range(2000)}})
        == 0
    )
    body = github.comments[0]["body"]
    assert 40_000 < len(body) <= LONGEST
    assert re.search(r"^- and \d+ more, in the run$", body, re.MULTILINE)
    assert body.endswith(f"\n{MARKER}")
    assert body.count("<details>") == body.count("</details>")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (("POST comments", 403, {}), (2, "the job needs 'pull-requests: write'")),
        (("GET pulls", 404, {}), (2, "check GITHUB_REPOSITORY and the permissions (planted)")),
        (("POST comments", 422, {}), (2, "it refuses the content (planted)")),
        (("GET pulls", 401, {}), (2, "it does not accept the token")),
        (("GET pulls", 302, {"Location": "http://127.0.0.1:1/"}), (2, "redirected, which is not followed")),
        (("GET pulls", 429, {"Retry-After": "4000"}), (3, "the API allows no request for 4000 s")),
        (
            ("GET pulls", 403, {"X-RateLimit-Remaining": "0"}),
            (3, "too many requests; run this job again later"),
        ),
    ],
)
def test_what_the_api_refuses_is_told_in_a_line(
    github: GitHub,
    comment: Comment,
    capsys: pytest.CaptureFixture[str],
    fault: tuple[str, int, dict[str, str]],
    said: tuple[int, str],
) -> None:
    code, message = said
    github.plant(*fault)
    github.plant(*fault)
    assert comment() == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert TOKEN not in error
    assert github.comments == []


@pytest.mark.parametrize("request_", ["GET pulls", "POST comments", "POST " + SHA, "PATCH 1000"])
@pytest.mark.parametrize(
    ("status", "headers"), [(429, {"Retry-After": "1"}), (403, {"Retry-After": "1"}), (502, {})]
)
def test_what_passes_is_tried_again_and_done_once(
    github: GitHub, comment: Comment, request_: str, status: int, headers: dict[str, str]
) -> None:
    if request_.startswith("PATCH"):
        github.comment(f"**SAFE**\n{MARKER}")
    github.plant(request_, status, headers)
    assert comment() == 0
    assert len(github.comments) == 1
    assert len(github.statuses) == 1
    assert not any(github.faults.values())


def test_an_api_that_stays_out_of_order_is_told(
    github: GitHub, comment: Comment, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(8):
        github.plant("GET pulls", 503)
    assert comment() == 3
    assert "HTTP status 503, out of order; run this job again later" in capsys.readouterr().err
    assert len(github.requests) == 4


@pytest.mark.parametrize("request_", ["GET pulls", "POST comments", f"POST {SHA}"])
def test_an_answer_that_comes_too_late_is_asked_for_again_and_nothing_written_twice(
    github: GitHub, comment: Comment, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    monkeypatch.setattr(api, "TIMEOUTS", (1, 0.3))
    github.slow.append(request_)
    assert comment() == 0
    assert len(github.comments) == 1
    assert github.slow == []
    assert set(states(github)) == {"failure"}


def test_an_api_that_cannot_be_reached_is_told(
    github: GitHub, comment: Comment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert comment() == 3
    assert "no answer: ConnectionError" in capsys.readouterr().err


@pytest.mark.parametrize("body", [b"<html>log in</html>", b'{"a": ', b"[1, 2]", b'[{"head": 1}]', b"{}"])
def test_garbage_of_the_api_is_told_in_a_line(
    github: GitHub, comment: Comment, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    github.plant("GET pulls", 200, body=body)
    assert comment() == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_the_token_goes_nowhere_but_to_the_api(
    github: GitHub, comment: Comment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(Path(".netrc").resolve()))
    assert comment() == 0, "the password of .netrc is not sent in its place"
    assert TOKEN not in capsys.readouterr().out
    for url in ("http://api.example", "ftp://x", "nothing"):
        monkeypatch.setenv("GITHUB_API_URL", url)
        assert comment() == 2
        assert "no https URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (("GITHUB_TOKEN", ""), "GITHUB_TOKEN is not set"),
        (("GITHUB_TOKEN", "a b"), "GITHUB_TOKEN: the token has white space"),
        (("GITHUB_REPOSITORY", "../x/y"), "not OWNER/NAME"),
        (("GITHUB_EVENT_PATH", ""), "GITHUB_EVENT_PATH is not set"),
        (("GITHUB_EVENT_PATH", "/none.json"), "no such file"),
        (("GITHUB_EVENT_PATH", "other.json"), "no event of a finished run"),
        (("GITHUB_EVENT_PATH", "poor.json"), "the event does not describe its run"),
    ],
)
@pytest.mark.usefixtures("github")
def test_a_job_that_is_set_up_otherwise_is_told(
    comment: Comment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    setting: tuple[str, str],
    message: str,
) -> None:
    Path("other.json").write_text('{"pull_request": {}}')
    Path("poor.json").write_text('{"workflow_run": {"id": 1}}')
    monkeypatch.setenv(*setting)
    assert comment() == 2
    assert message in capsys.readouterr().err
