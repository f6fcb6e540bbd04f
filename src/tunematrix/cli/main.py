"""``tunematrix``: the command line that the nox sessions call."""

from __future__ import annotations

import importlib
import sys
from typing import Final, NoReturn

import click

from tunematrix import __version__
from tunematrix.cli.errors import handle_errors
from tunematrix.shared.output import clean_output

# Where each command is: only the one that runs is imported, which is most of the time of a short one.
COMMANDS: Final = {
    "badge": "badge.badge_command",
    "bisect": "bisect.bisect_command",
    "bounds": "bounds.bounds_command",
    "check": "explain.check_command",
    "ci": "service.ci_command",
    "diff": "compare.diff_command",
    "exchange": "exchange.exchange_command",
    "explain": "explain.explain_command",
    "finish": "run.finish",
    "history": "history.history_command",
    "init": "init.init_command",
    "jobs": "ci.jobs",
    "ladder": "ladder.ladder_command",
    "lock": "lock.lock",
    "merge": "ci.merge",
    "pr": "pull.pull_command",
    "reads": "reads.reads_command",
    "report": "run.report",
    "reuse": "reuse.reuse",
    "run": "run.run",
    "scan": "scan.scan_command",
    "show": "compare.show",
    "upgrade": "upgrade.upgrade_command",
}


class Commands(click.Group):
    """The commands, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # likewise
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(".")
        command: click.Command = getattr(importlib.import_module(f"tunematrix.cli.{module}"), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Run the same fine-tuning work in every pinned combination of packages, and compare the records.

    Exit codes: 0 as expected; 1 a regression; 2 bad input or usage; 3 could not be tested.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    code = 0
    clean_output()
    with handle_errors():
        code = cli.main(arguments, prog_name="tunematrix", standalone_mode=False)
    sys.exit(code if isinstance(code, int) else 0)
