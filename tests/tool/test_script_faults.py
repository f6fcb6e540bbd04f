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


def test_after_a_kill_nothing_of_a_script_goes_on_and_the_next_run_removes_its_files(team: Team) -> None:
    team.set_script(f"{DAEMON}\ntime.sleep(600)")
    process = team.start("run", "toy")
    team.wait_for("began")
    process.kill()
    process.communicate()

    team.set_script("print('well')")
    with nothing_left(team):
        assert team.run("run", "toy")[0] == 0
    assert team.outcome() == ("passed", "")
