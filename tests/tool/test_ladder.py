"""The chain of locks with the real resolver and the real index: each differs by one release, and is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tool.conftest import ROOT, Sandbox
from tunematrix.locks import lock

pytestmark = pytest.mark.integration
DAYS = ("--since", "2026-11-06", "--until", "2026-11-14")


def test_the_rungs_of_a_week(sandbox: Sandbox) -> None:
    matrix = (ROOT / "constraints" / "matrix.toml").read_text()
    (sandbox.constraints / "matrix.toml").write_text(matrix)
    code, output = sandbox.run("ladder", *DAYS, "--plan")
    assert code == 0, output
    assert [line for line in output.splitlines() if line.startswith("2026")] == [
        "2026-11-06  the newest releases",
        "2026-11-09  datasets 5.1.0 -> 5.2.0",
        "2026-11-13  transformers 5.22.2 -> 5.23.0",
    ]
    paths = sorted((sandbox.results / ".ladder" / "locks").glob("*.txt"))
    first, second, third = (lock.read_versions(path) for path in paths)
    assert first["torch"].startswith("2.13.0")
    assert second["datasets"] == "5.2.0"
    # datasets 5.2 needs aiohttp no more: what a release drops goes with it.
    assert {name for name in first if first[name] != second.get(name)} >= {"datasets", "aiohttp"}
    assert {name for name in second if second[name] != third.get(name)} == {"transformers"}
    assert not second.keys() ^ third.keys()

    times = [path.stat().st_mtime_ns for path in paths]
    code, output = sandbox.run("ladder", *DAYS, "--plan")
    assert code == 0, output
    assert [Path(path).stat().st_mtime_ns for path in paths] == times
