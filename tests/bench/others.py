"""``nox -s benchmarks``: this project, tox with pip, and tox-uv, on the same locks and the same calls.

``python tests/bench/others.py [COUNT]`` runs COUNT cells of the diagonal, the newest first, with the tiny
GPT-2: here without fingerprint, there as a tox environment each that installs the cell's lock and runs
``bare.py``, which makes the same calls. First in new environments, then again in those. All downloads are in
the caches of pip and uv before. Writes ``docs/benchmarks.md``.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunematrix.base.files import write_atomic
from tunematrix.locks import table
from tunematrix.locks.table import Cell, Matrix
from tunematrix.run import environment, models

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
PAGE: Final = ROOT / "docs" / "benchmarks.md"
MODEL: Final = "tiny-gpt2"
TAGS: Final = ("diagonal", "baseline")
TOX: Final = {"tox": ["tox"], "tox-uv": ["tox", "tox-uv"]}
PARALLEL: Final = str(len(os.sched_getaffinity(0)))
MIN_TO_TOX: Final = 5.0  # times as fast as tox with pip in new environments


@dataclass(frozen=True, slots=True)
class Contender:
    """A tool and how it runs all cells; ``folder`` has its environments, ``before`` fills its caches."""

    name: str
    command: list[str]
    variables: Mapping[str, str]
    folder: Path
    before: Sequence[list[str]]

    def fill_caches(self) -> None:
        for command in self.before:
            subprocess.run(command, cwd=ROOT, env={**self.variables}, capture_output=True, check=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self) -> float:
        """The seconds that all cells take. Exits with the output if the tool could not run them."""
        start = time.perf_counter()
        done = subprocess.run(
            self.command, cwd=ROOT, env={**self.variables}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(self.command)} failed:\n{done.stdout[-5000:]}{done.stderr[-5000:]}")
        return time.perf_counter() - start


def tox_file(folder: Path, matrix: Matrix, cells: list[Cell], repo: str) -> Path:
    """A ``tox.ini`` with an environment for each cell; a call that fails is a result, as it is here."""
    names = {cell.name: f"cell{number}" for number, cell in enumerate(cells)}
    sections = [f"[tox]\nno_package = true\nenv_list = {','.join(names.values())}\n"]
    for cell in cells:
        output = folder / f"{names[cell.name]}-out"
        sections.append(
            f"[testenv:{names[cell.name]}]\nbase_python = python{cell.python}\npass_env = *\n"
            f"set_env = HF_HOME={output}-hf\n"
            f"deps = -r {matrix.lock_path(cell)}\n"
            "commands_pre = python -c 'import shutil, sys; "
            f"shutil.rmtree(sys.argv[1], ignore_errors=True)' {output}\n"
            f"commands = - python {HERE / 'bare.py'} {repo} {output}\n"
        )
    path = folder / "tox.ini"
    path.write_text("\n".join(sections))
    return path


def contenders(work: Path, matrix: Matrix, cells: list[Cell], hub: Mapping[str, str]) -> Iterator[Contender]:
    sessions = [f"e2e({cell.name})" for cell in cells]
    envs = work / "nox"
    nox = [sys.executable, "-m", "nox", "--envdir", str(envs), "--parallel", PARALLEL]
    own = [*nox, "-s", *sessions, "--", "--model", MODEL, "-k", "not fingerprint", "--rerun"]
    variables = {**os.environ, "TUNEMATRIX_RESULTS": str(work / "results"), "CI": "true"}
    yield Contender("tunematrix", own, variables, envs, [own])
    for name, requirements in TOX.items():
        folder = work / name
        folder.mkdir()
        tool = folder / "tool"
        subprocess.run(["uv", "venv", "-q", "--seed", str(tool)], check=True)
        python = environment.interpreter(tool)
        subprocess.run(["uv", "pip", "install", "-q", "--python", python, *requirements], check=True)
        variables = environment.variables(tool, folder, {**hub}, real_hub=False)
        del variables["HOME"], variables["VIRTUAL_ENV"]
        ini = tox_file(folder, matrix, cells, f"tunematrix/{MODEL}")
        environments = folder / "environments"
        command = [str(tool / "bin" / "tox"), "-c", str(ini), "--workdir", str(environments)]
        locks = [str(matrix.lock_path(cell)) for cell in cells]
        download = [str(python), "-m", "pip", "download", "-q", "-d", str(folder / "files"), "-r"]
        before = [[*download, lock] for lock in locks] if name == "tox" else []
        command += ["run-parallel", "-p", PARALLEL]
        yield Contender(name, command, {**os.environ, **variables}, environments, before)


PAGE_TEXT: Final = """\
# Benchmarks

`nox -s benchmarks` wrote this page, on {cores} cores ({machine}, Python {python}). Each tool runs the same
calls, from download to reload, on the same {count} locks with the tiny GPT-2, {cores} cells side by side:
{cells}.

A new environment is one that does not exist yet, while all downloads are in the caches of pip and uv, and the
byte code of this project is in its own. The ratios are to this project, larger is slower. The measures of
training, the fingerprint, are left out, because the other tools have none.

| | new environments | ratio | existing ones | ratio |
|---|---:|---:|---:|---:|
{rows}

In existing environments this project is slower than tox, because it runs every stage in a process of its own,
so that a crash or a leak of one cannot reach the next, and writes records and a summary.

`nox -s bench` compares one cell with a bare script, and shows where the time goes.
"""


def page(cells: list[Cell], times: Mapping[str, tuple[float, float]]) -> str:
    own = times["tunematrix"]
    rows = (
        f"| {name} | {fresh:.0f} s | {fresh / own[0]:.1f} | {warm:.0f} s | {warm / own[1]:.1f} |"
        for name, (fresh, warm) in times.items()
    )
    return PAGE_TEXT.format(
        cores=PARALLEL,
        machine=platform.machine(),
        python=platform.python_version(),
        count=len(cells),
        cells=", ".join(cell.name for cell in cells),
        rows="\n".join(rows),
    )


def main(count: int) -> int:
    matrix = table.load(ROOT / "constraints")
    cells = [cell for cell in matrix.cells if {*TAGS} & {*cell.tags}][-count:]
    times = {}
    with tempfile.TemporaryDirectory() as scratch, models.hub_for(models.choose(MODEL), "bench") as hub:
        for each in contenders(Path(scratch), matrix, cells, hub.variables):
            each.fill_caches()
            fresh, warm = each.run(), each.run()
            times[each.name] = (fresh, warm)
            print(
                f"{each.name}: {fresh:.0f} s in new environments, {warm:.0f} s in existing ones", flush=True
            )
            shutil.rmtree(each.folder)
    write_atomic(PAGE, page(cells, times))
    own, tox, uv = times["tunematrix"], times["tox"], times["tox-uv"]
    slower = own[0] > uv[0] or own[1] > uv[1] or tox[0] < MIN_TO_TOX * own[0]
    if slower:
        print(f"expected: {MIN_TO_TOX:g} times as fast as tox with pip in new environments,")
        print("and no slower than tox-uv")
    return slower


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
