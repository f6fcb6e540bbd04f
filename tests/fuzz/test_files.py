"""What people write, files and arguments: whatever it is, the answer is a message and an exit code."""

from __future__ import annotations

import copy
import datetime
import json
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
import tomlkit
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tunematrix.base.errors import TunematrixError, UsageError
from tunematrix.base.record import Failure
from tunematrix.cli import errors, main
from tunematrix.locks import imported, index, lock, package_files, table, uv
from tunematrix.run import options
from tunematrix.shared import reading
from tunematrix.verdict import causes, ledger

MATRIX = """\
schema = 1
baseline = "old"
[defaults]
python = "3.11"
torch = "2.13.0"
[policy]
since = 2024-10-24
every = 75
skews = ["peft"]
[[cell]]
name = "old"   # a comment
as_of = 2024-12-10
tags = ["smoke"]
[cell.pins]
trl = "0.12.2"
peft = "0.13.2"
[[cell]]
name = "ours"
imported_from = "requirements.txt"
pins = { trl = "1.0" }
"""
ISSUES = """\
schema = 1
[[issue]]
id = "resume"
stages = ["finetune-resume", "probe:merge"]
when = ["transformers<4.47", "torch>=2.6"]
error = "UnpicklingError: (Weights|only)+"
cause = "one line"
link = "https://host/1"
fix = "transformers>=4.47"
expires = 2027-05-22
[[issue]]
id = "numbers"
when = ["trl==1.0"]
fingerprint = "align.*"
cause = "x"
fix = "y"
expires = 2027-05-22
"""
CHANGES = """\
schema = 1
[[change]]
id = "loss"
fields = ["align.loss", "sft.*"]
package = "trl"
since = "0.29.0"
cause = "x"
"""
LOCK = lock.sealed(
    "# inputs: 0123\n", "torch==2.13.0+cpu  # via x\ntrl==0.12.2\nNumPy===2.0 ; python_version > '3'\n"
)
REQUIREMENTS = """\
# ours
trl==1.0  # pinned
transformers[torch] >=4,<5 ; python_full_version >= "3.11.4"
torch==2.8.0+cu121 \\
    --hash=sha256:00
-r more.txt
-c constraints.txt
-e git+https://host/ours.git#egg=ours
other @ https://user:secret@host/other.whl
./local.whl
--extra-index-url https://host
"""
UV_LOCK = """\
version = 1
[[package]]
name = "ours"
version = "0.1"
source = { virtual = "." }
[[package]]
name = "numpy"
version = "2.0"
source = { registry = "https://index" }
resolution-markers = ["python_full_version >= '3.11'"]
[[package]]
name = "fork"
version = "2.0"
source = { git = "https://host/fork" }
"""
PYLOCK = """\
lock-version = "1.0"
default-groups = ["dev"]
[[packages]]
name = "numpy"
version = "2.0"
marker = "python_version >= '3.11' and 'dev' in dependency_groups"
[[packages]]
name = "fork"
vcs = { type = "git", url = "https://host/fork" }
"""
SESSIONS = json.dumps([{"name": "e2e", "session": "e2e(a)", "python": "3.11", "call_spec": {"cell": "a"}}])
NUMBERS = ["9" * 5000, "0x" + "f" * 5000, "1e999", "-1e999", "nan", "inf", "true", "1.5", "null"]
DAYS = ["2024-13-45", "9999-12-31", "0001-01-01", "2024-01-01T00:00:00Z"]
NESTED = ["[" * 300, "[" * 3000, "{a=" * 300, "a." * 300, "(" * 200, "[1]", "[[]]", "[{}]"]
CHARACTERS = ['"\\u0000"', '"\\ud800"', *'\x00\x1b\r\u2028\ufeff\ud800é🚀=#\n*"', "'''", '"""', ".."]
PATHS = ["../x", "/", "~nouser/x", "x" * 300, "a\0b", "/dev/zero"]
KEYS = ["schema = 2", "schema = true", "[[cell]]", "[cell.pins]", "cell = 5", "[[cell.pins]]", "name = 1"]
PATTERNS = ["(\\\\w+\\\\s?)+$", "(?=x)", "(a{900}){900}", "\\\\Z", "[[:alpha:]]", "![a-", "[z-a]", "(?i)"]
LINES = ["-r self.txt", "-c self.txt", "-r https://host/x", "--hash=x", "; ", "trl @ file:///x"]
SPECIFIERS = ["trl==1.*", "trl===x", "trl!=", "trl~=1", "trl==" + "9" * 5000]
MARKERS = [
    "a; extra == 'x'",
    "python_version ~= 'x'",
    "'x' in extras",
    "marker = 5",
    "resolution-markers = 5",
]
ENTRIES = ["source = 'x'", "version = 'x y'", "name = 'x y'", "package = 5", "packages = [1]"]
KNOWN_KEYS = [*table.KEYS[""], *table.KEYS["cell"], *ledger.KEYS, *causes.KEYS, "marker", "source", "version"]
FRAGMENTS = st.sampled_from(
    [*NUMBERS, *DAYS, *NESTED, *CHARACTERS, *PATHS, *KEYS, *PATTERNS, *LINES, *SPECIFIERS, *MARKERS, *ENTRIES]
)


