"""Environments with real uv: nothing is removed before its replacement is there; faults of the index and the
machine are never those of a lock.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tool import indexes
from tests.tool.conftest import Sandbox
from tunematrix.base.errors import InfrastructureError, UninstallableError, UnresolvableError, UsageError
from tunematrix.harness.descendants import descendants
from tunematrix.locks import uv
from tunematrix.locks.table import Cell
from tunematrix.run import environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
DEAD = "http://127.0.0.1:9"
# Syncs an environment in a process that kills itself when uv has ended a command.
SYNC = """
import os, signal, sys
from pathlib import Path
from tunematrix.locks import uv
from tunematrix.locks.table import Cell
from tunematrix.run import environment
venv, lock, last = sys.argv[1:]
run = uv.run
def run_then_die(*arguments):
    completed = run(*arguments)
    if arguments[0] == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return completed
uv.run = run_then_die
environment.sync(Path(venv), Path(lock), Cell(name="toy"))
"""


class Index:
    """A toy index; ``fault`` maps a path to the raw answer that replaces its own."""

    def __init__(self) -> None:
        self.fault: dict[str, bytes | None] = {}
        self.paths: list[str] = []

    def answer(self, path: str) -> bytes | None:
        self.paths.append(path)
        return self.fault.get(path, indexes.toy_index(path))


@pytest.fixture(name="index")
def _index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    uv._pip_config.cache_clear()
    monkeypatch.setattr(uv, "_pip_config", lambda name: None)
    monkeypatch.setattr(uv, "torch_options", list)
    index = Index()
    with indexes.serving(index.answer) as url:
        settings = {
            "UV_DEFAULT_INDEX": f"{url}/simple",
            "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
            "UV_HTTP_TIMEOUT": "1",
            "UV_HTTP_RETRIES": "0",
            "TUNEMATRIX_CACHE": str(tmp_path / "cache"),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield index


class Environment:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "venv"
        self.lock = folder / "toy.txt"

    def sync(self, *packages: str) -> None:
        """Make the environment equal to a lock of ``packages``, or to the lock that there is."""
        if packages:
            self.lock.write_text("".join(f"{package}\n" for package in packages))
        environment.sync(self.path, self.lock, Cell(name="toy"))

    @property
    def packages(self) -> list[str]:
        """What the environment's own Python can import, with its version."""
        code = (
            "import importlib.metadata as m; [print(f'{d.name}=={d.version}') for d in m.distributions() "
            "if __import__(d.name).VERSION == d.version]"
        )
        return sorted(self._run(environment.interpreter(self.path), "-c", code).split())

    @property
    def identity(self) -> int:
        """Another one when the environment is replaced."""
        return self.path.stat().st_ino

    @property
    def neighbours(self) -> list[str]:
        return sorted(path.name for path in self.path.parent.iterdir() if path.name.startswith("venv"))

    def run_script(self, name: str) -> str:
        return self._run(self.path / "bin" / name)

    def _run(self, *command: Path | str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(name="venv")
def _venv(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, DEAD)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{DEAD}/simple")


def test_the_environment_follows_its_lock(index: Index, venv: Environment) -> None:
    venv.sync("alpha==1.0", "beta==1.0")
    assert venv.packages == ["alpha==1.0", "beta==1.0"]

    venv.sync("alpha==2.0")
    assert venv.packages == ["alpha==2.0"]
    assert venv.run_script("alpha-script") == "alpha 2.0\n"
    assert not (venv.path / "bin/beta-script").exists()
    assert venv.neighbours == ["venv"]


def test_an_environment_that_equals_its_lock_needs_neither_index_nor_uv(
    index: Index, venv: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.sync("alpha==1.0")
    before = venv.identity
    go_offline(monkeypatch)
    monkeypatch.setenv("UV_CACHE_DIR", "/proc/nothing")
    monkeypatch.setattr(uv, "run", None)

    venv.sync()

    assert (venv.identity, venv.packages) == (before, ["alpha==1.0"])


def test_without_an_index_the_environment_stays_as_it_was(
    index: Index, venv: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.sync("alpha==1.0")
    before = venv.identity
    go_offline(monkeypatch)

    with pytest.raises(InfrastructureError, match="Connection refused"):
        venv.sync("alpha==1.0", "beta==1.0")

    assert (venv.identity, venv.packages) == (before, ["alpha==1.0"])
    venv.sync("alpha==1.0")
    assert venv.identity == before


def test_without_an_index_uvs_cache_serves(
    index: Index, venv: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.sync("alpha==2.0", "beta==1.0")
    shutil.rmtree(venv.path)
    index.paths.clear()

    venv.sync("alpha==2.0")

    assert (venv.packages, index.paths) == (["alpha==2.0"], [])


@pytest.mark.parametrize("change", ["added", "removed", "replaced", "stray module", "interrupted"])
def test_a_changed_environment_is_made_anew(index: Index, venv: Environment, change: str) -> None:
    venv.sync("alpha==1.0")
    before = venv.identity
    packages = next(venv.path.glob("lib/*/site-packages"))
    install = ["pip", "install", "--python", str(venv.path)]
    if change == "added":
        uv.checked(uv.run(*install, "beta"), UninstallableError)
    elif change == "replaced":
        uv.checked(uv.run(*install, "alpha==2.0"), UninstallableError)
    elif change == "removed":
        uv.checked(uv.run("pip", "uninstall", "--python", str(venv.path), "alpha"), UninstallableError)
    elif change == "stray module":
        (packages / "click.py").touch()
    else:
        (
            venv.path / environment.MARKER
        ).unlink()  # an installer takes a half-installed package for a whole one
        (packages / "alpha.py").unlink()

    venv.sync()

    assert (venv.packages, venv.neighbours) == (["alpha==1.0"], ["venv"])
    assert venv.identity != before
    assert [path.name for path in packages.glob("*.py")] == ["alpha.py"]


@pytest.mark.parametrize("last", ["venv", "pip", "download"])
def test_a_kill_leaves_the_old_environment_and_the_next_run_goes_on(
    index: Index, venv: Environment, last: str
) -> None:
    venv.sync("alpha==1.0")
    before = venv.identity
    venv.lock.write_text("beta==1.0\n")
    wheel = "/files/beta-1.0-py3-none-any.whl"
    if last == "download":
        index.fault[wheel] = None
    process = subprocess.Popen([sys.executable, "-c", SYNC, str(venv.path), str(venv.lock), last])
    while last == "download" and wheel not in index.paths:
        time.sleep(0.01)
    if last == "download":
        process.kill()
    assert process.wait() == -signal.SIGKILL

    assert (venv.identity, venv.packages) == (before, ["alpha==1.0"])
    assert len(venv.neighbours) == 2
    index.fault.clear()
    venv.sync()
    assert (venv.packages, venv.neighbours) == (["beta==1.0"], ["venv"])


def test_leftovers_of_a_kill_between_the_two_renames_are_no_obstacle(index: Index, venv: Environment) -> None:
    venv.sync("alpha==1.0")
    venv.path.rename(venv.path.with_name("venv.tunematrix-old-1"))
    venv.path.with_name("venv.tunematrix-new-1").mkdir()
    venv.path.with_name("venv.old-1").mkdir()  # the user's

    environment.ensure(venv.path, "3.11")
    venv.sync()

    assert (venv.packages, venv.neighbours) == (["alpha==1.0"], ["venv", "venv.old-1"])


def test_a_folder_that_is_no_environment_is_left_alone(index: Index, venv: Environment) -> None:
    venv.path.mkdir()
    (venv.path / "thesis.tex").write_text("years of work")

    with pytest.raises(UsageError, match="not a virtual environment"):
        environment.ensure(venv.path, "3.11")
    (venv.path / "bin").mkdir()  # as in /usr
    (venv.path / "bin/python").touch()
    with pytest.raises(UsageError, match="venv: not a virtual environment; name a new folder with --venv"):
        venv.sync("alpha==1.0")

    assert (venv.path / "thesis.tex").read_text() == "years of work"


def test_an_unwritable_cache_is_not_a_missing_python(
    index: Index, venv: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        UsageError, match=r"Python 3\.19 is not available: No .* path; install it: uv python i"
    ):
        environment.ensure(venv.path, "3.19")

    monkeypatch.setenv("UV_CACHE_DIR", "/proc/nothing")
    with pytest.raises(InfrastructureError, match="Failed to initialize cache at `/proc/nothing`"):
        environment.ensure(venv.path, "3.11")


def test_a_folder_that_cannot_be_written_is_a_fault_of_the_machine(index: Index, venv: Environment) -> None:
    with pytest.raises(InfrastructureError, match="cannot replace the environment /proc/nothing/venv"):
        environment.ensure(Path("/proc/nothing/venv"), "3.11")


@pytest.mark.parametrize("name", indexes.FAULTS)
def test_a_fault_of_the_index_is_never_the_locks(index: Index, venv: Environment, name: str) -> None:
    index.fault["/simple/alpha/"] = indexes.FAULTS[name]
    if name == "no answer":
        index.fault["/simple/"] = None
    venv.lock.write_text("alpha==1.0\n")

    with pytest.raises(InfrastructureError):
        uv.checked(uv.compile(["alpha==1.0"], [], ["--quiet"]), UnresolvableError)
    with pytest.raises(InfrastructureError):
        venv.sync()
    assert venv.neighbours == []


@pytest.mark.parametrize(
    "answer",
    [
        *(indexes.response(status) for status in (401, 403, 404, 500)),
        indexes.response(200, indexes.LOGIN, "text/html"),
        indexes.FAULTS["half an answer"],
        indexes.FAULTS["no answer"],
    ],
    ids=["401", "403", "404", "500", "login page", "half", "none"],
)
def test_a_failed_download_is_never_the_locks(index: Index, venv: Environment, answer: bytes | None) -> None:
    index.fault["/files/alpha-1.0-py3-none-any.whl"] = answer

    with pytest.raises(InfrastructureError):
        venv.sync("alpha==1.0")


def test_a_download_with_another_hash_is_never_the_locks(index: Index, venv: Environment) -> None:
    index.fault["/simple/alpha/"] = indexes.simple("alpha", {"sha256": "0" * 64})

    with pytest.raises(InfrastructureError, match="Hash mismatch"):
        venv.sync("alpha==1.0")


def test_a_wrong_index_url_is_not_a_missing_package(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", os.environ["UV_DEFAULT_INDEX"].replace("simple", "wrong"))

    with pytest.raises(
        InfrastructureError, match=r"wrong/ cannot list gamma: it answers with HTTP status 404"
    ):
        uv.checked(uv.compile(["gamma"], [], ["--quiet"]), UnresolvableError)


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("gamma", "gamma was not found in the package registry"),
        ("alpha==3", "there is no version of alpha==3"),
        ("needy", "missing was not found in the package registry"),
        ("future", "Python ?>=3.99"),
        ("windows", "no wheels with a matching"),
        ("source", "Failed to build `source==1.0`"),
    ],
)
def test_a_fault_of_the_packages_is_the_locks(
    index: Index, venv: Environment, requirement: str, message: str
) -> None:
    with pytest.raises(UnresolvableError, match=message):
        uv.checked(uv.compile([requirement], [], ["--quiet"]), UnresolvableError)
    if requirement not in ("needy", "future"):  # a sync does not read what a wheel needs
        with pytest.raises(UninstallableError, match=message):
            venv.sync(requirement)
        assert venv.neighbours == []


def test_a_build_that_fills_the_disk_is_not_the_locks(index: Index, venv: Environment) -> None:
    with pytest.raises(InfrastructureError, match="No space left on device"):
        venv.sync("hungry==1.0")


def test_uv_is_ended_at_its_time_limit(
    index: Index, venv: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.sync("alpha==1.0")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "600")
    monkeypatch.setattr(uv, "TIME_LIMIT", 2.0)
    index.fault["/simple/beta/"] = None

    start = time.monotonic()
    with pytest.raises(InfrastructureError, match="uv pip was ended at its time limit of 2 s"):
        venv.sync("beta==1.0")

    assert time.monotonic() - start < 15
    assert venv.packages == ["alpha==1.0"]


def test_a_lost_network_leaves_a_cell_runnable(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.add_cell()
    venv = Environment(tmp_path)
    sandbox.run("run", "toy", "--venv", str(venv.path))
    dead = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), DEAD) | {
        "UV_DEFAULT_INDEX": f"{DEAD}/simple",
        "UV_HTTP_RETRIES": "0",
    }
    before = venv.identity

    code, output = sandbox.run("run", "toy", "--venv", str(venv.path), "--rerun", **dead)
    assert (code, "toy: failed" in output) == (1, True), output  # it has no torch

    sandbox.add_cell(extra="six==1.17.0\n")
    code, output = sandbox.run("run", "toy", "--venv", str(venv.path), **dead, UV_NO_CACHE="1")
    assert (code, "Connection refused" in output) == (3, True), output
    assert venv.identity == before


def test_an_environment_is_not_replaced_while_a_run_uses_it(index: Index, venv: Environment) -> None:
    """As by a run into another results folder, whose cell has another lock."""
    venv.sync("alpha==1.0")
    venv.lock.write_text("alpha==2.0\n")
    with environment.locked(venv.path):
        other = subprocess.Popen([sys.executable, "-c", SYNC, str(venv.path), str(venv.lock), ""])
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(3)
        assert venv.packages == ["alpha==1.0"]

    assert other.wait(60) == 0
    assert venv.packages == ["alpha==2.0"]


def test_a_uv_that_is_killed_is_no_fault_of_the_lock_and_leaves_what_was_there(
    index: Index, venv: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.sync("alpha==1.0")
    before = venv.identity

    def answer(path: str) -> bytes | None:
        if path.endswith(".whl"):
            for pid in descendants(os.getpid()):
                if Path(f"/proc/{pid}/exe").readlink().name == "uv":
                    os.kill(pid, signal.SIGKILL)
        return indexes.toy_index(path)

    with indexes.serving(answer) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{url}/simple")
        with pytest.raises(InfrastructureError, match="uv ended with exit code -9"):
            venv.sync("beta==1.0")

    assert (venv.identity, venv.packages, venv.neighbours) == (before, ["alpha==1.0"], ["venv"])
