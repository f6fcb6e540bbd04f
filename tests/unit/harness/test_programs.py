"""A program that runs in a child behaves as one that Python was started with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunematrix.harness import programs
from tunematrix.harness.isolate import CAN_FORK, run_isolated

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="needs fork; other platforms start a process")

FACTS = """
import os, sys, multiprocessing
main, spec = sys.modules["__main__"], getattr(__spec__, "name", None)
print([__file__, __name__, __package__, spec, sys.argv, main.__dict__ is globals()])
print(multiprocessing.current_process().name, multiprocessing.parent_process(), __doc__)
"""


def run(folder: Path, program: str, *arguments: str) -> tuple[str, str]:
    """The outcome and the output of a program."""
    log = folder.parent / "log"

    def work(_: object) -> None:
        os.chdir(folder)
        with log.open("wb") as stream:
            programs.run_here((program, list(arguments)), stream.fileno())

    result = run_isolated(work, 60, retry=False)
    return result.outcome + str((result.error or {}).get("message", "")), log.read_text()


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    (folder / "package").mkdir(parents=True)
    for path in (folder / "facts.py", folder / "package/facts.py", folder / "package/__main__.py"):
        path.write_text(FACTS)
    return folder


@pytest.mark.parametrize("words", [["facts.py", "x"], ["-m", "package.facts", "x"], ["-m", "package"]])
def test_the_module_main_is_that_of_a_real_start(words: list[str], folder: Path) -> None:
    real = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=True)
    program, *arguments = [" ".join(words[:2]), *words[2:]] if words[0] == "-m" else words
    assert run(folder, program, *arguments) == ("passed", real.stdout)


def test_processes_of_a_script_find_its_functions(folder: Path) -> None:
    (folder / "pool.py").write_text(
        "import multiprocessing, helper\n"
        "def double(x): return 2 * x\n"
        "if __name__ == '__main__':\n"
        "  with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.map(double, [3]))\n"
    )
    (folder / "helper.py").touch()
    assert run(folder, "pool.py") == ("passed", "[6]\n")


def test_a_program_ends_with_its_threads_and_its_exit_handlers(folder: Path) -> None:
    (folder / "late.py").write_text(
        "import atexit, concurrent.futures, threading\n"
        "go = threading.Event()\n"
        "def late(): go.wait(); print('thread', double(2))\n"
        "def double(x): return 2 * x\n"
        "atexit.register(lambda: print('exit handler'))\n"
        "threading.Thread(target=late).start()\n"
        "print('main')\n"
        "concurrent.futures.ThreadPoolExecutor().submit(go.set)\n"
        "raise SystemExit(0)\n"
    )
    _, output = run(folder, "late.py")
    assert output == "main\nthread 4\nexit handler\n"


def test_the_exit_handlers_of_the_parent_are_not_run(folder: Path) -> None:
    (folder / "empty.py").touch()
    code = (
        "import atexit, sys; sys.path.insert(0, 'src')\n"
        "from pathlib import Path\n"
        "from tests.unit.harness.test_programs import run\n"
        "atexit.register(lambda: print('parent', flush=True))\n"
        f"print(run(Path({str(folder)!r}), 'empty.py'), flush=True)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "('passed', '')\nparent\n"


def test_variables_before_a_command_are_taken_off() -> None:
    words = ["A=1", "B_2=x=y", "python", "t.py", "C=3"]
    assert programs.split_assignments(words) == ({"A": "1", "B_2": "x=y"}, ["python", "t.py", "C=3"])
    assert programs.split_assignments(["--a=1", "A=1"]) == ({}, ["--a=1", "A=1"])
    assert programs.split_assignments(["A=1"]) == ({"A": "1"}, [])


def test_the_tail_of_a_log_is_short_also_of_long_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"{number}{'x' * 1_000_000}\n" for number in range(3)) + "end\n")
    lines = programs.tail(log).splitlines()
    assert lines[-1] == "end"
    assert max(map(len, lines)) == programs.LINE + 3
