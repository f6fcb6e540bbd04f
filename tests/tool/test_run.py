"""Running cells for real: whatever happens to one, its record says so and nothing else is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.tool.conftest import Lab
from tunematrix.base.record import schema

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def own_probes(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The probes of the workload; those of the project fail in a toy without a stack."""
    projects = ("program", "dataset_format", "fingerprint")
    return [probe for probe in record["probes"] if not probe["name"].startswith(projects)]


def stages(record: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {row["name"]: row["outcome"] for row in record["stages"]}


def test_a_cell_without_the_stack_fails_at_import_and_says_where(lab: Lab) -> None:
    lab.toy()
    code, output = lab.run("run", "toy")

    record = lab.record()
    assert code == 1
    assert record["outcome"] == "failed"
    assert stages(record)["import"] == "failed"
    assert "import, fingerprint:surface [import]: ModuleNotFoundError: No module named 'torch'" in output
    assert lab.summary()["cells"][0]["stages"]["import"] == "failed"
    jsonschema.validate(record, schema())


def test_a_crash_of_the_whole_process_keeps_what_was_measured(lab: Lab) -> None:
    lab.toy()
    lab.test("def test_crash():\n    os.kill(os.getpid(), signal.SIGSEGV)")
    code, _ = lab.run("run", "toy")

    record = lab.record()
    assert code == 1
    assert record["outcome"] == "crashed"
    assert stages(record)["import"] == "failed"
    process = record["probes"][-1]
    assert (process["name"], process["error"]["type"]) == ("process", "SIGSEGV")
    assert "Fatal Python error: Segmentation fault" in process["error"]["traceback"]


def test_a_hang_is_ended_and_told(lab: Lab) -> None:
    lab.toy()
    lab.test("def test_hang():\n    time.sleep(100)")
    code, output = lab.run("run", "toy", TUNEMATRIX_CELL_SECONDS="6")

    assert code == 1
    assert lab.record()["outcome"] == "timed_out"
    assert "did not end in time; killed" in output
    assert stages(lab.record())["import"] == "failed"


def test_a_record_is_reused_until_something_changes(lab: Lab) -> None:
    lab.toy()
    lab.run("run", "toy")
    started = lab.record()["started"]

    code, output = lab.run("run", "toy")
    assert (code, lab.record()["started"], lab.record()["reused"]) == (1, started, True)
    assert "reused, nothing has changed" in output
    lab.test("def test_new():\n    pass")
    lab.run("run", "toy")
    assert not lab.record()["reused"]
    assert [probe["name"] for probe in own_probes(lab.record())] == ["new"]


def test_a_selection_leaves_the_cells_record_alone(lab: Lab) -> None:
    lab.toy()
    lab.test("def test_new():\n    pass")
    lab.run("run", "toy")
    before = lab.record()

    code, output = lab.run("run", "toy", "-k", "new")
    assert (code, output.splitlines()[-1].startswith("toy: passed")) == (0, True)
    assert lab.record() == before
    code, output = lab.run("run", "toy", "-k", "nothing")
    assert code == 2
    assert "-k 'nothing' matches no test" in output


def test_the_environment_is_exactly_the_lock(lab: Lab, tmp_path: Path) -> None:
    lab.toy()
    lab.test("def test_stray():\n    import six")
    venv = tmp_path / "venv"
    lab.run("run", "toy", "--venv", str(venv))
    install = ["uv", "pip", "install", "-q", "--python", str(venv), "six"]
    subprocess.run(install, check=True, env=lab.variables)

    lab.run("run", "toy", "--venv", str(venv), "--rerun")

    assert own_probes(lab.record())[0]["error"]["message"] == "No module named 'six'"


def test_an_environment_whose_installation_was_cut_off_is_made_anew(lab: Lab, tmp_path: Path) -> None:
    lab.toy()
    venv = tmp_path / "venv"
    lab.run("run", "toy", "--venv", str(venv))
    (venv / ".tunematrix").unlink()  # as a kill during the sync leaves it
    next(venv.glob("lib/*/site-packages/_pytest/config/__init__.py")).unlink()

    lab.run("run", "toy", "--venv", str(venv), "--rerun")

    assert lab.record()["outcome"] == "failed"
    assert stages(lab.record())["import"] == "failed"


def test_a_lock_that_cannot_be_installed_is_told_with_uvs_words(lab: Lab) -> None:
    lab.toy(extra="six==0.0.1\n")
    code, output = lab.run("run", "toy")

    assert code == 3
    assert lab.record()["outcome"] == "uninstallable"
    assert "six" in lab.record()["error"]["message"]
    assert lab.summary()["counts"] == {"uninstallable": 1}
    assert "UninstallableError" in output


def test_pins_that_do_not_resolve_are_told_with_uvs_words(lab: Lab) -> None:
    (lab.constraints / "matrix.toml").write_text(
        'schema = 1\n[[cell]]\nname = "odd"\n[cell.pins]\npytest = "9.0.2"\npluggy = "0.13.1"\n'
    )
    code, _ = lab.run("run", "odd")

    assert code == 3
    assert lab.record("odd")["outcome"] == "unresolvable"
    assert "pluggy" in lab.record("odd")["error"]["message"]
    assert not (lab.constraints / "odd.txt").exists()


def wait_for(path: Path, text: str) -> None:
    for _ in range(600):
        if path.is_file() and text in path.read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"{text!r} never came in {path}")


def test_after_a_kill_the_old_record_is_whole_and_the_next_run_goes_on(lab: Lab) -> None:
    lab.toy()
    lab.run("run", "toy")
    before = lab.record()
    lab.test("def test_pid(tmp_path):\n    print('PID', os.getpid(), flush=True)\n    time.sleep(60)")
    process = lab.start("run", "toy")
    log = lab.results / "toy/log.txt"
    wait_for(log, "PID ")
    process.kill()
    process.communicate()

    assert lab.record() == before
    pid = int(log.read_text().split("PID ")[1].split()[0])
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists(), "the cell's process outlived its parent"
    lab.test("def test_pid():\n    pass")
    assert lab.run("run", "toy")[0] == 1
    assert [probe["outcome"] for probe in own_probes(lab.record())] == ["passed"]


def test_nox_killed_in_the_middle_then_run_again_gives_a_whole_summary(lab: Lab, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        lab.toy(name)
    command = ["nox", "--envdir", str(tmp_path / "nox"), "-s", "e2e", "--", "--model", "tiny-gpt2"]
    root = Path(__file__).parents[2]
    options = {"cwd": root, "env": lab.variables, "text": True, "stdout": subprocess.PIPE}
    first = subprocess.Popen(command, **options)  # type: ignore[call-overload]  # options by name
    wait_for(lab.results / "one/log.txt", "")
    os.kill(first.pid, signal.SIGKILL)

    again = subprocess.run(command, check=False, **options)  # type: ignore[call-overload]  # options by name

    assert again.returncode == 1
    for name in ("one", "two", "three"):
        jsonschema.validate(lab.record(name), schema())
    assert lab.summary()["counts"] == {"failed": 3}
    assert again.stdout.count("Does it work?") == 1
    assert json.loads((lab.results / "summary.json").read_text())["expected"] == ["one", "three", "two"]
