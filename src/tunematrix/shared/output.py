"""What this process prints: without secrets, and without what controls a terminal or a CI service."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO, TextIO, cast

from tunematrix.shared.lines import clean, one_line, split_lines
from tunematrix.shared.secrets import LineMasker


class _CleanBuffer(io.BufferedIOBase):
    """The binary layer of a clean stream: passes clean lines on to the stream that it stands for."""

    mode = "wb"

    def __init__(self, stream: TextIO) -> None:
        self.name = getattr(stream, "name", "")
        self._stream = stream
        buffer: BinaryIO | None = getattr(stream, "buffer", None)
        encoding = stream.encoding or "utf-8"
        write = buffer.write if buffer else lambda data: stream.write(data.decode(encoding, "replace"))
        self._lines = LineMasker(write, encoding, clean)

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._lines.feed(bytes(data))
        return len(data)

    def flush(self) -> None:
        if not self._stream.closed:
            self._lines.flush()
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def clean_stream(stream: TextIO) -> TextIO:
    """A stream that prints on ``stream``; its ``buffer`` cleans too."""
    stream.flush()
    return io.TextIOWrapper(
        cast("BinaryIO", _CleanBuffer(stream)),
        encoding=stream.encoding or "utf-8",
        errors="backslashreplace",  # a character that the terminal does not have must not end the program
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=True,
    )


def clean_output() -> None:
    """Clean from now on all that this process prints; also the traceback of an error that nothing handles."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(getattr(stream, "buffer", None), _CleanBuffer):
            setattr(sys, name, clean_stream(stream))


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print each of ``lines`` on one line of standard output, or of standard error."""
    for line in lines:
        print(one_line(line), file=sys.stderr if err else sys.stdout)


def print_error(text: str) -> None:
    """Print ``text`` on standard error, in which only line ends are more than characters."""
    print(*split_lines([text.rstrip("\n")]), sep="\n", file=sys.stderr)
