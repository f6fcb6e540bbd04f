"""Records from anywhere: every command that reads one ends with an answer or one message."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tunematrix.base.errors import TunematrixError, UsageError
from tunematrix.base.record import problem, schema, to_dict
from tunematrix.base.store import Store, read_record
from tunematrix.cli.main import cli

PATH = tuple[str | int, ...]
DATA: Final = Path(__file__).parents[1] / "data"
ERROR: Final = {"type": "TypeError", "message": "x\ny", "where": "trl/x.py:1", "traceback": "..."}
GOLDEN: Final = json.loads((DATA / "record-1.json").read_text())
NUMBERS: Final = {
    "align.loss_ratio_stacked": 1.0, "align.grad_norm_ratio_x": 0.5, "sft.x_difference": 0, "sft.kept": True,
    "sft.losses": [0.5, 0.25, 0.125, 0.0625], "sft.x.error": "TypeError", "sft.names": ["a"],
    "sft.none": None,
}  # fmt: skip
# A record with every kind of content that a reader looks into.
VALID: Final[dict[str, Any]] = {
    **GOLDEN,
    "cell": "new",
    "fingerprint": {**dict(list(GOLDEN["fingerprint"].items())[:9]), **NUMBERS},
    "environment": {
        "python": "3.11.7",
        "threads": 1,
        "packages": {"transformers": "5.2.0", "trl": "0.29.1", "peft": "0.18.1", "torch": "2.13.0+cpu"},
    },
    "model": {"name": "tiny-gpt2", "revision": "abc", "hub": "embedded"},
    "probes": [
        {"name": "fingerprint:surface", "outcome": "passed", "seconds": 0.5},
        {"name": "exchange:load", "outcome": "failed", "error": ERROR, "known_issue": "x"},
    ],
    "call_sites": [{"call": "trl.SFTTrainer", "argument": "tokenizer", "use": "processing_class"}],
    "warnings": [{"category": "FutureWarning", "message": "removed in 0.29.0", "module": "trl", "count": 2}],
    "defaults": {
        "SFTConfig": {"max_length": 1024, "loss_type": "nll"},
        "SFTConfig (declared)": {"bf16": None},
    },
    "signatures": {"trl.SFTTrainer": ["model", "args"], "trl.SFTConfig": ["max_length"]},
    "symbols": {"trl": ["SFTTrainer", "SFTConfig"]},
    "renames": {"SFTTrainer": {"tokenizer": "processing_class"}},
    "tried": {"x": ""},
    "options": {},
}
OTHER: Final[dict[str, Any]] = {
    **VALID,
    "cell": "old",
    "fingerprint": {
        **VALID["fingerprint"],
        "align.loss_ratio_stacked": 0.5,
        "sft.x_difference": 1,
        "sft.kept": False,
    },
    "defaults": {"SFTConfig": {"max_length": 512}},
}
FUZZY_TEXT: Final = st.text(st.characters(codec=None), max_size=20)
SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | FUZZY_TEXT
    | st.sampled_from(
        [10**400, -(2**64), "weird", "1.0.weird", "..", "../../x", "/x", "2026-01-01", "x" * 9999]
    )
)
JSON: Final = st.recursive(
    SCALARS, lambda items: st.lists(items, max_size=4) | st.dictionaries(FUZZY_TEXT, items, max_size=4)
)


def paths(value: Any, path: PATH = ()) -> Iterator[PATH]:
    """The paths of all values in ``value``, its own first."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*path, index))


def like(value: Any) -> st.SearchStrategy[Any]:
    """Values of the type of ``value``, which are more often valid than just any."""
    if isinstance(value, (dict, list)):
        items = list(value.values()) if isinstance(value, dict) else value
        shuffled = st.permutations(items).map(lambda order: order[: len(order) // 2 + 1])
        keys = list(value) if isinstance(value, dict) else []
        return shuffled.map(lambda order: dict(zip(keys, order, strict=False)) if keys else order)
    if isinstance(value, bool) or value is None:
        return st.booleans() | st.none()
    return st.integers(0, 9) | st.floats(0) if isinstance(value, (int, float)) else FUZZY_TEXT


@st.composite
def changed_records(draw: st.DrawFn) -> bytes:
    """A valid record with values replaced, removed or added, or with its bytes damaged."""
    content: Any = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(0, 4))):
        *parents, last = draw(st.sampled_from(list(paths(content))[1:] or [("schema",)]))
        parent = content
        for key in parents:
            parent = parent[key]
        action = draw(st.sampled_from(("replace", "like", "remove", "rename")))
        if action == "remove" or not parent:
            parent.pop(last, None) if isinstance(parent, dict) else parent and parent.pop(last)
        elif action == "rename" and isinstance(parent, dict):
            parent[draw(FUZZY_TEXT | st.sampled_from(list(VALID)))] = parent.pop(last)
        else:
            parent[last] = draw(JSON if action == "replace" else like(parent[last]))
    text = json.dumps(content).encode()
    if draw(st.integers(0, 9)):
        return text
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(st.binary(max_size=9) | st.sampled_from([b"[" * 100_000, b"NaN", b"9" * 5000]))


