"""A toy cell that runs the scripts of a team, and a check that nothing is left of a run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tool.conftest import Sandbox

# What the Hub's client needs: the download of the model is real, and there is no stack.
CLIENT = """\
huggingface-hub==0.36.2
certifi==2026.10.18
charset-normalizer==3.5.2
filelock==4.2.11
fsspec==2026.6.0
idna==3.20
requests==2.34.2
tqdm==4.70.1
typing-extensions==4.16.0
urllib3==2.8.0
"""
UNFINISHED = ("*tunematrix-*", "running.json")  # files and folders that exist only while a run goes on


class Team(Sandbox):
    """A sandbox with one stage, ``work``: a script that is started as a process of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.variables["TMPDIR"] = str(self.temporary)
        self.add_cell(extra=CLIENT)

    def set_script(self, source: str) -> None:
        """Make ``source`` the script of the stage ``work``."""
        self.set_scripts(work=source)

    def set_scripts(self, seconds: float = 60, **sources: str) -> None:
        """Make each of ``sources`` the script of a stage, a process of its own that needs no other stage.

        ``HERE`` in a script is the folder of the test.
        """
        stages = []
        for name, source in sources.items():
            (self.workload / f"{name}.py").write_text(f"HERE = {str(self.folder)!r}\n{source}\n")
            run = f"AS_PROCESS=1 python {name}.py"
            stages.append(f'[[stage]]\nname = "{name}"\nrun = "{run}"\nafter = []\nseconds = {seconds}\n')
        (self.workload / "workload.toml").write_text("".join(stages))

    @property
    def outcomes(self) -> dict[str, str]:
        """By stage, its outcome in the record that the last run wrote, and the type of its error."""
        interrupted = self.results / "tiny-gpt2/toy/interrupted.json"
        record = self.interrupted() if interrupted.exists() else self.record()
        return {
            part["name"]: " ".join(filter(None, (part["outcome"], part.get("error", {}).get("type"))))
            for part in record["stages"]
        }

    def wait_for(self, name: str) -> Path:
        """Wait until a script has made the file ``name`` in the folder of the test."""
        for _ in range(1000):
            if (self.folder / name).exists():
                return self.folder / name
            time.sleep(0.1)
        raise AssertionError(f"{name} was not made")

    @property
    def leftovers(self) -> list[str]:
        """Processes that name the folder of this test, temporary files, and files half written.

        A port belongs to a process, so none of these is open either.
        """
        written = (
            path for name in UNFINISHED for path in self.results.rglob(name) if "run" not in path.parts
        )
        return [*_processes(self.folder), *map(str, self.temporary.iterdir()), *map(str, written)]


def _processes(folder: Path) -> Iterator[str]:
    """The other running processes whose environment, folder or command line names ``folder``."""
    needle = os.fsencode(folder)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            texts = (command, (process / "environ").read_bytes(), os.fsencode((process / "cwd").readlink()))
        except OSError:  # it has ended, or is a zombie
            continue
        if int(process.name) != os.getpid() and any(needle in text for text in texts):
            yield f"{process.name}: {command!r:.200}"


@contextmanager
def nothing_left(team: Team) -> Iterator[None]:
    """Check that the block leaves no process, port or temporary file behind."""
    yield
    for _ in range(50):  # what was killed may need a moment
        if not team.leftovers:
            return
        time.sleep(0.1)
    raise AssertionError(f"left behind: {team.leftovers}")
