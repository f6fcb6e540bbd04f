"""The changelog of the stack: newest first, what moved with a release, and nothing that people cannot use."""

from __future__ import annotations

from tunematrix.report import stack_changelog
from tunematrix.verdict.releases import Rung

STACK = {"transformers": "5.1.0", "trl": "1.2.0"}
FINDING = {"id": "x", "severity": "wrong", "title": "resume <forgets>", "action": "pin it"}
RUNGS = (
    Rung(day="2026-01-02", package="trl", before="1.1.0", after="1.2.0", stack=STACK, findings=(FINDING,)),
    Rung(day="2026-01-03", package="peft", before="0.1", after="0.2", stack=STACK),
    Rung(
        day="2026-01-04",
        package="transformers",
        before="5.0.0",
        after="5.1.0",
        also={"huggingface-hub": ("1.0", "1.1"), "httpx2": ("", "2.0")},
        stack=STACK,
        findings=({"id": "y", "severity": "broken", "title": "fails", "link": "https://example.com/1"},),
    ),
)


def test_releases_that_changed_something_come_newest_first() -> None:
    text = "\n".join(stack_changelog.lines(RUNGS))
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## transformers 5.1.0 (2026-01-04)",
        "## trl 1.2.0 (2026-01-02)",
    ]
    assert "3 releases from 2026-01-02 to 2026-01-04; 2 changed something." in text


def test_a_section_tells_what_moved_with_the_release_and_what_stood_beside_it() -> None:
    text = "\n".join(stack_changelog.lines(RUNGS))
    assert "After 5.0.0; with huggingface-hub 1.0 to 1.1, httpx2 new to 2.0; beside trl 1.2.0." in text
    assert "After 1.1.0; beside transformers 5.1.0." in text
    assert "- **broken** fails ([upstream](https://example.com/1))" in text
    assert "- **wrong** resume &lt;forgets&gt;. To do: pin it" in text


def test_without_data_there_is_only_the_explanation() -> None:
    assert list(stack_changelog.lines(())) == [stack_changelog.HEAD, ""]
