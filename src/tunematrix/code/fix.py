"""Makes the mechanical edits in people's files, which keep their encoding, their mode and their links."""

from __future__ import annotations

import difflib
import io
import os
import shutil
import tempfile
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tunematrix.code.edits import Edit, changed

NOT_EDITED: Final = "not edited, make the edit by hand: "  # in place of a diff, with the reason
NO_PLACE: Final = "no single call or import there can be changed"
FAILURES: Final = (SyntaxError, ValueError, RecursionError, MemoryError, OSError)


def apply(folder: Path, edits: Sequence[Edit]) -> Iterator[tuple[str, str]]:
    """Make ``edits`` in the files of ``folder``; yields each changed file and its unified diff.

    A file in which they cannot be made is left as it is, and says so in place of its diff; so does each
    place, as ``FILE:LINE``, that is for a person.
    """
    done: set[tuple[Path, int, int, str]] = set()
    for name in sorted({edit.file for edit in edits}):
        path = (folder / name).resolve()
        # A file and a link to it are edited once.
        own = [edit for edit in edits if edit.file == name and (path, *_place(edit)) not in done]
        done |= {(path, *_place(edit)) for edit in own}
        if not path.is_relative_to(folder.resolve()):
            yield name, f"{NOT_EDITED}a link to {path}"
            continue
        try:
            diff, left = _apply(path, name, [edit for edit in own if not edit.doubt])
        except FAILURES as error:
            yield name, f"{NOT_EDITED}{type(error).__name__}"
            continue
        if diff:
            yield name, diff
        doubtful = [edit for edit in own if edit.doubt]
        for edit in sorted({*left, *doubtful}, key=_place):
            yield f"{name}:{edit.line}", f"{NOT_EDITED}{edit.old}: {edit.doubt or NO_PLACE}"


def is_made(diff: str) -> bool:
    """Whether what ``apply`` says of a file is a diff, and not why there is none."""
    return not diff.startswith(NOT_EDITED)


def _place(edit: Edit) -> tuple[int, int, str]:
    return edit.line, edit.column, edit.old


def _apply(path: Path, name: str, edits: Sequence[Edit]) -> tuple[str, list[Edit]]:
    """The diff of one file, empty if nothing changed, and the edits that could not be made."""
    content = path.read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    text = content.decode(encoding)
    new, left = changed(text, edits)
    if new == text:
        return "", left
    _replace(path, new.encode(encoding))
    before, after = (each.replace("\r\n", "\n").split("\n") for each in (text, new))
    return "\n".join(difflib.unified_diff(before, after, name, name, lineterm="", n=0)), left


def _replace(path: Path, content: bytes) -> None:
    """Replace a person's file, byte for byte and with its mode; if the disk is full, the old one stays."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copymode(path, temporary)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
