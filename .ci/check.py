"""``check.py SUMMARY EXPECTED``: check that a few cells have the outcomes that CI expects.

EXPECTED maps a cell to the outcomes of its stages and probes that do not pass; all others must pass.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def differences(summary: Mapping[str, Any], expected: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """A line for each missing cell, and for each stage or probe with an unexpected outcome."""
    cells = {cell["cell"]: cell for cell in summary["cells"]}
    for name, exceptions in expected.items():
        if name not in cells:
            yield f"{name}: not in the summary"
            continue
        for stage, outcome in {**cells[name]["stages"], **cells[name]["probes"]}.items():
            if outcome != (expected_outcome := exceptions.get(stage, "passed")):
                yield f"{name} {stage}: {outcome}, expected {expected_outcome}"


def main(summary: Path, expected: Path) -> int:
    lines = list(differences(json.loads(summary.read_text()), json.loads(expected.read_text())))
    print("\n".join(lines) or f"{summary}: as expected")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
