"""Options shared by ``upgrade``, ``bisect`` and ``bounds``."""

from __future__ import annotations

from pathlib import Path

import click

from tunematrix.shared.stages import DEFAULT_MODEL

MODEL = click.option(
    "--model",
    help=f"A short name, or a Hub repository id. Default: {DEFAULT_MODEL}, or that of workload.toml.",
)
BASELINE = click.option(
    "--baseline",
    metavar="CELL|FILE",
    help="A cell, or a file that 'lock --from' reads. Default: the baseline in matrix.toml.",
)
WORKLOAD = click.option(
    "--workload",
    type=click.Path(path_type=Path),
    help="Your own work: a workload.toml, or a folder with one or with configurations, data and tests.",
)
COMMAND = click.option(
    "--run", "command", metavar="COMMAND", help="Your own work in one line, such as 'python train.py'."
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON; docs/upgrade.md describes the format."
)
RECORD_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print the answer alone, no progress.")
