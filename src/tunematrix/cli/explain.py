"""``explain``: what is known to change between two environments, without running anything."""

from __future__ import annotations

import json
from pathlib import Path

import click
from packaging.utils import canonicalize_name

from tunematrix.base.errors import UsageError
from tunematrix.base.versions import parse_requirement
from tunematrix.cli.questions import JSON
from tunematrix.locks import lock, package_files, table
from tunematrix.report import prediction as screens
from tunematrix.shared import reading
from tunematrix.shared.output import print_lines
from tunematrix.verdict import prediction, releases


@click.command("explain")
@click.argument("before", metavar="A")
@click.argument("after", nargs=-1, required=True, metavar="B|REQUEST...")
@click.option("--all", "show_all", is_flag=True, help="Print every finding and what to do about it.")
@JSON
def explain_command(before: str, after: tuple[str, ...], *, show_all: bool, as_json: bool) -> int:
    """Tell what is known to change from A to B, without running anything.

    A and B are cells, or files such as requirements.txt, a freeze, uv.lock or pylock.toml. In place of B,
    requests such as trl==1.16.0 change A. What the resolver would move with them does not count.
    """
    old = _packages(before)
    new = {**old, **_requested(after)} if "==" in after[0] else _packages(*after)
    result = prediction.predict(old, new, releases.load())
    if as_json:
        click.echo(json.dumps(screens.explain_json(result), indent=1, ensure_ascii=False))
    else:
        print_lines(screens.explain_lines((before, ", ".join(after)), result, everything=show_all))
    return 0


def _packages(name: str, *more: str) -> dict[str, str]:
    """The exact versions in a file or in the lock of a cell."""
    if more:
        raise UsageError(f"{' '.join(more)}: name one cell or file for B, or requests such as trl==1.16.0")
    if reading.is_file(name):
        listed = package_files.read(Path(name), table.load().python)
        pins = {
            str(canonicalize_name(item.name)): clause.version
            for item in listed.requirements
            for clause in item.specifier
            if clause.operator in ("==", "===") and not clause.version.endswith(".*")
        }
        if not pins:
            raise UsageError(f"{name}: pins no package to one version; freeze your environment first")
        return pins
    matrix = table.load()
    return lock.read_versions(matrix.lock_path(matrix.cell(name)))


def _requested(requests: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in requests:
        try:
            requirement = parse_requirement(text)
        except ValueError:
            requirement = None
        exact = [clause.version for clause in requirement.specifier] if requirement else []
        if requirement is None or len(exact) != 1 or "==" not in str(requirement.specifier):
            raise UsageError(f"{text[:100]!r}: not a request for one release, such as trl==1.16.0")
        found[str(canonicalize_name(requirement.name))] = exact[0]
    return found
