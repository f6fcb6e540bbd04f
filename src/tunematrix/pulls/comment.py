"""The one comment on a pull request, and the state of its check.

All values of the answer stand in inline code: there GitHub makes neither links nor mentions, references,
HTML nor images of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tunematrix.locks.rungs import PACKAGES
from tunematrix.pulls.answer import PullAnswer, accept
from tunematrix.pulls.api import Api, again
from tunematrix.pulls.lookup import LABEL, Acceptance
from tunematrix.report import screen
from tunematrix.report.escape import inline_code, link
from tunematrix.shared.lines import one_line
from tunematrix.verdict.answer import BEHAVIOUR_CHANGES, BREAKS, CANNOT_TELL, NOTHING_TO_TEST
from tunematrix.verdict.findings import Finding

MARKER: Final = "<!-- tunematrix: the answer to this pull request -->"
AUTHOR: Final = "github-actions[bot]"  # to whom the token of a job belongs
CONTEXT: Final = "tunematrix"  # the name of the check
LONGEST: Final = 60_000  # characters of a comment; the API takes 65,536
LONGEST_TEXT: Final = 300  # of one value
LONGEST_STATUS: Final = 140  # of the text beside the check; the API's own limit
FRAME: Final = 150  # characters around the entries of a section
NAMED: Final = 3  # packages and findings named in one line
STATES: Final = {0: "success", 3: "error"}  # by exit code of the answer; any other is a failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What is written on the pull request: the ``answer`` of the run at ``url``, and who accepted it."""

    answer: PullAnswer
    sha: str
    url: str
    acceptance: Acceptance | None = None

    @property
    def accepted(self) -> PullAnswer:
        return accept(self.answer, self.acceptance)

    @property
    def state(self) -> str:
        return STATES.get(self.accepted.judgement.exit_code, "failure")

    @property
    def headline(self) -> str:
        """The answer, and what moves; a text of which the first word alone is ours."""
        answer = self.answer
        if answer.judgement.answer == NOTHING_TO_TEST or not answer.moved:
            return answer.reason.partition("\n")[0]
        own = [name for name in answer.moved if name in (*PACKAGES, "torch")] or list(answer.moved)
        shown = [
            f"{name} {old or '(none)'} -> {new or '(none)'}"
            for name in own[:NAMED]
            for old, new in [answer.moved[name]]
        ]
        more = f" and {len(answer.moved) - len(shown)} more" if len(answer.moved) > len(shown) else ""
        return ", ".join(shown) + more

    @property
    def status(self) -> str:
        """The text beside the check, which is no Markdown."""
        text = one_line(f"{self.answer.judgement.answer}: {self.headline}")
        if self.state == "success" and self.answer.closing:
            text = f"accepted: {text}"
        return text if len(text) <= LONGEST_STATUS else f"{text[: LONGEST_STATUS - 3]}..."

    @property
    def body(self) -> str:
        """The comment: the answer in the first line, the gate in the second, and all else folded."""
        answer = self.answer
        headline = f": {_code(self.headline)}" if self.headline else ""
        head = [f"**{answer.judgement.answer}**{headline}", "", *self._gate(), ""]
        tail = ["", f"{link('The run', self.url)} for {inline_code(self.sha[:12])}.", "", MARKER]
        sections = list(self._sections())
        room = LONGEST - FRAME * len(sections) - sum(len(line) + 1 for line in (*head, *tail))
        lines: list[str] = []
        for title, entries in sections:
            section = _folded(title, entries, room)
            room -= sum(len(line) + 1 for line in section)
            lines += section
        return "\n".join([*head, *lines, *tail])

    def _gate(self) -> Iterator[str]:
        judgement = self.accepted.judgement
        if judgement.answer != NOTHING_TO_TEST:
            yield f"{screen.why(judgement).capitalize()}. {self._result()}"
        if label := self._label():
            yield from ("", label)

    def _result(self) -> str:
        answer = self.answer.judgement.answer
        if self.state == "success":
            return "The check passes."
        if answer == BEHAVIOUR_CHANGES:
            return (
                f"The check fails until what changes is accepted: by entries in `accepted.toml`, or all "
                f"{len(self.answer.closing)} at once by the label `{LABEL}`."
            )
        if answer == CANNOT_TELL:
            return "The check fails, because what was not tested is not known to work; no label accepts that."
        return "The check fails; what is broken or wrong cannot be accepted."

    def _label(self) -> str:
        """What the label does, told with who set it."""
        label = self.acceptance
        if not label:
            return ""
        when = f" on {label.time:%Y-%m-%d %H:%M} UTC" if label.time else ""
        who = f"The label `{LABEL}`, set by {_code(label.who)}{when},"
        if not label.current:
            return f"{who} is not newer than this answer, and accepts nothing: remove it and set it again."
        names = [finding.id for finding in self.answer.closing]
        if not names:
            return f"{who} accepts nothing: there is nothing here that can be accepted."
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        shown = ", ".join(_code(name) for name in names[:NAMED])
        rest = (
            " It does not accept what is broken or wrong." if self.answer.judgement.answer == BREAKS else ""
        )
        return f"{who} accepts {len(names)}: {shown}{more}.{rest}"

    def _sections(self) -> Iterator[tuple[str, list[str]]]:
        answer, judgement = self.accepted, self.accepted.judgement
        if answer.judgement.answer != NOTHING_TO_TEST and answer.reason:
            yield "Why", [_code(line) for line in answer.reason.splitlines()]
        yield "Not tested", [_code(line) for line in judgement.untested]
        loud = [finding for finding in judgement.findings if finding.loud]
        yield "Findings", [_finding_line(finding, answer.causes.get(finding.id, "")) for finding in loud]
        places = [
            f"{_code(place)} {_code(finding.title.removeprefix(f'{place}: '))}"
            for finding in loud
            if finding.severity in ("edit", "broken")
            for place in finding.places
        ]
        yield "Lines of your code to edit", places
        yield (
            "What moves",
            [
                f"{_code(name)} {_code(old or '(none)')} to {_code(new or '(none)')}"
                for name, (old, new) in answer.moved.items()
            ],
        )
        others = [f"changed too, and not used: {_code(name)}" for name in answer.others]
        pins = [f"from {_code(answer.file)}, at the base and at the head", *others] if answer.file else []
        yield "The pins", [*pins, *(_code(note) for note in answer.notes)]


