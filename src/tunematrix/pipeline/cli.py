"""``python -m tunematrix.pipeline download|finetune|align|generate --config FILE.yaml``."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from tunematrix.pipeline.align import align as run_align
from tunematrix.pipeline.config import AlignConfig, DownloadConfig, FinetuneConfig, GenerateConfig
from tunematrix.pipeline.download import download as run_download
from tunematrix.pipeline.errors import ConfigError, PipelineError
from tunematrix.pipeline.finetune import finetune as run_finetune
from tunematrix.pipeline.generate import generate as run_generate
from tunematrix.pipeline.load import load
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.output import clean_output, print_error

CONFIG = click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="YAML file")
RESUME = click.option("--resume", type=click.Path(path_type=Path), help="checkpoint folder to resume from")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """Download a model, fine-tune it with LoRA, align it with DPO, generate text.

    Exit codes: 0 success; 1 the stack failed; 2 wrong configuration or usage; 3 the Hub failed.
    """
    context.ensure_object(Trace)


@cli.command()
@CONFIG
@click.pass_obj
def download(trace: Trace, path: Path) -> None:
    """Download and verify models; skip files that are already there and intact."""
    trace.command = "download"
    run_download(load(DownloadConfig, path), trace)


@cli.command()
@CONFIG
@RESUME
@click.pass_obj
def finetune(trace: Trace, path: Path, resume: Path | None) -> None:
    """Fine-tune a model on text, on chats, or on prompts with completions."""
    trace.command = "finetune"
    run_finetune(load(FinetuneConfig, path), check_checkpoint(resume), trace)


@cli.command()
@CONFIG
@RESUME
@click.pass_obj
def align(trace: Trace, path: Path, resume: Path | None) -> None:
    """Align a model or an adapter with preference pairs."""
    trace.command = "align"
    run_align(load(AlignConfig, path), check_checkpoint(resume), trace)


@cli.command()
@CONFIG
@click.pass_obj
def generate(trace: Trace, path: Path) -> None:
    """Load a saved model or adapter and complete a prompt greedily."""
    trace.command = "generate"
    run_generate(load(GenerateConfig, path), trace)


def check_checkpoint(resume: Path | None) -> Path | None:
    """Return ``resume`` unchanged; raise ``ConfigError`` if it is not a checkpoint folder."""
    if resume and not (resume / "trainer_state.json").is_file():
        raise ConfigError(
            f"--resume {resume}: not a checkpoint (no trainer_state.json); name a checkpoint-N folder"
        )
    return resume


def run(arguments: list[str], trace: Trace) -> None:
    """Run one command in this process; errors propagate, facts are recorded in ``trace``."""
    cli.main(arguments, prog_name="python -m tunematrix.pipeline", standalone_mode=False, obj=trace)


def main(arguments: list[str] | None = None, runner: Callable[[list[str], Trace], Any] = run) -> NoReturn:
    """Run the program: print messages on standard error and exit with the error's code."""
    clean_output()
    trace = Trace()
    try:
        runner(sys.argv[1:] if arguments is None else arguments, trace)
    except click.ClickException as error:
        usage = io.StringIO()
        error.show(usage)
        print_error(usage.getvalue())
        sys.exit(2)
    except PipelineError as error:
        print_error(f"error: {error}")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    for site in trace.call_sites:
        click.echo(
            f"adapted to this stack: {site['call']}({site['argument']}) -> {site['use'] or 'dropped'}",
            err=True,
        )
    sys.exit(0)
