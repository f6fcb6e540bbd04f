"""Running real cells: whatever happens to a cell, its record shows it and nothing else is lost."""

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

from tests.tool.conftest import TOOL_DEPENDENCIES, TOOLS, Sandbox
from tunematrix.base.record import schema

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def workload_probes(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The probes of the workload, without those of the suite, which fail in a toy cell."""
    suite = ("program", "dataset_format", "fingerprint")
    return [probe for probe in record["probes"] if not probe["name"].startswith(suite)]


def stage_outcomes(record: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {stage["name"]: stage["outcome"] for stage in record["stages"]}


def test_a_cell_without_a_stack_fails_at_import(sandbox: Sandbox) -> None:
    sandbox.add_cell()
    code, output = sandbox.run("run", "toy")

    record = sandbox.record()
    assert code == 1
    assert record["outcome"] == "failed"
    assert stage_outcomes(record)["import"] == "failed"
    assert "import, fingerprint:surface [import]: ModuleNotFoundError: No module named 'torch'" in output
    assert sandbox.summary()["cells"][0]["stages"]["import"] == "failed"
    jsonschema.validate(record, schema())


def test_a_crash_of_the_process_keeps_earlier_results(sandbox: Sandbox) -> None:
    sandbox.add_cell()
    sandbox.set_test("def test_crash():\n    os.kill(os.getpid(), signal.SIGSEGV)")
    code, _ = sandbox.run("run", "toy")

    record = sandbox.record()
    assert code == 1
    assert record["outcome"] == "crashed"
    assert stage_outcomes(record)["import"] == "failed"
    process = record["probes"][-1]
    assert (process["name"], process["error"]["type"]) == ("process", "SIGSEGV")
    assert "Fatal Python error: Segmentation fault" in process["error"]["traceback"]


HANG = "def test_hang():\n    time.sleep(100)"
OUT_OF_MEMORY = "def test_kill():\n    os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("test", "settings", "outcome", "message"),
    [
        (HANG, {"TUNEMATRIX_CELL_SECONDS": "6"}, "timed_out", "did not end in time; killed"),
        (OUT_OF_MEMORY, {}, "crashed", "ended by SIGKILL"),
    ],
    ids=["the time limit", "kill -9"],
)
def test_a_cell_that_was_cut_off_is_kept_beside_the_last_complete_record(
    sandbox: Sandbox, test: str, settings: dict[str, str], outcome: str, message: str
) -> None:
    sandbox.add_cell()
    sandbox.run("run", "toy")
    before = sandbox.record()
    sandbox.set_test(test)
    code, output = sandbox.run("run", "toy", **settings)

    assert (code, message in output) == (3, True), output
    assert "stays: a run that was cut off is no evidence" in output
    assert sandbox.record() == before
    assert sandbox.interrupted()["outcome"] == outcome
    assert stage_outcomes(sandbox.interrupted())["import"] == "failed"
    row = sandbox.summary()["cells"][0]
    assert (row["outcome"], row["state"]) == ("failed", "interrupted")
    assert f"was cut off: {sandbox.interrupted()['probes'][-1]['error']['type']}" in str(row["reasons"])
    code, output = sandbox.run("report")
    assert (code, "toy interrupted: last run" in output) == (3, True), output

    sandbox.set_test("def test_new():\n    pass")
    assert sandbox.run("run", "toy")[0] == 1
    assert sandbox.record() != before
    assert not (sandbox.results / "tiny-gpt2/toy/interrupted.json").exists()


def test_a_cell_that_was_cut_off_without_a_record_is_what_the_summary_shows(sandbox: Sandbox) -> None:
    sandbox.add_cell()
    sandbox.set_test(OUT_OF_MEMORY)
    code, _ = sandbox.run("run", "toy")

    assert code == 3
    assert not (sandbox.results / "tiny-gpt2/toy.json").exists()
    row = sandbox.summary()["cells"][0]
    assert (row["outcome"], row["state"], row["stages"]["import"]) == ("crashed", "interrupted", "failed")
    jsonschema.validate(sandbox.interrupted(), schema())


def test_a_dead_network_is_no_regression_and_keeps_record_and_environment(sandbox: Sandbox) -> None:
    sandbox.add_cell()
    sandbox.run("run", "toy")
    before = sandbox.record()
    (sandbox.constraints / "toy.txt").write_text(TOOLS + TOOL_DEPENDENCIES + "six==1.17.0\n")
    dead = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    dead |= {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_CACHE_DIR": str(sandbox.results / "uv")}
    dead["UV_FIND_LINKS"] = ""
    code, output = sandbox.run("run", "toy", **dead)

    assert code == 3, output
    assert sandbox.record() == before
    assert sandbox.interrupted()["error"]["type"] == "InfrastructureError"
    assert list((sandbox.results / ".venvs/toy").glob("lib/*/site-packages/pytest"))
    reasons = [reason["error"] for reason in sandbox.summary()["cells"][0]["reasons"]]
    assert any("was cut off: InfrastructureError" in reason for reason in reasons), reasons
    assert any(reason.startswith("other lock: ") for reason in reasons), reasons


def test_a_run_with_another_model_leaves_the_first_ones_results_alone(sandbox: Sandbox) -> None:
    sandbox.add_cell()
    sandbox.run("run", "toy")
    files = {path: path.read_bytes() for path in (sandbox.results / "tiny-gpt2").glob("*.*")}
    sandbox.run("run", "toy", "--model", "tiny-llama")

    assert {path: path.read_bytes() for path in files} == files
    assert sandbox.summary()["model"] == "tiny-llama"
    assert (sandbox.results / "tiny-llama/toy.json").is_file()
    assert [path.name for path in (sandbox.results / ".venvs").iterdir()] == ["toy"]
    code, output = sandbox.run("report", "--model", "tiny-gpt2")
    assert (code, "Compatibility summary: tiny-gpt2" in output) == (1, True)
    assert sandbox.run("show", "toy")[1].startswith("toy: failed, tiny-llama")
    assert sandbox.run("show", "toy", "--model", "tiny-gpt2")[1].startswith("toy: failed, tiny-gpt2")


def test_a_record_is_reused_until_something_changes(sandbox: Sandbox) -> None:
    sandbox.add_cell()
    sandbox.run("run", "toy")
    started = sandbox.record()["started"]

    code, output = sandbox.run("run", "toy")
    assert (code, sandbox.record()["started"], sandbox.record()["reused"]) == (1, started, True)
    assert "reused, nothing has changed" in output
    sandbox.set_test("def test_new():\n    pass")
    sandbox.run("run", "toy")
    assert not sandbox.record()["reused"]
    assert [probe["name"] for probe in workload_probes(sandbox.record())] == ["new"]


def test_a_selection_of_tests_does_not_change_the_record(sandbox: Sandbox) -> None:
    sandbox.add_cell()
    sandbox.set_test("def test_new():\n    pass")
    sandbox.run("run", "toy")
    before = sandbox.record()

    code, output = sandbox.run("run", "toy", "-k", "new")
    assert (code, output.splitlines()[-1].startswith("toy: passed")) == (0, True)
    assert sandbox.record() == before
    code, output = sandbox.run("run", "toy", "-k", "nothing")
    assert code == 2
    assert "-k 'nothing' matches no test" in output


def test_the_environment_is_exactly_the_lock(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.add_cell()
    sandbox.set_test("def test_import():\n    import six")
    venv = tmp_path / "venv"
    sandbox.run("run", "toy", "--venv", str(venv))
    install = ["uv", "pip", "install", "-q", "--python", str(venv), "six"]
    subprocess.run(install, check=True, env=sandbox.variables)

    sandbox.run("run", "toy", "--venv", str(venv), "--rerun")

    assert workload_probes(sandbox.record())[0]["error"]["message"] == "No module named 'six'"


def test_an_environment_whose_installation_was_interrupted_is_recreated(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.add_cell()
    venv = tmp_path / "venv"
    sandbox.run("run", "toy", "--venv", str(venv))
    (venv / ".tunematrix").unlink()  # the state after a kill during the sync
    next(venv.glob("lib/*/site-packages/_pytest/config/__init__.py")).unlink()

    sandbox.run("run", "toy", "--venv", str(venv), "--rerun")

    assert sandbox.record()["outcome"] == "failed"
    assert stage_outcomes(sandbox.record())["import"] == "failed"


def test_an_uninstallable_lock_is_reported_with_the_message_of_uv(sandbox: Sandbox) -> None:
    sandbox.add_cell(extra="six==0.0.1\n")
    code, output = sandbox.run("run", "toy")

    assert code == 3
    assert sandbox.interrupted()["outcome"] == "uninstallable"
    assert "six" in sandbox.interrupted()["error"]["message"]
    assert sandbox.summary()["counts"] == {"uninstallable": 1}
    assert "UninstallableError" in output


def test_unresolvable_pins_are_reported_with_the_message_of_uv(sandbox: Sandbox) -> None:
    (sandbox.constraints / "matrix.toml").write_text(
        'schema = 1\n[[cell]]\nname = "odd"\n[cell.pins]\npytest = "9.0.2"\npluggy = "0.13.1"\n'
    )
    code, _ = sandbox.run("run", "odd")

    assert code == 3
    assert sandbox.interrupted("odd")["outcome"] == "unresolvable"
    assert "pluggy" in sandbox.interrupted("odd")["error"]["message"]
    assert not (sandbox.constraints / "odd.txt").exists()


def wait_for(path: Path, text: str) -> str:
    """Wait until the file has the text; returns all of it."""
    for _ in range(600):
        if path.is_file() and text in (content := path.read_text()):
            return content
        time.sleep(0.1)
    pytest.fail(f"{text!r} did not appear in {path}")


def test_after_a_kill_the_old_record_is_intact_and_the_next_run_works(sandbox: Sandbox) -> None:
    sandbox.add_cell()
    sandbox.run("run", "toy")
    before = sandbox.record()
    sandbox.set_test("def test_pid(tmp_path):\n    print('PID', os.getpid(), flush=True)\n    time.sleep(60)")
    process = sandbox.start("run", "toy")
    log = sandbox.results / "tiny-gpt2/toy/log.txt"
    wait_for(log, "PID ")
    process.kill()
    process.communicate()

    assert sandbox.record() == before
    pid = int(log.read_text().split("PID ")[1].split()[0])
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists(), "the cell's process outlived its parent"
    code, output = sandbox.run("report")
    assert (code, "the run did not end; it was killed" in output) == (3, True), output
    sandbox.set_test("def test_pid():\n    pass")
    assert sandbox.run("run", "toy")[0] == 1
    assert [probe["outcome"] for probe in workload_probes(sandbox.record())] == ["passed"]


def test_nox_gives_a_complete_summary_after_it_was_killed_and_run_again(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    for name in ("one", "two", "three"):
        sandbox.add_cell(name)
    command = ["nox", "--envdir", str(tmp_path / "nox"), "-s", "e2e", "--", "--model", "tiny-gpt2"]
    root = Path(__file__).parents[2]
    options = {"cwd": root, "env": sandbox.variables, "text": True, "stdout": subprocess.PIPE}
    first = subprocess.Popen(command, **options)  # type: ignore[call-overload]  # options by name
    wait_for(sandbox.results / "tiny-gpt2/one/log.txt", "")
    os.kill(first.pid, signal.SIGKILL)

    second = subprocess.run(command, check=False, **options)  # type: ignore[call-overload]  # options by name

    assert second.returncode == 1
    for name in ("one", "two", "three"):
        jsonschema.validate(sandbox.record(name), schema())
    assert sandbox.summary()["counts"] == {"failed": 3}
    assert second.stdout.count("Compatibility summary") == 1
    assert json.loads((sandbox.results / "summary.json").read_text())["expected"] == ["one", "three", "two"]
