"""Faults of the machine and the network: nothing recorded is lost, and the next run is healthy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.tool import toys
from tests.tool.conftest import TOOL_DEPENDENCIES, TOOLS
from tests.tool.scripts import Team, nothing_left
from tests.tool.test_run import wait_for
from tunematrix.hub.models import MODELS, prepare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

StartHub = Callable[..., tuple[subprocess.Popen[bytes], dict[str, str]]]


@pytest.fixture(name="toy")
def _toy(tmp_path: Path) -> Team:
    """A cell whose only test is that of the workload, without a Hub's client."""
    team = Team(tmp_path)
    team.add_cell()
    toys.write_suite(tmp_path / "suite")
    team.variables["TUNEMATRIX_SUITE"] = str(tmp_path / "suite")
    return team


@pytest.fixture(name="disk")
def _disk(toy: Team) -> Iterator[Path]:
    """a disk of two megabytes for the results."""
    toy.results.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(toy.results)]
    if sys.platform != "linux" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield toy.results
    subprocess.run(["umount", "--lazy", str(toy.results)], check=True)


def test_a_full_disk_is_no_regression_and_keeps_the_record(toy: Team, disk: Path) -> None:
    venv = ["--venv", str(toy.folder / "venv")]
    code, output = toy.run("run", "toy", *venv)
    assert code == 1, output
    before = toy.record()
    with (disk / "fill").open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(b"x" * 4096)
    code, output = toy.run("run", "toy", *venv, "--rerun")
    print(output)
    assert (code, "No space left" in output, "Traceback" in output) == (3, True, False), output
    assert toy.record() == before

    (disk / "fill").unlink()
    with nothing_left(toy):
        assert toy.run("run", "toy", *venv, "--rerun")[0] == 1
    assert toy.record()["started"] > before["started"]


WAIT = """
def test_waits():
    import importlib.util, pathlib
    folder = pathlib.Path({folder!r})
    (folder / "began").touch()
    while not (folder / "go").exists():
        time.sleep(0.1)
    import six
"""


def test_another_results_folder_does_not_replace_the_environment_of_a_run(toy: Team) -> None:
    toy.add_cell(extra="six==1.17.0\n")
    toy.set_test(WAIT.format(folder=str(toy.folder)))
    venv = ["--venv", str(toy.folder / "venv")]
    first = toy.start("run", "toy", *venv)
    toy.wait_for("began")
    others = {
        "TUNEMATRIX_CONSTRAINTS": str(toy.folder / "others"),
        "TUNEMATRIX_RESULTS": str(toy.folder / "r"),
    }
    (toy.folder / "others").mkdir()
    (toy.folder / "others/toy.txt").write_text(TOOLS + TOOL_DEPENDENCIES)
    second = toy.start("run", "toy", *venv, **others)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(8)
    (toy.folder / "go").touch()
    with nothing_left(toy):
        outputs = [process.communicate(timeout=100)[0] for process in (first, second)]

    probes = [
        json.loads((folder / "tiny-gpt2/toy.json").read_text())["probes"][-1]
        for folder in (toy.results, toy.folder / "r")
    ]
    assert [probe["outcome"] for probe in probes] == ["passed", "failed"], outputs
    assert probes[1]["error"]["message"] == "No module named 'six'"


def test_two_runs_in_one_checkout_are_one_run(toy: Team) -> None:
    toy.set_test("def test_slow():\n    time.sleep(2)")
    with nothing_left(toy):
        outputs = [process.communicate(timeout=100)[0] for process in [toy.start("run", "toy") for _ in "ab"]]

    assert sorted("reused, nothing has changed" in output for output in outputs) == [False, True], outputs


@pytest.fixture(name="hub")
def _hub(tmp_path: Path) -> Iterator[StartHub]:
    """Starts a Hub as a process of its own, with faults; returns it, and the variable that names it."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*faults: str) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
        root = prepare(MODELS["tiny-gpt2"], tmp_path.parent / "cache")
        options = [part for fault in faults for part in ("--fault", fault)]
        command = [sys.executable, "-um", "tunematrix.hub", "--root", str(root), *options]
        with (tmp_path / "hub.log").open("w") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        output = wait_for(tmp_path / "hub.log", "HF_ENDPOINT=")
        return processes[-1], {"TUNEMATRIX_HUB": output.split("HF_ENDPOINT=")[1].split()[0]}

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_hub_that_is_killed_in_the_middle_is_no_regression(tmp_path: Path, hub: StartHub) -> None:
    team = Team(tmp_path)
    team.set_script("print('well')")
    server, address = hub("hang GET:*.safetensors")
    run = team.start("run", "toy", **address)
    wait_for(tmp_path / "hub.log", "config.json")
    server.kill()
    with nothing_left(team):
        output, _ = run.communicate(timeout=120)

    assert (run.returncode, "Traceback" in output) == (3, False), output
    assert team.outcomes["work"].startswith("not_run"), team.outcomes
    assert not (team.results / "tiny-gpt2/toy.json").exists(), "it is no evidence"
    assert team.run("run", "toy")[0] == 0, "with the embedded Hub"


@pytest.mark.nightly
def test_a_hub_that_drips_is_given_up_at_the_time_limit(tmp_path: Path, hub: StartHub) -> None:
    team = Team(tmp_path)
    team.set_script("print('well')")
    _, address = hub("drip GET:*.safetensors")
    with nothing_left(team):
        code, output = team.run("run", "toy", TUNEMATRIX_CELL_SECONDS="30", **address)

    assert (code, "did not end in time" in output) == (3, True), output
    assert team.outcomes["work"] == "not_run"
