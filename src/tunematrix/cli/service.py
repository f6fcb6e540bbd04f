"""``ci``: what a CI service does with the results of the matrix: issues, and a proposal of new locks."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import click

from tunematrix.base.files import write_atomic
from tunematrix.base.toml import read_text
from tunematrix.cli.results import MODEL, open_store
from tunematrix.locks import adopt, table
from tunematrix.pulls import comment, issue_text, issues, proposal
from tunematrix.pulls.api import Api
from tunematrix.report import write
from tunematrix.report.escape import inline_code
from tunematrix.shared.output import print_lines

PATH = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group("ci")
def ci_command() -> None:
    """Act on the results in a job of a CI service; docs/ci.md has the workflow."""


@ci_command.command("issues")
@MODEL
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--author", default=comment.AUTHOR, show_default=True, help="To whom the token belongs.")
def issues_command(model: str | None, *, dry_run: bool, author: str) -> int:
    """Keep one issue for each problem in the results: open, update, close or reopen it.

    A problem is an unexpected failure, or a broken or wrong finding that nobody explained. Needs
    GITHUB_TOKEN.
    Exit codes: 0 if it is done, whatever was found; 2 if the API refuses, 3 if it cannot be reached.
    """
    api = Api.from_environment()
    summary = write.refresh(table.load(), open_store(model))
    steps = issues.plan(summary, issues.read_own(api, summary.model, author), _run())
    if not dry_run:
        issues.apply(api, steps)
    would = "would " if dry_run else ""
    print_lines(f"{would}{step.verb} {_name(step)}{step.title}" for step in steps)
    return 0


def _name(step: issues.Step) -> str:
    return f"#{step.issue.number} " if step.issue else ""


def _run() -> issue_text.Run:
    server, repository, number = (
        os.environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")
    )
    url = f"{server}/{repository}/actions/runs/{number}"
    today = datetime.datetime.now(datetime.UTC).date()
    return issue_text.Run(url=url, sha=os.environ.get("GITHUB_SHA", ""), day=str(today))


@ci_command.command("adopt")
@click.argument("folder", type=FOLDER)
@click.option("--news", type=PATH, help="Also write what changes, as Markdown.")
def adopt_command(folder: Path, *, news: Path | None) -> int:
    """Take the cells and locks in FOLDER, which another job made, in place of our own.

    Takes matrix.toml and the locks of its cells, and nothing else of the folder.
    """
    changes = adopt.adopt(folder, table.constraints_folder())
    print_lines(changes or ["no cell and no lock changes"])
    if news:
        write_atomic(news, "".join(f"- {inline_code(line)}\n" for line in changes) or "Nothing changes.\n")
    return 0


@ci_command.command("propose")
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--branch", required=True, help="The branch to replace, such as 'latest'.")
@click.option("--title", required=True, help="Of the commit and of the pull request.")
@click.option("--body", type=PATH, required=True, help="The file with the text of the pull request.")
def propose_command(paths: tuple[Path, ...], *, branch: str, title: str, body: Path) -> int:
    """Propose what changed below PATHS as one pull request, which is updated while it is open.

    Needs GITHUB_TOKEN, and a git that may push to 'origin'. Exit codes: 0 also if nothing changed; 2 if git
    or the API refuses, 3 if the API cannot be reached.
    """
    api, text = Api.from_environment(), read_text(body)
    if not proposal.commit(branch, title, paths):
        print_lines(["nothing to propose: no file changed"])
        return 0
    print_lines([f"pull request {proposal.propose(api, branch, title, text)}"])
    return 0
