"""Faults of the machine and of the network around a run: nothing recorded is lost, the next run is healthy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.tool import toys
from tests.tool.scripts import Team, nothing_left

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


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
