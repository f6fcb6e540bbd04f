"""``check.py SUMMARY EXPECTED``: is the summary what CI knows to be true of a few cells?

EXPECTED maps a cell to the stages that do not pass there; every other stage must have passed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def differences(summary: Mapping[str, Any], expected: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """One line for each cell or stage that is not as expected; an absent cell is one too."""
    found = {cell["cell"]: cell for cell in summary["cells"]}
    for name, exceptions in expected.items():
        if name not in found:
            yield f"{name}: not in the summary"
            continue
        for stage, outcome in {**found[name]["stages"], **found[name]["probes"]}.items():
            if outcome != (wanted := exceptions.get(stage, "passed")):
                yield f"{name} {stage}: {outcome}, expected {wanted}"


def main(summary: Path, expected: Path) -> int:
    lines = list(differences(json.loads(summary.read_text()), json.loads(expected.read_text())))
    print("\n".join(lines) or f"{summary}: as expected")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
