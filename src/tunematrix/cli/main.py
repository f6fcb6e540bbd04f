"""``tunematrix``: the command line that the nox sessions call."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from tunematrix import __version__
from tunematrix.cli import (
    bisect,
    bounds,
    ci,
    compare,
    exchange,
    explain,
    init,
    ladder,
    lock,
    pull,
    run,
    scan,
    upgrade,
)
from tunematrix.cli.errors import handle_errors
from tunematrix.shared.output import clean_output


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Run the same fine-tuning work in every pinned combination of packages, and compare the records.

    Exit codes: 0 as expected; 1 a regression; 2 bad input or usage; 3 could not be tested.
    """


for command in (
    init.init_command,
    run.run,
    lock.lock,
    run.report,
    compare.show,
    compare.diff_command,
    upgrade.upgrade_command,
    pull.pull_command,
    bisect.bisect_command,
    bounds.bounds_command,
    exchange.exchange_command,
    explain.check_command,
    explain.explain_command,
    ladder.ladder_command,
    scan.scan_command,
    ci.jobs,
    ci.merge,
    run.finish,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    code = 0
    clean_output()
    with handle_errors():
        code = cli.main(arguments, prog_name="tunematrix", standalone_mode=False)
    sys.exit(code if isinstance(code, int) else 0)
