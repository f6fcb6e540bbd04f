"""The exchange for the page: for each artifact a grid, writers down and readers across."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tunematrix.questions.exchange import ALL
from tunematrix.report.exchange import rank
from tunematrix.shared.lines import one_line
from tunematrix.shared.reading import UnreadableError, parse_json, read_text
from tunematrix.verdict.pairs import ARTIFACTS, UNAVAILABLE

FILE: Final = "exchange.json"
LONGEST: Final = 240  # characters of a reason; the file has the whole
AGAIN: Final = "run it again: nox -s exchange"


def files(folder: Path) -> list[Path]:
    """The exchange of the model with the results ``folder``; without one, those of all models beside it."""
    own = folder / FILE
    return [own] if own.is_file() else sorted(folder.parent.glob(f"*/{FILE}"))


def load(paths: Iterable[Path]) -> dict[str, Any] | None:
    """The grids of the files as data, None without a file; ``problem`` is why one of them cannot be read.

    ``artifacts`` are ``[name, title, rows]``; a row has, for each of ``readers``, the place of its outcome in
    ``outcomes``, each ``[outcome, model, reason]``, or -1. Of several models the worst outcome counts.
    ``findings`` are ``[severity, title, action, whether it is known, artifacts]``.
    """
    contents: list[Mapping[str, Any]] = []
    for path in paths:
        name = f"{path.parent.name}/{path.name}"
        try:
            content = parse_json(read_text(path), name)
        except UnreadableError as error:
            return {"problem": f"{error}; {AGAIN}"}
        contents.append(content)
    try:
        return _grids(contents) if contents else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return {"problem": f"{FILE}: not what an exchange writes; {AGAIN}"}


def _grids(contents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    cells = {each["cell"]: each for content in contents for each in content["cells"]}
    readers = [name for name, cell in cells.items() if not cell.get("frozen")]
    worst: dict[tuple[str, str, str], tuple[str, str, str]] = {}
    for pair in (pair for content in contents for pair in content["pairs"]):
        outcome = (pair["outcome"], pair["model"], _short(pair.get("reason") or ""))
        for artifact in ARTIFACTS if pair["artifact"] == ALL else (pair["artifact"],):
            key = artifact, pair["writer"], pair["reader"]
            worst[key] = min(worst.get(key, outcome), outcome, key=lambda each: rank(each[0]))
    outcomes: dict[tuple[str, str, str], int] = {}
    seen = {artifact for artifact, _, _ in worst}

    def place(artifact: str, writer: str, reader: str) -> int:
        outcome, model, reason = worst.get((artifact, writer, reader), (UNAVAILABLE, "", "was not read"))
        key = (outcome, model, reason) if reason else (outcome, "", "")
        return outcomes.setdefault(key, len(outcomes))

    artifacts = [
        [name, ARTIFACTS[name][0], [[place(name, writer, reader) for reader in readers] for writer in cells]]
        for name in ARTIFACTS
        if name in seen
    ]
    return {
        "models": sorted({pair["model"] for content in contents for pair in content["pairs"]} - {""}),
        "writers": list(cells),
        "readers": readers,
        "artifacts": artifacts,
        "outcomes": [list(key) for key in outcomes],
        "findings": list({each["title"]: _finding(each) for each in _found(contents)}.values()),
        "problem": "",
    }


def _found(contents: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return (finding for content in contents for finding in content.get("findings", ()))


def _finding(content: Mapping[str, Any]) -> list[Any]:
    artifacts = [name.removeprefix("exchange.") for name in content["fields"]]
    texts = [one_line(str(content[key])) for key in ("severity", "title", "action")]
    return [*texts, bool(content.get("accepted")), artifacts]


def _short(reason: str) -> str:
    """The start of a reason, without secrets, of which half would not be recognised."""
    text = one_line(reason)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