def _finding_line(finding: Finding, cause: str) -> str:
    since = f" ({_code(cause)})" if cause else ""
    action = f"; {_code(finding.action)}" if finding.action else ""
    accepted = f" *accepted:* {_code(finding.accepted)}" if finding.accepted else ""
    return f"**{finding.severity}** {_code(finding.title)}{since}{action} [{_code(finding.id)}]{accepted}"


def _folded(title: str, entries: Sequence[str], room: int) -> list[str]:
    """``entries`` as a list that GitHub folds, in at most ``room`` characters; the rest is counted."""
    if not entries:
        return []
    lines = [f"<details><summary>{title} ({len(entries)})</summary>", ""]
    left = room
    for number, entry in enumerate(entries):
        left -= len(entry) + 3
        if left < 0:
            lines.append(f"- and {len(entries) - number} more, in the run")
            break
        lines.append(f"- {entry}")
    return [*lines, "", "</details>"]


def _code(text: str) -> str:
    return inline_code(text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}...")


def write_comment(api: Api, number: int, body: str, *, author: str = AUTHOR, create: bool = True) -> str:
    """Write the comment of this project, in place of its last one; returns what was done.

    A comment of somebody else is not taken for it, whatever marker it has. Without ``create`` no first one is
    written.
    """

    def write() -> str:
        for own in _own_comments(api, number, author):
            if api.patch(f"issues/comments/{own}", {"body": body}):
                return "updated"
        if create:
            api.post(f"issues/{number}/comments", {"body": body})
        return "written" if create else "not needed"

    return again(write)


def _own_comments(api: Api, number: int, author: str) -> Iterable[int]:
    for comment in api.pages(f"issues/{number}/comments"):
        user, text = comment.get("user") or {}, comment.get("body") or ""
        if user.get("login") == author and text.rstrip().endswith(f"\n{MARKER}"):
            yield int(comment["id"])


def set_status(api: Api, reply: Reply) -> None:
    """Set the result of the check ``tunematrix`` at the head of the pull request."""
    content = {
        "state": reply.state,
        "context": CONTEXT,
        "description": reply.status,
        "target_url": reply.url,
    }
    again(lambda: api.post(f"statuses/{reply.sha}", content))
