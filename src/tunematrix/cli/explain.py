"""``explain`` and ``check``: what is known of environments, without running anything."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
from packaging.utils import canonicalize_name
from packaging.version import Version

from tunematrix.base.errors import UsageError
from tunematrix.base.versions import exact_version, parse_requirement, parse_version
from tunematrix.cli.questions import JSON
from tunematrix.locks import lock, moves, package_files, rungs, table
from tunematrix.locks.package_files import PackageFile
from tunematrix.report import expected
from tunematrix.report import prediction as screens
from tunematrix.shared import reading
from tunematrix.shared.output import print_lines
from tunematrix.shared.suggest import did_you_mean
from tunematrix.verdict import ledger, prediction, releases, standing
from tunematrix.verdict.releases import Rung


@click.command("explain")
@click.argument("before", metavar="A")
@click.argument("after", nargs=-1, required=True, metavar="B|REQUEST...")
@click.option("--all", "show_all", is_flag=True, help="Print every finding and what to do about it.")
@JSON
def explain_command(before: str, after: tuple[str, ...], *, show_all: bool, as_json: bool) -> int:
    """Tell what is known to change from A to B, without running anything.

    A and B are cells, or files such as requirements.txt, a freeze, uv.lock or pylock.toml. In place of B,
    requests such as trl==1.16.0 change A; of trl>=1.0, or trl alone, it is the newest release that the ladder
    has. What the resolver would move with them does not count.
    """
    old, known = _packages(before), releases.load()
    asks = _is_request(after[0], old)
    if asks:
        new = {**old, **_requested(after, before, old, known)}
    elif len(after) == 1 and reading.is_file(before) and reading.is_file(after[0]):
        old, new = _beside(_listed(before), _listed(after[0]))
    else:
        new = _packages(*after)
    result = prediction.predict(old, new, known)
    if as_json:
        click.echo(json.dumps(screens.explain_json(result), indent=1, ensure_ascii=False))
    else:
        words = shlex.join([*([] if asks else ["--against"]), *after, "--baseline", before])
        names = before, ", ".join(after)
        print_lines(expected.explain_lines(names, result, upgrade=words, everything=show_all))
    return 0


def diff_files(before: str, after: str, *, style: str, everything: bool) -> None:
    """Print what moves between two files that list packages, and what is known to change with that.

    ``style`` is ``text``, ``json`` or ``markdown``. Raises ``UsageError``.
    """
    old, new = _listed(before), _listed(after)
    result = prediction.predict(*_beside(old, new), releases.load())
    moved = moves.unreleased(old, new)
    left_out = {
        name: [each for each in listed.unpinned if moves.name_of(each) not in moved]
        for name, listed in ((before, old), (after, new))
    }
    if style == "json":
        content = screens.explain_json(result) | {"not_compared": left_out}
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    words = shlex.join(["--baseline", before, "--against", after])
    lines = expected.diff_lines((before, after), result, left_out, upgrade=words, everything=everything)
    if style == "markdown":
        click.echo(expected.diff_markdown(lines), nl=False)
    else:
        print_lines(lines)


def _beside(old: PackageFile, new: PackageFile) -> tuple[dict[str, str], dict[str, str]]:
    """What two files pin; of what moves and is no release, where it comes from in place of a version."""
    moved = moves.unreleased(old, new)
    before, after = (
        {name: pair[side] for name, pair in moved.items() if pair[side] != moves.NONE} for side in (0, 1)
    )
    return old.pins_beside(new) | before, new.pins_beside(old) | after


@click.command("check")
@click.argument("name", metavar="CELL|FILE", required=False)
@click.option("--installed", is_flag=True, help="Check the environment that tunematrix is installed in.")
@click.option("--format", "style", type=click.Choice(["text", "json", "github"]), default="text")
@click.option("--json", "style", flag_value="json", help="The same as --format json.")
def check_command(name: str | None, *, installed: bool, style: str) -> int:
    """Tell what is known to be broken or silently wrong in an environment, without running anything.

    The environment is a cell, or a file such as requirements.txt, a freeze, uv.lock or pylock.toml. What is
    known are the ledger of known issues and the releases of the ladder. Exits 1 if there is anything.
    """
    if bool(name) == installed:
        raise UsageError("name a cell or a file, or pass --installed")
    packages = _installed() if name is None else _packages(name)
    label = name or "this environment"
    # A team may train without peft or trl, but all of them have transformers.
    loose = _listed(name).loose if name and reading.is_file(name) else ()
    if unknown := [each for each in table.CORE if each in loose or each not in (*packages, "peft", "trl")]:
        raise UsageError(
            f"{label}: no exact version of {', '.join(unknown)}; "
            "freeze your environment and check that, or name a lock file"
        )
    found = standing.problems(packages, ledger.known(table.constraints_folder()), releases.load())
    if style == "json":
        click.echo(json.dumps([dataclasses.asdict(each) for each in found], indent=1, ensure_ascii=False))
    elif style == "github":
        file = name if name and reading.is_file(name) else ""
        print_commands(screens.github_lines(file, found))
    else:
        print_lines(screens.check_lines(label, found))
    return int(bool(found))


def print_commands(lines: Iterable[str]) -> None:
    """Print the commands of a workflow, which this process's own standard output disarms."""
    stream = sys.__stdout__ or sys.stdout
    for line in lines:
        text = line.encode(stream.encoding, "backslashreplace").decode(stream.encoding)
        print(text, file=stream, flush=True)


