"""Programs of a team: which Python runs, and how they run as ``__main__``."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import multiprocessing.process
import multiprocessing.util
import os
import pkgutil
import re
import runpy
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any, Final

TAIL: Final = 30  # lines of output
LINE: Final = 2_000  # characters of each
READ: Final = 1_000_000  # bytes at the end of a log
ROOTS: Final = "TUNEMATRIX_ROOTS"  # the folders of the team's own modules
# A traceback as Python prints it: its frames, the type of the error, and its message.
TRACEBACK: Final = re.compile(
    r"^Traceback \(most recent call last\):\n((?:[ \t]+.*\n|\n)+)([A-Za-z_][\w.]*)(?:: (.*))?$", re.MULTILINE
)
LAUNCHER: Final = ("CalledProcessError", "ChildFailedError")  # what subprocess and torchrun raise
FRAME: Final = re.compile(r'^[ \t]+File "([^"]+)", line (\d+)', re.MULTILINE)
RANK: Final = re.compile(r"^\[(?:rank|default)\d+\]:[ ]?", re.MULTILINE)  # torchrun's
ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def split_assignments(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The variables that stand before a command, as a shell reads it, and the command."""
    variables: dict[str, str] = {}
    for index, word in enumerate(words):
        found = ASSIGNMENT.fullmatch(word)
        if not found:
            return variables, list(words[index:])
        variables[found[1]] = found[2]
    return variables, []


def own_command(words: Sequence[str], commands: Mapping[str, Sequence[str]]) -> list[str]:
    """A command that an installation of the repository would make, as Python calls it; else the words."""
    if words[0] not in commands:
        return list(words)
    module, function = commands[words[0]]
    start = f"import sys; sys.argv[0] = {words[0]!r}; from {module} import {function}"
    return [sys.executable, "-c", f"{start}; sys.exit({function}())", *words[1:]]


def python_program(words: Sequence[str], folder: Path) -> tuple[str, list[str]] | None:
    """``("train.py", arguments)`` or ``("-m MODULE", arguments)`` if Python runs it; else None."""
    first, rest = words[0], list(words[1:])
    if Path(first).name in ("python", "python3", Path(sys.executable).name):
        if rest[:1] == ["-m"] and len(rest) > 1:
            return f"-m {rest[1]}", rest[2:]
        return (rest[0], rest[1:]) if rest and not rest[0].startswith("-") else None
    script = Path(sys.executable).parent / first
    # Under a long path, an installed program starts with a line for sh, and Python stands in the second.
    if "/" not in first and script.is_file() and b"python" in script.read_bytes()[:1000]:
        return str(script), rest
    return (first, rest) if first.endswith(".py") and (folder / first).is_file() else None


def run_here(program: tuple[str, list[str]], output: int) -> None:
    """Run a program as ``__main__`` to its end, with what it prints in the file ``output``.

    Python ends a program with its threads and exit handlers, so they belong to it. The process is a child
    that ends afterwards, and whose inherited handlers are its parent's.
    """
    name, arguments = program
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    # What runs the tests may have put something of its own in their place.
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115  # open until the child ends
    _look_like_the_first_process()
    atexit._clear()  # noqa: SLF001  # of this process alone
    for handler in (logging.shutdown, multiprocessing.util._exit_function):  # type: ignore[attr-defined]  # noqa: SLF001  # as a new Python registers them
        atexit.register(handler)
    try:
        if name.startswith("-m "):
            _run_module(name[3:], arguments)
        else:
            _run_file(name, arguments)
    finally:
        # What multiprocessing calls at the end of a child: pools of threads end, other threads are joined.
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001  # as the interpreter ends
        atexit._run_exitfuncs()  # noqa: SLF001  # likewise
        sys.stdout.flush()
        sys.stderr.flush()


def _look_like_the_first_process() -> None:
    """Let ``multiprocessing`` start further processes from here as from a Python that was just started."""
    multiprocessing.current_process().name = "MainProcess"
    vars(multiprocessing.process).update(_parent_process=None, ORIGINAL_DIR=str(Path.cwd()))


def _run_file(name: str, arguments: Sequence[str]) -> None:
    path = Path(name).absolute()
    sys.argv = [name, *arguments]
    if pkgutil.get_importer(str(path)) is not None:  # a folder or a zip file with a program
        runpy.run_path(name, run_name="__main__")
        return
    sys.path.insert(0, str(path.resolve().parent))
    code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    _run_as_main(code, __file__=str(path), __loader__=SourceFileLoader("__main__", str(path)))


def _run_module(name: str, arguments: Sequence[str]) -> None:
    sys.argv = ["-m", *arguments]
    sys.path.insert(0, str(Path.cwd()))
    spec: ModuleSpec
    _, spec, code = runpy._get_module_details(name)  # type: ignore[attr-defined]  # noqa: SLF001  # what ``python -m`` calls
    sys.argv[0] = str(spec.origin)
    _run_as_main(code, __file__=spec.origin, __loader__=spec.loader, __spec__=spec, __package__=spec.parent)


def _run_as_main(code: types.CodeType, **names: Any) -> None:
    """Execute ``code`` as the module ``__main__``, which stays: threads and pickled functions look there."""
    module = types.ModuleType("__main__")
    vars(module).update(__builtins__=__builtins__, __cached__=None, __annotations__={}, **names)
    sys.modules["__main__"] = module
    exec(code, vars(module))  # noqa: S102  # the team's own code


def tail(log: Path) -> str:
    """The last lines of a log, each cut to what people read."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - READ))
        text = stream.read().decode("utf-8", errors="replace")
    lines = (line if len(line) <= LINE else f"{line[:LINE]}..." for line in text.splitlines()[-TAIL:])
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Raised:
    """The error that a Python process printed; ``where`` is FILE:LINE in the team's code, or empty."""

    type: str
    message: str
    where: str


def error_in(text: str, folder: Path) -> Raised | None:
    """The last error in an output that passed through the code in ``folder``, else the last of all.

    A launcher prints an error of its own behind that of the script, which hides it.
    """
    found: list[Raised] = []
    for match in TRACEBACK.finditer(RANK.sub("", text)):
        frames = [(Path(folder / file), line) for file, line in FRAME.findall(match[1])]
        ours = [(path, line) for path, line in frames if path.is_relative_to(folder) and path.is_file()]
        where = f"{ours[-1][0].relative_to(folder)}:{ours[-1][1]}" if ours else ""
        found.append(Raised(match[2].rpartition(".")[2], match[3] or "no message", where))
    own = [each for each in found if each.type not in LAUNCHER]
    for errors in (own, found):
        if errors:
            return next((each for each in reversed(errors) if each.where), errors[-1])
    return None


class ScriptError(Exception):
    """A script ended with an exit code other than 0, or without what its stage names.

    ``raised`` is the error that its process printed.
    """

    def __init__(self, message: str, raised: Raised | None = None) -> None:
        super().__init__(message)
        self.raised = raised


def ended_with(code: int, log: Path, folder: Path) -> ScriptError:
    output = tail(log)
    raised = error_in(output, folder)
    return ScriptError(exit_message(code, output) if raised is None else raised.message, raised)


def exit_message(code: object, output: str) -> str:
    """The exit code and the last line of the output, which mostly says why, then the output.

    ``code`` may be a text, which ``sys.exit`` prints.
    """
    lines = [str(code)] if isinstance(code, str) else [line for line in output.splitlines() if line.strip()]
    number = 1 if isinstance(code, str) else code
    return f"exit code {number}{f': {lines[-1].strip()}' if lines else ''}\n{output}"
