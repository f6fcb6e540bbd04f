"""``pr``: answer a pull request that changes pins, in two jobs: one runs packages, one has a token."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from tunematrix.base.errors import TunematrixError, UnresolvableError
from tunematrix.base.files import write_atomic
from tunematrix.cli.explain import print_commands
from tunematrix.cli.questions import COMMAND, MODEL, WORKLOAD
from tunematrix.cli.upgrade import upgrade_command
from tunematrix.pulls import annotations as annotate
from tunematrix.pulls import answer as answers
from tunematrix.pulls import comment, lookup, pins
from tunematrix.pulls.api import Api
from tunematrix.pulls.comment import Reply
from tunematrix.run import scripts
from tunematrix.shared.output import print_lines
from tunematrix.verdict.answer import CANNOT_TELL, NOTHING_TO_TEST

MARKDOWN: Final = "answer.md"
SUMMARY_BYTES: Final = 900_000  # GitHub takes 1 MB of a step


@click.group("pr")
def pull_command() -> None:
    """Answer a pull request that changes pins; docs/your-repository.md has the workflows."""


@pull_command.command("upgrade")
@click.option("--base", metavar="REF", help="Where the pull request goes. Default: origin/$GITHUB_BASE_REF.")
@click.option("--file", metavar="FILE", help="The file of pins. Default: the first that changed.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="answer",
    show_default=True,
    help="The folder for answer.json and answer.md.",
)
@MODEL
@WORKLOAD
@COMMAND
@click.option("--code", type=click.Path(path_type=Path), help="Your Python files, as of upgrade.")
@click.pass_context
def upgrade(
    context: click.Context, /, *, base: str | None, file: str | None, output: Path, **options: Any
) -> int:
    """Run upgrade from the pins at the base to those at the head; needs no token.

    Writes the answer for 'pr comment', shows it in the summary of the job, and annotates the lines to edit.
    Exit codes as of upgrade; 0 at once if nothing of the stack moves.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / answers.FILE
    try:
        code = _answer(context, base, file, output, options)
    except TunematrixError as error:
        _write(path, {"answer": CANNOT_TELL, "reason": str(error), "untested": ["the pins"]})
        raise
    content = json.loads(path.read_text(encoding="utf-8"))
    folder = options["code"] or Path()
    print_commands(annotate.commands(answers.parse(content), folder if folder.is_dir() else folder.parent))
    _write_summary(output / MARKDOWN)
    return code


def _answer(
    context: click.Context, base: str | None, file: str | None, output: Path, options: dict[str, Any]
) -> int:
    """Write the answer to the folder ``output``; returns its exit code."""
    commit = pins.merge_base(base)
    own = bool(options["workload"] or options["command"] or Path(scripts.FILE).is_file())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = output / answers.FILE
    with pins.work_tree(commit) as folder:
        choice = pins.choose(folder, pins.changed_files(commit), python, file=file, own_scripts=own)
        if choice.nothing:
            print_lines([f"{NOTHING_TO_TEST}: {choice.nothing}"])
            _write(path, {"answer": NOTHING_TO_TEST, "reason": choice.nothing}, choice)
            return 0
        if choice.untestable:
            raise UnresolvableError(choice.untestable)
        others = f"; changed too, and not used: {', '.join(choice.others)}" if choice.others else ""
        print_lines([f"pins: {choice.after}, at {commit[:12]} and at the head{others}"], err=True)
        code: int = context.invoke(
            upgrade_command,
            baseline=str(choice.before),
            against=str(choice.after),
            json_file=path,
            markdown=output / MARKDOWN,
            **options,
        )
    _write(path, json.loads(path.read_text(encoding="utf-8")), choice)
    return code


def _write(path: Path, content: dict[str, Any], choice: pins.Choice | None = None) -> None:
    """Write the answer with what it is about; the number is only used among pull requests of this head."""
    if choice:
        file = choice.after.as_posix() if choice.after else ""
        content |= {"pins": {"file": file, "others": list(choice.others)}}
    write_atomic(path, f"{json.dumps(content | {'pull_request': _number()}, indent=1, ensure_ascii=False)}\n")


def _number() -> int | None:
    """The number of the pull request, from ``refs/pull/7/merge``."""
    parts = os.environ.get("GITHUB_REF", "").split("/")
    return int(parts[2]) if parts[:2] == ["refs", "pull"] and parts[2].isdecimal() else None


def _write_summary(markdown: Path) -> None:
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary or not markdown.is_file():
        return
    text = markdown.read_bytes()[:SUMMARY_BYTES].decode(errors="ignore")
    with Path(summary).open("a", encoding="utf-8") as stream:
        stream.write(text)


@pull_command.command("find")
def find() -> int:
    """Print which run has the answer to the pull request of a finished run, for the job that comments.

    As 'pull=NUMBERS' and 'run=ID', in the file $GITHUB_OUTPUT if that is set. Exit codes: 0 also if there is
    none, 2 if the API refuses, 3 if it cannot be reached.
    """
    api, run = Api.from_environment(), lookup.read_event()
    numbers = [str(pull.number) for pull in lookup.find_pulls(api, run)]
    source = lookup.find_answer(api, run) if numbers else None
    lines = [f"pull={' '.join(numbers)}", f"run={source.run if source else ''}"]
    print_lines(lines)
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)
    return 0


@pull_command.command("comment")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--author", default=comment.AUTHOR, show_default=True, help="To whom the token belongs.")
def comment_command(folder: Path, *, author: str) -> int:
    """Write the answer in FOLDER as one comment on its pull request, and set the check 'tunematrix'.

    For a job that runs on workflow_run, with GITHUB_TOKEN; it runs nothing of the pull request. Exit codes:
    0 if both are done, whatever the answer; 2 if the API refuses, 3 if it cannot be reached.
    """
    api, run = Api.from_environment(), lookup.read_event()
    pulls = lookup.find_pulls(api, run)
    source = lookup.find_answer(api, run) if pulls else None
    if source:
        answer = answers.read(folder / answers.FILE)
    elif run.idle or not pulls:
        print_lines(
            ["nothing to do: " + ("no answer yet" if pulls else "no open pull request has this head")]
        )
        return 0
    else:
        answer = answers.unknown(f"the run ended without an answer: {run.conclusion}; its log says why")
    for pull in _addressed(pulls, answer.number):
        acceptance = lookup.find_acceptance(api, pull, source.time) if source else None
        url = source.url if source else run.url
        reply = Reply(answer=answer, sha=run.sha, url=url, acceptance=acceptance)
        create = answer.judgement.answer != NOTHING_TO_TEST
        done = comment.write_comment(api, pull.number, reply.body, author=author, create=create)
        comment.set_status(api, reply)
        print_lines([f"#{pull.number}: comment {done}, check {reply.state}: {reply.status}"])
    return 0


def _addressed(pulls: list[lookup.Pull], number: int | None) -> list[lookup.Pull]:
    """The pull request that the answer names, if several have the same head; all of them if it names none."""
    return [pull for pull in pulls if pull.number == number] or pulls
