"""Scripts of others that go wrong: the record says so, and nothing of them is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tool.scripts import Team, nothing_left
from tunematrix.shared.logs import LIMIT

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
    assert team.outcomes["work"] == "passed"


FAULTS = {
    "hang": "import time; time.sleep(600)",
    "daemon": DAEMON,
    "fork": "import os, time\nfor _ in range(20):\n    if not os.fork(): time.sleep(600)",
    "memory": "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30,) * 2); bytearray(2**31)",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "killer": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
    "remover": "import os, shutil; shutil.rmtree(os.getcwd()); os.chdir('/')",
    "writer": "import os; open('work.py', 'w').close(); open(os.path.expanduser('~/x'), 'w').close()",
    "flood": "import sys; [sys.stdout.write('x' * 2**20) for _ in range(300)]",
    "disk": "import os; os.write(os.open('/dev/full', os.O_WRONLY), b'x')",
    "last": "print('well')",
}
OUTCOMES = {
    "hang": "timed_out TimeoutError",
    "daemon": "passed",
    "fork": "passed",
    "memory": "failed MemoryError",
    "segfault": "failed ScriptError",
    "killer": "crashed SIGKILL",
    "remover": "passed",
    "writer": "passed",
    "flood": "passed",
    "disk": "failed OSError",
    "last": "passed",
}


def test_no_script_disturbs_another_or_leaves_anything(team: Team) -> None:
    team.set_scripts(seconds=5, **FAULTS)
    before = {path.name: path.read_bytes() for path in team.workload.iterdir()}
    with nothing_left(team):
        code, output = team.run("run", "toy")

    outcomes = {name: outcome for name, outcome in team.outcomes.items() if name in FAULTS}
    assert outcomes == OUTCOMES, output
    assert code == 3
    assert "Traceback" not in output
    assert {path.name: path.read_bytes() for path in team.workload.iterdir()} == before
    assert all(path.stat().st_size < 2 * LIMIT for path in team.results.rglob("*.log"))
