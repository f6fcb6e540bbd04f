"""Every command, option, file and link that README, CONTRIBUTING and docs name is there.

Commands and options come from click's own tree, sessions from the noxfile.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import click
import pytest

from tunematrix.cli.main import COMMANDS, cli
from tunematrix.pipeline.cli import cli as pipeline

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE: Final = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
SPAN: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
COMMAND: Final = re.compile(
    r"(?<![\w./<>=@+-])(tunematrix|nox|python -m tunematrix\S*) (?=[-\"'a-z])([^#|;\n]*)"
)
LINK: Final = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
FILE: Final = re.compile(r"[\w.-]*\w\.(?:toml|py|md|yml|jsonl|json|html|txt|css|js)|(?:[\w.-]+/)+[\w.-]*")
OPTION: Final = re.compile(r"--[a-z][a-z-]+")


# Files that runs write and files of a reader's own repository, by name.
OTHERS: Final = frozenset(
    {
        *("partial.json", "exchange.json", "answer.md", ".tunematrix/", "constraints/ours.txt"),
        *("requirements.txt", "requirements/", "setup.py", "pylock.toml", "workload.toml"),
        *("adapter_config.json", "config.json", "tokenizer.json", "trainer_state.json"),
        *(".github/workflows/tunematrix.yml", "tunematrix-comment.yml"),
    }
)
MADE: Final = re.compile(r"results/|(?:.*/)?[A-Z]{4,}")  # by a run; a place for a name
# Options of uv, and of `python -m tunematrix.hub`.
OTHER_OPTIONS: Final = frozenset({"--torch-backend", "--fault", "--port"})


def words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each program with its arguments, in blocks and in spans."""
    blocks = [line for block in FENCE.findall(text) for line in block.splitlines() if line.strip()[:1] != "#"]
    for code in [*blocks, *SPAN.findall(FENCE.sub("", text))]:
        for program, rest in COMMAND.findall(code):
            yield program, words(re.split(r" && |  +", rest)[0])
    for span in SPAN.findall(FENCE.sub("", text)):  # such as `upgrade --fix` and `e2e -- --rerun`
        name = span.partition(" ")[0]
        if " -- " in span and name in {*COMMANDS, "e2e"}:
            yield "nox", ["-s", *words(span)]
        elif name in COMMANDS and " --" in span:
            yield "tunematrix", words(span)


def options_of(command: click.Command) -> set[str]:
    found = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return found | {"--help", "-h", "--version"}


@cache
def sessions() -> set[str]:
    command = [sys.executable, "-m", "nox", "-l", "--json"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for each in json.loads(listed) for name in (each["name"], each["session"])}


def wrong_in(root: click.Command, arguments: list[str]) -> Iterator[str]:
    """The command or the options that ``root`` does not have."""
    command, rest = root, arguments
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            yield rest[0]
            return
        command, rest = found, rest[1:]
    for option in OPTION.findall(" ".join(word for word in rest if word.startswith("-"))):
        if option not in options_of(command):
            yield option


def wrong_session(arguments: list[str]) -> Iterator[str]:
    """The sessions that the noxfile does not have, and the options that their command does not."""
    own, _, rest = " ".join(arguments).partition(" -- ")
    listed = own.split()
    for name in listed[listed.index("-s") + 1 :] if "-s" in listed else []:
        known = {each.partition("(")[0] for each in sessions()} if "(" not in name else sessions()
        if name not in known:
            yield name
        command = {"e2e": "run"}.get(name.partition("(")[0], name)
        if command in COMMANDS:
            yield from wrong_in(cli, [command, *rest.split()])


def wrong(text: str) -> Iterator[str]:
    """What is no command, session or option, each with the line that has it."""
    for program, arguments in commands(text):
        line = " ".join([program, *arguments])
        if program == "nox":
            found = wrong_session(arguments)
        elif program == "python -m tunematrix.pipeline":
            found = wrong_in(pipeline, arguments)
        elif program in ("tunematrix", "python -m tunematrix"):
            found = wrong_in(cli, arguments)
        else:
            module = program.split()[-1]
            found = iter([] if importlib.util.find_spec(module) else [module])
        yield from (f"{each} in: {line}" for each in found)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_and_its_options_exist(path: Path) -> None:
    assert list(wrong(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`tunematrix upgrad trl==1`", "upgrad"),
        ("```console\ntunematrix upgrade trl==1 --atribute   # which\n```", "--atribute"),
        ("run `nox -s exchanges`", "exchanges"),
        ("`nox -s exchange -- --artefact merged`", "--artefact"),
        ('`nox -s "e2e(no-such-cell)"`', "e2e(no-such-cell)"),
        ("`nox -s e2e -- --depht quick`", "--depht"),
        ("`python -m tunematrix.pipeline finetun --config x`", "finetun"),
        ("`python -m tunematrix.hubb --port 0`", "tunematrix.hubb"),
        ("`tunematrix pr fnd`", "fnd"),
        ("`upgrade --fixx`", "--fixx"),
        ("`e2e -- --rerunn`", "--rerunn"),
    ],
)
def test_a_planted_fault_is_found(text: str, expected: str) -> None:
    assert [each.partition(" in: ")[0] for each in wrong(text)] == [expected]


def test_commands_are_found_at_all() -> None:
    found = [program for path in PAGES for program, _ in commands(path.read_text(encoding="utf-8"))]
    assert found.count("tunematrix") > 40
    assert found.count("nox") > 40


@cache
def tracked() -> tuple[str, ...]:
    """The files and folders of the repository, by path."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = {Path(each) for each in listed.splitlines()}
    return tuple(str(each) for path in files for each in (path, *path.parents))


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+?)\s*$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def missing_links(path: Path, text: str) -> Iterator[str]:
    for target, anchor in LINK.findall(text):
        file = path.parent / target if target else path
        if not file.exists():
            yield target
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8") if target else text):
            yield f"{target}#{anchor}"


def missing_files(text: str) -> Iterator[str]:
    """The files named in spans that neither the repository nor a run nor a reader has."""
    for span in SPAN.findall(FENCE.sub("", text)):
        if not FILE.fullmatch(span) or span in OTHERS or MADE.match(span):
            continue
        if not any(f"/{path}".endswith(f"/{span.rstrip('/')}") for path in tracked()):
            yield span


def unknown_options(text: str) -> Iterator[str]:
    """The options named alone in spans that no command has."""
    known = {name for command in all_commands(cli) for name in options_of(command)} | OTHER_OPTIONS
    for span in SPAN.findall(FENCE.sub("", text)):
        if span.startswith("--"):
            yield from (option for option in OPTION.findall(span) if option not in known)


def all_commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if found := command.get_command(context, name):
                yield from all_commands(found)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_file_and_option_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert list(missing_links(path, text)) == []
    assert list(missing_files(text)) == []
    assert list(unknown_options(text)) == []
    assert "@@" not in text, "a placeholder"


def test_a_planted_link_file_and_option_are_found() -> None:
    text = (
        "# A `b` title\n[a](gone.md) [b](docs/locks.md#gone) [c](#a-b-title) [d](docs/locks.md#known-issues)"
    )
    assert list(missing_links(ROOT / "README.md", text)) == ["gone.md", "docs/locks.md#gone"]
    assert list(missing_files("`src/tunematrix/gone.py` `known-isues.toml` `src/tunematrix/cli` `x.y`")) == [
        "src/tunematrix/gone.py",
        "known-isues.toml",
    ]
    assert list(unknown_options("`--atribute` `--attribute`")) == ["--atribute"]