NAMES = [
    "",
    "old",
    "new",
    "ours",
    "trl",
    "latest",
    "diagonal",
    "x" * 300,
    "../x",
    "a/b",
    "a b",
    "summary",
    "a.json",
]
VERSIONS = ["3.11", "1.0", "1.*", "9" * 5000, "v1.0 ", "trl<2", "trl @ file:///x", "a; extra == 'x'", "x y"]
STRANGE = [
    "é",
    "\x00",
    "\n::error::x",
    "\x1b[31m",
    "\ud800",
    "{}",
    "%s",
    "python_version ~= 'x'",
    "'x' in extras",
]
STAGES_AND_PATTERNS = [
    "probe:merge",
    "finetune",
    "unresolvable",
    "*" * 50,
    "[!a-",
    "[",
    "(?=x)",
    r"(\w+\s?)+$",
]
TEXTS = [*NAMES, *VERSIONS, *STRANGE, *STAGES_AND_PATTERNS, "(a{900}){900}", "[[:alpha:]]"]
MIDNIGHT = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
PLAIN = [0, -1, 1, 75, 99_999_999, 2**63 - 1, 2**70, 0.5, 1e300, float("inf"), float("nan"), True, False]
TIMES = [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), MIDNIGHT, datetime.time(1)]
CONTAINERS: list[Any] = [[], {}, [[]], [{}], [1], {"a": 1}, ["x", "x"]]
ODDITIES = st.one_of(
    st.sampled_from([*TEXTS, *PLAIN, *TIMES]),
    st.sampled_from(CONTAINERS).map(copy.deepcopy),
    st.lists(st.sampled_from(TEXTS), max_size=3),
)


@st.composite
def reshaped(draw: st.DrawFn, *texts: str) -> bytes:
    """A TOML file that is valid but for some keys and values."""
    content: dict[str, Any] = tomllib.loads(draw(st.sampled_from(texts)))
    for _ in range(draw(st.integers(0, 3))):
        change(draw, content)
    return tomlkit.dumps(content).encode(errors="surrogatepass")


def change(draw: st.DrawFn, content: Any) -> None:
    """Replace, remove, rename or double one value somewhere in ``content``."""
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    if "schema" in keys and draw(st.integers(0, 9)):
        keys.remove("schema")  # a wrong one hides all else
    if not keys:
        return
    key = draw(st.sampled_from(keys))
    value, odd = content[key], draw(ODDITIES)
    if isinstance(value, (dict, list)) and draw(st.integers(0, 3)):
        change(draw, value)
    elif isinstance(content, list):
        choices = [[], [value, copy.deepcopy(value)], [odd], [value, odd]]
        content[key : key + 1] = choices[draw(st.integers(0, 3))]
    elif draw(st.booleans()):
        content[key] = odd
    else:
        del content[key]
        if draw(st.booleans()):
            content[draw(st.sampled_from([*KNOWN_KEYS, *TEXTS]))] = value


