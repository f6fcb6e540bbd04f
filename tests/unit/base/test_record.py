"""Records: writing and reading are inverse, and files of older releases still load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Failure, Record, Result, from_dict, schema, to_dict, worst_outcome
from tunematrix.base.store import Store, read_record

GOLDEN = sorted((Path(__file__).parents[2] / "data").glob("record-*.json"))


def complete_record() -> Record:
    error = Failure(type="KeyError", message="'x'", where="trl/a.py:1", traceback="...")
    return Record(
        cell="a",
        outcome="failed",
        key="k",
        started="2026-11-22T12:00:00Z",
        seconds=1.5,
        peak_rss_mb=10,
        lock={"path": "constraints/a.txt", "sha256": "0" * 64},
        environment={"python": "3.11.7", "threads": 1, "packages": {"trl": "1.0"}},
        model={"name": "tiny-gpt2"},
        stages=(
            Result(name="import", outcome="passed", seconds=0.5),
            Result(name="align", outcome="failed", error=error),
        ),
        probes=(Result(name="program", outcome="passed"),),
        fingerprint={"finetune.loss": [5.5]},
        call_sites=({"call": "f", "argument": "a", "use": "b"},),
    )


def test_a_record_is_the_same_after_writing_and_reading() -> None:
    assert from_dict(json.loads(json.dumps(to_dict(complete_record())))) == complete_record()


def test_a_written_record_conforms_to_the_schema() -> None:
    jsonschema.validate(to_dict(complete_record()), schema())


def test_the_schema_rejects_an_unknown_outcome() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**to_dict(complete_record()), "outcome": "fine"}, schema())


def test_unknown_keys_are_ignored() -> None:
    content: dict[str, Any] = {**to_dict(complete_record()), "new": 1}
    content["stages"][0]["new"] = 2

    assert from_dict(content) == complete_record()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_records_of_every_released_schema_still_load(path: Path) -> None:
    record = read_record(path)

    assert record.stage("align-resume").outcome == "failed"
    assert record.fingerprint["finetune.loss"]
    jsonschema.validate(json.loads(path.read_text()), schema())


def test_a_golden_record_of_the_current_schema_exists() -> None:
    assert any(path.name.startswith("record-1") for path in GOLDEN)


def test_a_stage_without_a_result_was_not_run() -> None:
    assert complete_record().stage("generate").outcome == "not_run"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "unavailable"], "unavailable"),
        (["passed", "skipped"], "skipped"),
        (["failed", "not_run", "passed"], "failed"),
        (["failed", "timed_out"], "timed_out"),
        (["timed_out", "crashed"], "crashed"),
        ([], "not_run"),
    ],
)
def test_a_cells_outcome_is_the_worst_of_its_results(outcomes: list[str], expected: str) -> None:
    assert worst_outcome([Result(name="x", outcome=outcome) for outcome in outcomes]) == expected


def test_reading_a_file_that_is_not_a_record_raises(tmp_path: Path) -> None:
    (tmp_path / "truncated.json").write_text('{"schema": 1, "cell"')
    (tmp_path / "newer.json").write_text('{"schema": 9}')
    (tmp_path / "list.json").write_text("[]")

    for name, expected in {
        "truncated": "not a record",
        "newer": "its schema is 9",
        "list": "not a record",
    }.items():
        with pytest.raises(UsageError, match=expected):
            read_record(tmp_path / f"{name}.json")
        assert Store(tmp_path).load(name) is None
    with pytest.raises(UsageError, match=r"missing\.json: no such record; run the cell first"):
        read_record(tmp_path / "missing.json")