def _installed() -> dict[str, str]:
    """The versions of this environment; of two copies the first, which is the one that Python imports."""
    found: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        if each.metadata["Name"]:
            found.setdefault(str(canonicalize_name(each.metadata["Name"])), each.version)
    return found


def _packages(name: str, *more: str) -> dict[str, str]:
    """The exact versions in a file or in the lock of a cell."""
    if more:
        raise UsageError(f"{' '.join(more)}: name one cell or file for B, or requests such as trl==1.16.0")
    if reading.is_file(name):
        return _listed(name).pins
    if not table.constraints_folder().is_dir():
        raise UsageError(f"{name}: no such file, and here are no cells")
    matrix = table.load()
    return lock.read_versions(matrix.lock_path(matrix.cell(name)))


def _listed(name: str) -> PackageFile:
    listed = package_files.read(Path(name), _python())
    if not listed.pins:
        raise UsageError(f"{name}: pins no package to one version; freeze your environment first")
    return listed


def _python() -> str:
    """The Python of the matrix; where there is none, that of this process, as it is the team's own."""
    if (table.constraints_folder() / table.FILE).is_file():
        return table.load().python
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _is_request(text: str, packages: Mapping[str, str]) -> bool:
    """Whether ``text`` asks for a release, rather than names a file or a cell."""
    return any(sign in text for sign in "=<>~!") or (
        canonicalize_name(text) in packages and not _is_there(text)
    )


def _is_there(name: str) -> bool:
    here = table.constraints_folder().is_dir() and name in {cell.name for cell in table.load().cells}
    return here or reading.is_file(name)


def _requested(
    requests: tuple[str, ...], before: str, packages: Mapping[str, str], known: Sequence[Rung]
) -> dict[str, str]:
    """The versions that ``requests`` ask for; each must be of a package in ``before``, so that no typo is."""
    found = {}
    for text in requests:
        try:
            requirement = parse_requirement(text)
        except ValueError:
            raise UsageError(f"{text[:100]!r}: not a request such as trl==1.16.0, trl>=1.0 or trl") from None
        name = str(canonicalize_name(requirement.name))
        if name not in packages:
            raise UsageError(f"{text}: {before} has no {name}{did_you_mean(name, rungs.PACKAGES)}")
        version = exact_version(requirement) if len(requirement.specifier) == 1 else None
        if version is None and (allowed := list(requirement.specifier.filter(_releases(name, known)))):
            version = max(allowed, key=Version)
        if version is None:
            raise UsageError(f"{text}: the ladder has no such release of {name}; name one: {name}==VERSION")
        found[name] = version
    return found


def _releases(name: str, known: Sequence[Rung]) -> list[str]:
    """The releases of a package that the ladder has."""
    sides = {side for rung in known if rung.package == name for side in (rung.before, rung.after)}
    return [side for side in sides if parse_version(side)]