@st.composite
def edited(draw: st.DrawFn, *texts: str) -> bytes:
    """A valid file with a few edits of lines, tokens and characters."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 3))):
        separator = draw(st.sampled_from(["\n", " ", '"', ""]))
        parts = list(text) if separator == "" else text.split(separator)
        place = draw(st.integers(0, max(len(parts) - 1, 0)))
        piece = draw(st.one_of(FRAGMENTS, st.text(max_size=8), st.sampled_from(parts or [""])))
        width = draw(st.integers(0, 2))
        parts[place : place + width] = [piece]
        text = separator.join(parts)
    content = text.encode(errors="surrogatepass")
    other = [content.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + content, content[:-3] + b"\xff\xfe"]
    return draw(st.sampled_from([*[content] * 9, *other]))


def toml(*texts: str) -> st.SearchStrategy[bytes]:
    return st.one_of(reshaped(*texts), reshaped(*texts), edited(*texts))


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refuse(*_: object) -> NoReturn:
    raise RuntimeError("no network")


def unresolvable(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], 1, "", "  x No solution found when resolving dependencies: torch")


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a matrix; uv resolves nothing there, and nothing leaves it."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uv, "run", unresolvable)
        patch.setattr(uv, "find_links", lambda: ())
        patch.setattr(index, "files", lambda *_: [])
        patch.setattr(socket.socket, "connect", refuse)
        patch.setenv("TUNEMATRIX_CONSTRAINTS", str(folder / "constraints"))
        patch.setenv("TUNEMATRIX_RESULTS", str(folder / "results"))
        patch.chdir(folder)
        reset(folder)
        yield folder


def reset(folder: Path) -> None:
    """Write the valid files again."""
    (folder / "constraints").mkdir(exist_ok=True)
    files = {"matrix.toml": MATRIX, "known-issues.toml": ISSUES, "known-changes.toml": CHANGES}
    for name, text in {**files, "old.txt": LOCK, "notes.txt": "mine\n"}.items():
        write(folder / "constraints", name, text.encode())


@contextmanager
def only_usage_errors() -> Iterator[None]:
    with suppress(UsageError):
        yield


@given(content=toml(MATRIX))
def test_matrix(folder: Path, content: bytes) -> None:
    path = write(folder / "constraints", "matrix.toml", content)
    with only_usage_errors():
        matrix = table.load(path.parent)
        for cell in matrix.cells:
            with only_usage_errors():
                lock.stale_reason(cell, path.parent / "old.txt")
            with suppress(TunematrixError):
                lock.resolve(cell, datetime.date(2026, 1, 1))


@given(
    content=toml(MATRIX),
    requirements=edited("click==8.1.8\n", "trl==1.0\npeft\n"),
    name=st.sampled_from(["new", "ours", "old", "notes"]),
)
def test_an_import_never_breaks_the_matrix(
    folder: Path, content: bytes, requirements: bytes, name: str
) -> None:
    """After ``lock --from`` the table can be read, and its other lines are as they were."""
    constraints = folder / "constraints"
    (constraints / "new.txt").unlink(missing_ok=True)
    write(constraints, "notes.txt", b"mine\n")
    path = write(constraints, "matrix.toml", content)
    source = write(folder, "requirements.txt", requirements)
    try:
        before = table.load(constraints)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(imported, "_complete", lambda *_: {"click": "8.1.8", "trl": "1.0"})
            imported.import_cell(before, source, name)
    except UsageError:
        assert path.read_bytes() == content
    else:
        names = [cell.name for cell in before.cells]
        assert [cell.name for cell in table.load(constraints).cells] == list(dict.fromkeys([*names, name]))
        lost = set(content.splitlines()) - set(path.read_bytes().splitlines())
        assert not lost or (name == "ours" and all(b"=" in line for line in lost))
    assert (constraints / "notes.txt").read_bytes() == b"mine\n"


@given(content=toml(ISSUES), message=st.text(max_size=50))
def test_ledger(folder: Path, content: bytes, message: str) -> None:
    write(folder, "known-issues.toml", content)
    packages = {"transformers": "4.46.0", "torch": "2.13.0+cpu", "trl": "1.0"}
    with only_usage_errors():
        for issue in ledger.load(folder).issues:
            issue.explains(
                "finetune-resume", Failure(type="E", message=message + "a b " * 500 + "!"), packages
            )
            issue.matches_field(message)


@given(content=toml(CHANGES), name=st.text(max_size=20))
def test_changes(folder: Path, content: bytes, name: str) -> None:
    write(folder, "known-changes.toml", content)
    with only_usage_errors():
        for change in causes.load(folder):
            change.specificity(name)


@given(content=edited(LOCK))
def test_locks(folder: Path, content: bytes) -> None:
    path = write(folder, "lock.txt", content)
    cell = table.Cell(name="lock", pins={"trl": "0.12.2"})
    with only_usage_errors():
        lock.read_versions(path)
    with only_usage_errors():
        lock.stale_reason(cell, path)
    with suppress(TunematrixError):
        lock.write(cell, path, force=bool(len(content) % 2))
    assert path.read_bytes() == content


@given(
    content=st.one_of(toml(UV_LOCK, PYLOCK), edited(REQUIREMENTS)),
    included=edited(REQUIREMENTS),
    name=st.sampled_from(["self.txt", "uv.lock", "pylock.toml"]),
    python=st.sampled_from(["3.11", "3.12.4"]),
)
def test_package_files(folder: Path, content: bytes, included: bytes, name: str, python: str) -> None:
    path = write(folder, name, content)
    write(folder, "more.txt", included)
    write(folder, "constraints.txt", included)
    with only_usage_errors():
        listed = package_files.read(path, python)
        assert not any("secret" in other for other in listed.others)
    with suppress(TunematrixError):
        imported.import_lock(path, python)


@given(content=edited(SESSIONS, "[1]", "[{}]", "5"))
def test_jobs(content: bytes) -> None:
    run_command(["jobs"], content)


YAML = "a: &a [1, 2.5, x]\nb: {c: *a, <<: {d: 2024-01-01}}\ne: !!int 5\nf: |\n  text\n? g\n: ~\n"
TAGS = [f"!!{tag} " for tag in ("int", "float", "bool", "binary", "timestamp", "set", "omap", "pairs", "str")]
MARKS = ["!x ", "? ", ": ", "- ", *"{}[]|>'\"\t,&*", "%YAML 9.9\n---\n", "---\n", "...\n", "#"]
SCALARS = ["1:2:3", ".nan", ".inf", "0o7", "0b1", "1e5", "~", "\\ud800", "0x", "yes", "2024-01-01", "="]
YAML_FRAGMENTS = st.sampled_from(
    [
        "&a ",
        "*a",
        "*b",
        "<<: *a",
        "!!python/object:x ",
        *TAGS,
        *MARKS,
        *SCALARS,
        "x: " * 50,
        "[" * 200,
        "- " * 200,
    ]
)


@given(
    text=st.lists(st.one_of(YAML_FRAGMENTS, st.just(YAML), st.text(max_size=6)), max_size=8).map("".join),
    nan=st.booleans(),
)
def test_yaml(text: str, nan: bool) -> None:
    with suppress(reading.UnreadableError):
        repr(reading.parse_yaml(text, "file", allow_nan=nan))


@given(text=st.lists(st.one_of(FRAGMENTS, st.just(SESSIONS), st.just(MATRIX)), max_size=6).map("".join))
def test_json_and_toml(text: str) -> None:
    for parse in (reading.parse_json, reading.parse_toml):
        with suppress(reading.UnreadableError):
            repr(parse(text, "file"))


@given(path=st.one_of(FRAGMENTS, st.text(max_size=300)))
def test_paths(path: str) -> None:
    reading.is_file(path)
    with suppress(reading.UnreadableError):
        reading.read_text(path)


EXPRESSIONS = st.lists(
    st.sampled_from(["and", "or", "not", "(", ")", "x", "a-b", "a[b]", "=", "'", "\n", ":"]), max_size=9
)


@given(words=EXPRESSIONS)
def test_expressions(words: list[str]) -> None:
    """What is accepted is what pytest accepts."""
    from _pytest.mark.expression import Expression

    text = " ".join(words)
    try:
        Expression.compile(text)
        accepted = bool(text.strip())
    except SyntaxError:
        accepted = False
    assert options.is_expression(text) == accepted


COMMANDS = sorted(set(main.COMMANDS) - {"finish", "reuse"})
ALL = [main.cli.get_command(click.Context(main.cli), name) for name in COMMANDS]
OPTIONS = sorted({name for item in ALL if item for option in item.params for name in option.opts})
VALUES = [
    "old",
    "ours",
    "new",
    "nope",
    "latest",
    "trl",
    "trl==1.0",
    "trl==",
    "1.0",
    "2024-01-01",
    "(((",
    "import",
]
FILES = ["requirements.txt", "constraints/old.txt", "constraints/notes.txt", "results", ".", "/nope/x.md", ""]
ODD = ["tiny-gpt2", "org/model", "a/b/c", "x" * 300, "~nouser/x", "\udcff", "é", "9" * 5000, "--", "-"]
WORDS = st.one_of(st.sampled_from([*OPTIONS, *VALUES, *FILES, *ODD]), st.text("abc=-./ 1é", max_size=5))


@given(command=st.sampled_from(COMMANDS), words=st.lists(WORDS, max_size=6))
def test_arguments(folder: Path, command: str, words: list[str]) -> None:
    reset(folder)
    run_command([command, *(word.replace("\0", "") for word in words)])
    assert (folder / "constraints" / "notes.txt").read_text() == "mine\n"
    assert (folder / "constraints" / "old.txt").read_text() == LOCK


def run_command(arguments: list[str], stdin: bytes | None = None) -> None:
    """Run the program in process; everything but the documented exit codes fails the test."""

    def program() -> Any:
        with errors.handle_errors():
            return main.cli.main(arguments, prog_name="tunematrix", standalone_mode=False)

    with CliRunner().isolation(input=stdin), suppress_exit():
        program()


@contextmanager
def suppress_exit() -> Iterator[None]:
    code: object = 0
    try:
        yield
    except SystemExit as end:
        code = end.code
    assert code in (0, 1, 2, 3)
