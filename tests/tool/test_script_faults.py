"""Scripts of others that go wrong: the record says so, and nothing of them is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.tool.scripts import Team, nothing_left

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
# Starts a process that has left its session and whose parent has ended, and leaves a temporary folder.
DAEMON = """
import os, subprocess, sys, tempfile, time
tempfile.mkdtemp()
code = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
subprocess.run([sys.executable, "-c", code])
open(f"{HERE}/began", "w").close()
"""


@pytest.fixture(name="team")
def _team(tmp_path: Path) -> Team:
    return Team(tmp_path)


@pytest.mark.parametrize("end", ["kill", "limit", "interrupt"])
def test_however_a_run_ends_nothing_of_a_script_goes_on(team: Team, end: str) -> None:
    team.set_script(f"{DAEMON}\ntime.sleep(600)")
    limit = {"TUNEMATRIX_CELL_SECONDS": "20"} if end == "limit" else {}
    process = team.start("run", "toy", **limit)
    team.wait_for("began")
    if end != "limit":
        process.send_signal({"kill": signal.SIGKILL, "interrupt": signal.SIGINT}[end])
    output, _ = process.communicate(timeout=60)

    assert process.returncode == {"kill": -9, "limit": 3, "interrupt": 130}[end], output
    team.set_script("print('well')")
    with nothing_left(team):
        assert team.run("run", "toy")[0] == 0
    assert team.outcome() == ("passed", "")