def check(arguments: list[str], *, readable: bool | None = None) -> None:
    """Run a command in this process; whatever is wrong, it is a documented error with its exit code."""
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    error = result.exception
    if error is None:
        assert result.return_value in (None, 0, 1, 2, 3)
        assert readable is not False
    elif isinstance(error, TunematrixError):
        assert error.exit_code in (1, 2, 3)
        assert readable is not True or "different workloads" in str(error) or "ran with model" in str(error)
    elif not isinstance(error, click.ClickException):
        raise error


@pytest.fixture(name="project")
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("TUNEMATRIX_") and name != "TUNEMATRIX_FUZZ":
            monkeypatch.delenv(name)
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path / "constraints"))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # most of the time of a case
    (tmp_path / "constraints").mkdir()
    for name in ("old", "new"):
        (tmp_path / f"constraints/{name}.txt").write_text("trl==1.0\n")
    for name in ("known-issues.toml", "known-changes.toml"):
        shutil.copy(DATA.parents[1] / "constraints" / name, tmp_path / "constraints" / name)
    (tmp_path / "old.json").write_text(json.dumps(OTHER))
    return tmp_path


def is_readable(path: Path) -> bool:
    try:
        read_record(path)
    except UsageError:
        return False
    return True


@given(content=changed_records())
def test_a_record_that_can_be_read_can_be_written_and_read_again(project: Path, content: bytes) -> None:
    (project / "new.json").write_bytes(content)
    if is_readable(project / "new.json"):
        record = read_record(project / "new.json")
        store = Store(project / "again", "tiny-gpt2")
        store.write(record, store.path("x"))
        assert repr(to_dict(read_record(store.path("x")))) == repr(to_dict(record))


@given(content=changed_records())
def test_a_record_is_what_the_schema_says(content: bytes) -> None:
    """The fast check agrees with the library that knows all of JSON Schema."""
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(content)
        assert (not problem(parsed)) == jsonschema.Draft202012Validator(schema()).is_valid(parsed)


@pytest.mark.parametrize("options", [["--json"], ["--markdown"], [], ["--all"]])
@given(content=changed_records())
def test_diff_of_any_record(project: Path, options: list[str], content: bytes) -> None:
    (project / "new.json").write_bytes(content)
    names = [str(project / "old.json"), str(project / "new.json")]
    readable = is_readable(project / "new.json")
    check(["diff", *names, *options], readable=readable)
    check(["diff", *reversed(names), *options], readable=readable)


@given(content=changed_records())
def test_show_of_any_record(project: Path, content: bytes) -> None:
    (project / "new.json").write_bytes(content)
    check(["show", str(project / "new.json")], readable=is_readable(project / "new.json"))


@given(content=changed_records(), interrupted=st.booleans())
def test_report_of_any_record(project: Path, content: bytes, *, interrupted: bool) -> None:
    shutil.rmtree(project / "results", ignore_errors=True)
    store = Store(project / "results", "tiny-gpt2")
    path = store.interrupted_path("new") if interrupted else store.path("new")
    path.parent.mkdir(parents=True)
    store.path("old").write_text(json.dumps(OTHER))
    path.write_bytes(content)

    check(["report"], readable=True)
    check(["show", "new"])
    check(["diff", "old", "new"])
    summary = json.loads((project / "results/tiny-gpt2/summary.json").read_text())
    assert [cell["cell"] for cell in summary["cells"]] == ["new", "old"]


@given(content=changed_records(), interrupted=st.booleans())
def test_merge_and_migration_of_any_record(project: Path, content: bytes, *, interrupted: bool) -> None:
    for name in ("results", "artifacts"):
        shutil.rmtree(project / name, ignore_errors=True)
    path = project / "artifacts" / ("new/interrupted.json" if interrupted else "new.json")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (project / "results").mkdir()
    (project / "results/old.json").write_bytes(content)  # as an older release had it

    check(["merge", str(project / "artifacts")], readable=True)
    expected = {"artifacts", "constraints", "results", "old.json", "new.json", "again"}
    assert {path.name for path in project.iterdir()} <= expected
    for file in (project / "results").rglob("*.json"):
        assert len(file.relative_to(project / "results").parts) <= 3
