"""``docs/stack-changelog.md``: what each release of the stack changed for people who fine-tune."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tunematrix.report.escape import link, plain_text
from tunematrix.verdict.findings import SEVERITIES
from tunematrix.verdict.releases import Rung

# How a sentence about a finding begins.
SEVERITY_WORDS: Final = {
    "broken": "breaks:",
    "wrong": "silently wrong:",
    "training": "trains otherwise:",
    "default": "defaults:",
    "edit": "needs edits:",
}
HEAD: Final = """\
# What each release changed

Made by `nox -s ladder`, which runs every release of the fine-tuning stack once, newest first. Each stack
differs from the one before by that release alone, and by what the resolver moved with it ("with"), so that
what moved belongs to the release: by experiment, with models of two layers, on a CPU.

**broken** fails now, **wrong** fails silently, **training** gives other numbers, **default** is another
default, **edit** is a call to change. Releases that changed none of these are not listed."""


def lines(rungs: Sequence[Rung]) -> Iterator[str]:
    """The lines of the file."""
    loud = [rung for rung in rungs if rung.findings]
    yield HEAD
    if rungs:
        yield ""
        yield f"{len(rungs)} releases from {rungs[0].day} to {rungs[-1].day}; {len(loud)} changed something."
    for rung in reversed(loud):
        yield from _section(rung)
    yield ""


def _section(rung: Rung) -> Iterator[str]:
    yield ""
    yield f"## {rung.package} {rung.after} ({rung.day})"
    yield ""
    also = ", ".join(f"{name} {old or 'new'} to {new or 'none'}" for name, (old, new) in rung.also.items())
    yield f"After {rung.before};{f' with {also};' if also else ''} beside {rung.beside(rung.stack)}."
    yield ""
    for finding in rung.findings:
        title, action = plain_text(finding["title"]), plain_text(finding.get("action", ""))
        source = f" ({link('upstream', finding['link'])})" if "link" in finding else ""
        yield f"- **{finding['severity']}** {title}{source}" + (f". To do: {action}" if action else "")


def news(rungs: Sequence[Rung]) -> str:
    """One paragraph, in Markdown: what these releases changed for people who fine-tune, the worst first."""
    if not rungs:
        return "No new releases."
    worst = [(rung, min(rung.findings, key=_rank)) for rung in rungs if rung.findings]
    told = [
        f"{rung.package} {rung.after}: {SEVERITY_WORDS[finding['severity']]} {plain_text(finding['title'])}"
        + (f" (and {len(rung.findings) - 1} more)" if len(rung.findings) > 1 else "")
        for rung, finding in sorted(worst, key=lambda pair: _rank(pair[1]))
    ]
    quiet = len(rungs) - len(worst)
    count = "1 new release" if len(rungs) == 1 else f"{len(rungs)} new releases"
    rest = f"; {quiet or 'none'} changed nothing that the measures see"
    return f"{count}{rest}. " + ". ".join(told) + ("." if told else "")


def _rank(finding: Mapping[str, Any]) -> int:
    return SEVERITIES.index(finding["severity"])
