"""The answer that the unprivileged job left: read as the text of strangers, and judged again.

That job runs unvetted packages, so nothing in its artifact is believed but as an answer to show.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jsonschema

from tunematrix.base.errors import UsageError
from tunematrix.pulls.lookup import Acceptance
from tunematrix.shared import reading
from tunematrix.verdict.answer import BEST_FIRST, CANNOT_TELL, NOTHING_TO_TEST, Judgement
from tunematrix.verdict.diff import Diff
from tunematrix.verdict.findings import SEVERITIES, Finding

FILE: Final = "answer.json"
CLOSING: Final = ("training", "default")  # what closes the gate until somebody accepts it
TEXT: Final[Mapping[str, Any]] = {"type": "string"}
TEXTS: Final[Mapping[str, Any]] = {"type": "array", "items": TEXT}
FINDING: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["id", "severity", "title"],
    "properties": {
        "id": TEXT,
        "severity": {"enum": list(SEVERITIES)},
        "title": TEXT,
        "action": TEXT,
        "accepted": {"type": "boolean"},
        "reason": TEXT,
        "places": TEXTS,
        "cause": {
            "type": ["object", "null"],
            "required": ["package", "release"],
            "properties": {"package": TEXT, "release": TEXT},
        },
    },
}
# What is read of ``upgrade --answer``, and what ``pr upgrade`` adds; other keys are of other releases.
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["answer"],
    "properties": {
        "answer": {"enum": [*BEST_FIRST, NOTHING_TO_TEST]},
        "reason": TEXT,
        "findings": {"type": "array", "items": FINDING},
        "untested": TEXTS,
        "notes": TEXTS,
        "moved": {
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {"type": ["string", "null"]},
            },
        },
        "pull_request": {"type": ["integer", "null"]},
        "pins": {
            "type": "object",
            "required": ["file", "others"],
            "properties": {"file": TEXT, "others": TEXTS},
        },
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PullAnswer:
    """The answer as its job wrote it; ``file`` is the one of the pins, ``others`` changed too."""

    judgement: Judgement
    causes: Mapping[str, str] = field(default_factory=dict)  # by id of a finding, the release
    reason: str = ""
    moved: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    number: int | None = None
    file: str = ""
    others: tuple[str, ...] = ()

    @property
    def closing(self) -> list[Finding]:
        """The changes of behaviour that nobody accepted."""
        return self.judgement.of(*CLOSING)


def read(path: Path) -> PullAnswer:
    """The answer in a file; one that cannot be read is the answer CANNOT TELL, with the reason."""
    try:
        return parse(reading.parse_json(reading.read_text(path), path.name))
    except (ValueError, UsageError) as error:
        return unknown(f"the answer of the run cannot be read: {error}")


def unknown(reason: str) -> PullAnswer:
    untested = Judgement(answer=CANNOT_TELL, diff=Diff(verdict="unknown"), untested=("all of it",))
    return PullAnswer(judgement=untested, reason=reason)


def parse(content: Any) -> PullAnswer:
    """The answer in JSON types; raises ``UsageError`` for another form."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    if error := jsonschema.exceptions.best_match(validator.iter_errors(content)):
        where = "".join(f"[{part!r}]" for part in error.absolute_path)
        raise UsageError(f"answer{where:.100} is not as documented ({error.validator})")
    findings = [_finding(each) for each in content.get("findings", [])]
    pins = content.get("pins", {"file": "", "others": []})
    return PullAnswer(
        judgement=Judgement(
            answer=content["answer"],
            diff=Diff(verdict="unknown"),
            findings=tuple(findings),
            untested=tuple(content.get("untested", [])),
        ),
        causes={
            each["id"]: f"{cause['package']} {cause['release']}"
            for each in content.get("findings", [])
            if (cause := each.get("cause"))
        },
        reason=content.get("reason", ""),
        moved={name: (pair[0], pair[1]) for name, pair in content.get("moved", {}).items()},
        notes=tuple(content.get("notes", [])),
        number=content.get("pull_request"),
        file=pins["file"],
        others=tuple(pins["others"]),
    )


def _finding(content: Mapping[str, Any]) -> Finding:
    accepted = content.get("reason", "in accepted.toml") if content.get("accepted") else ""
    return Finding(
        id=content["id"],
        severity=content["severity"],
        title=content["title"],
        fields=(),
        action=content.get("action", ""),
        accepted=accepted,
        places=tuple(content.get("places", [])),
    )


def accept(answer: PullAnswer, acceptance: Acceptance | None) -> PullAnswer:
    """The answer with all that the label accepts: changes of behaviour, and nothing broken or wrong."""
    if not acceptance or not acceptance.current:
        return answer
    findings = tuple(
        dataclasses.replace(finding, accepted=f"by {acceptance.who}, with the label")
        if finding.severity in CLOSING and not finding.accepted
        else finding
        for finding in answer.judgement.findings
    )
    return dataclasses.replace(answer, judgement=dataclasses.replace(answer.judgement, findings=findings))
