"""What a pull request changes of the pins: which file is compared, and whether the stack moves."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from tunematrix.base.errors import TunematrixError, UsageError
from tunematrix.locks import discover, lock, moves, package_files, uv
from tunematrix.locks.package_files import PROJECT, PackageFile
from tunematrix.locks.table import CORE
from tunematrix.shared.lines import one_line

# What counts as pins, the first that changed and names the stack is compared.
PINS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"uv\.lock",
        r"pylock(\.[^/]+)?\.toml",
        r"poetry\.lock",
        r"requirements[^/]*\.(txt|in)",
        r"(requirements|constraints)/[^/]+\.(txt|in)",
        r"constraints[^/]*\.txt",
        r"pyproject\.toml",
    )
)
NAMED: Final = 5  # packages in one sentence


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The file to compare, as it is at the base (``before``) and at the head (``after``).

    ``nothing`` is why there is nothing to run; it is empty if a package of the stack may move. ``untestable``
    is why what moves cannot be run: it is no release, such as an install from git. ``others`` are
    files of pins that changed too.
    """

    before: Path | None = None
    after: Path | None = None
    others: tuple[str, ...] = ()
    nothing: str = ""
    untestable: str = ""


def git(*arguments: str) -> str:
    """The output of git; raises ``UsageError`` with its message."""
    variables = {**os.environ, "GIT_LFS_SKIP_SMUDGE": "1"}  # pins are no large files
    completed = subprocess.run(["git", *arguments], env=variables, capture_output=True, check=False)
    if completed.returncode:
        message = one_line(completed.stderr.decode(errors="replace").strip())
        raise UsageError(f"git {arguments[0]}: {message[:300]}")
    return os.fsdecode(completed.stdout)


def merge_base(base: str | None) -> str:
    """The commit where the head left the branch ``base``, by default the one of the pull request.

    Raises ``UsageError`` outside of the top folder of a repository, and if there is no such commit.
    """
    if folder := git("rev-parse", "--show-prefix").strip():
        raise UsageError(f"in {folder}: run this at the top of the repository; --workload names a folder")
    if base is None:
        branch = os.environ.get("GITHUB_BASE_REF")
        if not branch:
            raise UsageError(
                "GITHUB_BASE_REF is not set, as outside of a pull request; name the base: --base main"
            )
        base = f"origin/{branch}"
    try:
        return git("merge-base", "--end-of-options", base, "HEAD").strip()
    except UsageError as error:
        raise UsageError(f"{error}; the checkout needs the whole history: with: {{fetch-depth: 0}}") from None


