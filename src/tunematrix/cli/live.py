"""What people see while cells run: a line for each cell, drawn by whoever owns the terminal.

That is this process, with rich, if standard error is a terminal. Where nox runs sessions in parallel, it is
nox: its board shows the last line that each of them printed. Without a terminal, plain lines; in CI, none.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

from tunematrix.cli import plan
from tunematrix.run import activity, process
from tunematrix.run.activity import State
from tunematrix.shared.lines import one_line, split_lines

REDRAWN: Final = 1.0  # seconds
PRINTED: Final = 30.0  # seconds between two plain lines of a cell
LINE: Final = 79  # columns of what the board of nox gets at most


class View(Protocol):
    """Shows the states every ``seconds``; only one thread draws, any may say lines."""

    seconds: float

    def draw(self, states: Sequence[State]) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


class Lines:
    """Plain lines, for a log; ``path`` is the file whose lines the outer nox prints."""

    def __init__(self, path: str = "", *, quiet: bool = False, starts_and_ends: bool = False) -> None:
        self.seconds = PRINTED
        self._path, self._quiet, self._few = path, quiet, quiet or starts_and_ends

    def draw(self, states: Sequence[State]) -> None:
        lines = [] if self._few else [f"{state.name}: {describe(state)}\n" for state in states]
        if lines and self._path:
            with Path(self._path).open("a", encoding="utf-8") as stream:
                stream.write("".join(lines))
        elif lines:
            print(*lines, sep="", end="", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        if not self._quiet:
            print(*split_lines([text]), sep="\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is left behind."""


class Board(Lines):
    """The line of this session on the board of nox, which keeps all that it prints for the end.

    A carriage return ends the line, so that it is written over there. It is as wide as the one before.
    """

    def __init__(self, columns: int, stream: IO[str]) -> None:
        super().__init__()
        self.seconds = REDRAWN
        self._width, self._stream, self._text = min(columns - 1, LINE), stream, ""

    def draw(self, states: Sequence[State]) -> None:
        for state in states[:1]:  # a session runs one cell
            text = ", ".join(_words(state))  # without the time so far, which nox shows
            if text != self._text:
                self._write(text)
            self._text = text

    def close(self) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        self._stream.write(text[: self._width].ljust(self._width) + "\r")
        self._stream.flush()


class Terminal:
    """A line for each cell at the bottom of the terminal; what is said is printed above."""

    seconds = REDRAWN

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console  # rich is slow to import, and needs a terminal
        from rich.live import Live

        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        self._console.show_cursor()  # nothing would show it again after a kill

    def draw(self, states: Sequence[State]) -> None:
        from rich.console import Group
        from rich.text import Text

        lines, columns = [], self._console.width
        width = min(max((len(state.name) for state in states), default=0), columns // 2)
        for state in states:
            name = Text(one_line(state.name), style="bold")
            name.truncate(width, overflow="ellipsis", pad=True)
            line = Text.assemble(name, "  ", describe(state))
            line.truncate(columns, overflow="ellipsis")
            lines.append(line)
        self._live.update(Group(*lines), refresh=True)

    def say(self, text: str) -> None:
        self._console.print(*split_lines([text]), sep="\n", soft_wrap=True)

    def close(self) -> None:
        self._live.stop()


def describe(state: State) -> str:
    """The time left, the step, how many parts are done, the time so far: what matters most comes first."""
    minutes, seconds = divmod(int(state.elapsed), 60)
    return ", ".join([*_words(state), f"{minutes}:{seconds:02} so far"])


def _words(state: State) -> Iterator[str]:
    if state.left is not None:
        yield _left(state.left)
    yield one_line(state.step)
    if state.done and state.parts:
        yield f"{state.done} of {max(state.done, state.parts)} done"


def _left(seconds: float) -> str:
    if seconds < 0:
        return "longer than last time"
    tens = max(10, round(seconds / 10) * 10)
    return f"{tens} s left" if tens < 120 else f"{round(seconds / 60)} min left"


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Show what the cells do during the block; yields what prints a line of progress on standard error.

    A signal ends all cells. The view never harms a run: if it fails, it is gone.
    """
    view = _view(quiet=quiet)
    ended = threading.Event()

    def draw() -> None:
        with contextlib.suppress(Exception):
            while not ended.wait(view.seconds):
                view.draw(activity.states())

    thread = threading.Thread(target=draw, name="progress", daemon=True)
    thread.start()

    def say(text: str) -> None:
        with contextlib.suppress(Exception):
            view.say(text)

    try:
        with process.stopped_by_signals():
            yield say
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(Exception):
            view.close()


def _view(*, quiet: bool) -> View:
    stream, outer = sys.__stderr__, os.environ.get(plan.PROGRESS, "")
    if quiet or plan.in_ci():
        return Lines(quiet=quiet, starts_and_ends=True)
    if outer.isdecimal() and sys.__stdout__:
        return Board(int(outer), sys.__stdout__)
    if stream and stream.isatty() and os.environ.get("TERM") != "dumb":
        with contextlib.suppress(Exception):
            return Terminal(stream)
    return Lines(outer)
