"""The lines of a team's code that must change, as annotations of its pull request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tunematrix.pulls.answer import PullAnswer
from tunematrix.report.escape import workflow_command
from tunematrix.shared.lines import one_line

SHOWN: Final = 10  # annotations of one kind that GitHub shows of a step
MUST: Final = ("broken", "wrong", "edit")  # what raises or is wrong unless the line changes


def commands(answer: PullAnswer, folder: Path) -> Iterator[str]:
    """Commands of a workflow, the worst findings first, then one that counts what is left.

    ``folder`` is where the files of the team's code lie.
    """
    loud = answer.judgement.of("broken", "wrong", "training", "default", "edit")
    pairs = [(place, finding) for finding in loud for place in finding.places]
    found = sorted(pairs, key=lambda pair: pair[1].severity not in MUST)
    for place, finding in found[:SHOWN]:
        file, _, line = place.rpartition(":")
        yield workflow_command(
            "error" if finding.severity in MUST else "warning",
            one_line(finding.title).removeprefix(f"{place}: "),
            file=(folder / file).as_posix(),
            line=line,
            title=f"tunematrix: {finding.severity}",
        )
    if len(found) > SHOWN:
        rest = (
            f"{len(found) - SHOWN} more lines of your code meet what changed; the summary of this job has all"
        )
        yield workflow_command("notice", rest, title="tunematrix")
