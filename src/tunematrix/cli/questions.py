"""What ``upgrade``, ``bisect`` and ``bounds`` have in common: options and progress."""

from __future__ import annotations

from collections.abc import Callable

import click

from tunematrix.shared.stages import DEFAULT_MODEL

MODEL = click.option("--model", default=DEFAULT_MODEL, show_default=True, help="A short name, or a Hub id.")
BASELINE = click.option("--baseline", metavar="CELL|FILE", help="A cell, or a file that 'lock --from' reads.")
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON; docs/upgrade.md has the contract.")


def print_progress(*, quiet: bool) -> Callable[[str], None]:
    """Progress goes to standard error, so that an answer can be piped."""
    return (lambda _: None) if quiet else lambda text: click.echo(text, err=True)
