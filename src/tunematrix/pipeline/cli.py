"""``python -m tunematrix.pipeline download|finetune|align|generate --config FILE.yaml``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from tunematrix.pipeline import config as configs
from tunematrix.pipeline.align import align as run_align
from tunematrix.pipeline.download import download as run_download
from tunematrix.pipeline.errors import ConfigError, PipelineError
from tunematrix.pipeline.finetune import finetune as run_finetune
from tunematrix.pipeline.generate import generate as run_generate
from tunematrix.pipeline.load import load
from tunematrix.pipeline.trace import Trace

CONFIG = click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="YAML file")
RESUME = click.option(
    "--resume", type=click.Path(path_type=Path), help="folder of a checkpoint to go on from"
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """Download a model, fine-tune it with LoRA, align it with DPO, generate.

    Exit codes: 0 done; 1 the stack failed; 2 wrong configuration or usage; 3 the Hub could not serve.
    """
    context.ensure_object(Trace)


@cli.command()
@CONFIG
@click.pass_obj
def download(traced: Trace, path: Path) -> None:
    """Fetch and verify models; what is there and right is not fetched again."""
    traced.command = "download"
    run_download(load(configs.Download, path), traced)


@cli.command()
@CONFIG
@RESUME
@click.pass_obj
def finetune(traced: Trace, path: Path, resume: Path | None) -> None:
    """Fine-tune a model on text, chats, or prompts with completions."""
    traced.command = "finetune"
    run_finetune(load(configs.Finetune, path), checkpoint(resume), traced)


@cli.command()
@CONFIG
@RESUME
@click.pass_obj
def align(traced: Trace, path: Path, resume: Path | None) -> None:
    """Align a model or an adapter with preference pairs."""
    traced.command = "align"
    run_align(load(configs.Align, path), checkpoint(resume), traced)


@cli.command()
@CONFIG
@click.pass_obj
def generate(traced: Trace, path: Path) -> None:
    """Load a saved model or adapter and answer a prompt greedily."""
    traced.command = "generate"
    run_generate(load(configs.Generate, path), traced)


def checkpoint(resume: Path | None) -> Path | None:
    if resume and not (resume / "trainer_state.json").is_file():
        raise ConfigError(
            f"--resume {resume}: not a checkpoint (no trainer_state.json); name a checkpoint-N folder"
        )
    return resume


def run(arguments: list[str], traced: Trace) -> None:
    """Run one command in this process; errors come out as they are, facts go to ``traced``."""
    cli.main(arguments, prog_name="python -m tunematrix.pipeline", standalone_mode=False, obj=traced)


def main(arguments: list[str] | None = None, runner: Callable[[list[str], Trace], Any] = run) -> NoReturn:
    """The program: messages on standard error, and the exit code of the error."""
    traced = Trace()
    try:
        runner(sys.argv[1:] if arguments is None else arguments, traced)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except PipelineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    for row in traced.call_sites:
        click.echo(
            f"adapted to this stack: {row['call']}({row['argument']}) -> {row['use'] or 'dropped'}", err=True
        )
    sys.exit(0)