@contextlib.contextmanager
def work_tree(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit: those of pins may include any others."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "base"
        git("worktree", "add", "--quiet", "--detach", str(folder), commit)
        try:
            yield folder
        finally:
            git("worktree", "remove", "--force", str(folder))


def changed_files(base: str) -> set[str]:
    """The files that differ between the commit ``base`` and the head, also those that are gone."""
    return {
        name
        for name in git("diff", "--name-only", "--no-renames", "-z", base, "HEAD", "--").split("\0")
        if name
    }


def choose(
    base: Path, changed: set[str], python: str, *, file: str | None = None, own_scripts: bool = False
) -> Choice:
    """Which file to compare: ``base`` is a work tree of the base, the current folder one of the head.

    ``file`` is the only one to look at. ``own_scripts`` if the work is the team's own, which may
    import what the stack does not require. Raises ``UsageError`` for a ``file`` that is not there.
    """
    names = [file] if file else sorted(_listed(changed), key=_order)
    if file and not Path(file).is_file():
        raise UsageError(f"--file {file}: no such file at the head")
    found = [name for name in names if _changed(name, changed, python)]
    touched = sorted({name for name in changed if _rank(name) is not None} | {*found})
    if not touched:
        return Choice(nothing="no file of pins changed")
    choices = []
    for name in found:
        if before := _before(base, name, python):
            others = tuple(other for other in touched if other != name)
            old, new = _read(before, python), _read(Path(name), python)
            moved = moves.moved(old, new)
            nothing = _nothing(name, moved, python, own_scripts=own_scripts)
            choice = Choice(before=before, after=Path(name), others=others, nothing=nothing)
            untestable = _untestable(old, new)
            choices.append(replace(choice, untestable=untestable))
    none = Choice(others=tuple(touched), nothing=f"what changed pins nothing of the stack: {_some(touched)}")
    return next((choice for choice in choices if not choice.nothing), [*choices, none][0])


def _listed(changed: set[str]) -> set[str]:
    """All files of pins at the head: one that did not change may include one that did."""
    tracked = (name for name in git("ls-files", "-z").split("\0") if name)
    return {name for name in {*tracked, *changed} if _rank(name) is not None and Path(name).is_file()}


def _rank(name: str) -> int | None:
    """The place of the file in the order of ``PINS``; None for a file that pins nothing."""
    path = PurePosixPath(name)
    tails = (path.name, "/".join(path.parts[-2:]))
    return next(
        (place for place, each in enumerate(PINS) if any(each.fullmatch(tail) for tail in tails)), None
    )


def _order(name: str) -> tuple[int, int, str]:
    """Near the top first, and of one folder in the order of ``PINS``."""
    return name.count("/"), _rank(name) or 0, name


def _changed(name: str, changed: set[str], python: str) -> bool:
    """Whether a file, or one that it includes, changed, and it names the stack."""
    try:
        listed = _read(Path(name), python)
    except UsageError:
        return name in changed and Path(name).name != PROJECT  # it is the answer that it cannot be read
    files = {os.path.normpath(path) for path in listed.files}
    return bool(files & changed) and bool(moves.entries(listed).keys() & {*CORE})


def _read(path: Path, python: str) -> PackageFile:
    return package_files.read(path, python)


def _before(base: Path, name: str, python: str) -> Path | None:
    """The file at the base; where the head adds it, what pinned the stack there."""
    if (base / name).is_file():
        return base / name
    try:
        return discover.find(base, base / ".tunematrix", python)[0]
    except UsageError:
        return None


def _nothing(name: str, moved: Mapping[str, tuple[str, str]], python: str, *, own_scripts: bool) -> str:
    """Why nothing has to run, in a sentence; empty if something has to."""
    if not moved:
        return f"nothing moves: {name} lists what it listed"
    if moved.keys() & {*moves.STACK}:
        return ""
    if own_scripts:
        relevant = {each for each in moved if not moves.DEVELOPMENT.fullmatch(each)}
    else:
        required = _required(Path(name), python)
        relevant = (
            {*moved}
            if required is None
            else {each for each in moved if each in required or moves.COMPANIONS.fullmatch(each)}
        )
    if relevant:
        return ""
    told = _some([*moves.lines(moved)])
    what = "tools that no script imports" if own_scripts else "neither of the stack nor required by it"
    return f"{told}: {what}"


def _untestable(old: PackageFile, new: PackageFile) -> str:
    """Which packages of the stack move from or to what is no release; a run could only leave them out."""
    moved = moves.unreleased(old, new)
    found = {name: pair for name, pair in moved.items() if moves.matters(name, own_scripts=False)}
    if not found:
        return ""
    told = _some([*moves.lines(found)])
    return f"not releases on an index, so they cannot be installed here: {told}; pin releases"


def _required(path: Path, python: str) -> set[str] | None:
    """All packages that the stack in a file requires; None if that cannot be resolved."""
    pins = _read(path, python).pins
    roots = [f"{name}=={pins[name]}" for name in moves.STACK if name in pins and name != "torch"]
    torch = f"=={lock.public_version(pins['torch'])}" if "torch" in pins else ""
    style = ["--no-annotate", "--python-version", python]
    try:
        text = uv.compile_over(pins, [*roots, f"torch{torch}"], style, uv.torch_options(torch, python))
    except TunematrixError:
        return None
    return {*lock.versions(text)}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
