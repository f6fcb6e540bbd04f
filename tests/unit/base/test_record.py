"""Records: writing and reading are inverse, and files of older releases still load."""

from __future__ import annotations

import json
import math
from dataclasses import replace
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
        "list": "is not of type 'object'",
    }.items():
        with pytest.raises(UsageError, match=expected):
            read_record(tmp_path / f"{name}.json")
        assert Store(tmp_path).load(name) is None
    with pytest.raises(UsageError, match=r"missing\.json: no such record; run the cell first"):
        read_record(tmp_path / "missing.json")


def read_changed(tmp_path: Path, **changes: Any) -> Record:
    """The record of a file with these keys changed."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**to_dict(complete_record()), **changes}))
    return read_record(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "model: None is not of type 'object'"),
        ({"model": {"name": 5}}, "model.name: 5 is not of type 'string'"),
        ({"environment": None}, "environment: None is not of type 'object'"),
        (
            {"environment": {"packages": {"trl": 1.0}}},
            "environment.packages.trl: 1.0 is not of type 'string'",
        ),
        ({"fingerprint": []}, "fingerprint: [] is not of type 'object'"),
        ({"defaults": 5}, "defaults: 5 is not of type 'object'"),
        ({"defaults": {"SFTConfig": 5}}, "defaults.SFTConfig: 5 is not of type 'object'"),
        ({"signatures": {"trl.SFTTrainer": "x"}}, "is not of type 'array'"),
        ({"symbols": {"trl": [5]}}, "symbols.trl[0]: 5 is not of type 'string'"),
        ({"renames": {"SFTConfig": ["x"]}}, "is not of type 'object'"),
        ({"call_sites": ["x"]}, "call_sites[0]: 'x' is not of type 'object'"),
        ({"call_sites": [{"call": "f"}]}, "call_sites[0]: 'argument' is a required property"),
        ({"warnings": [{"category": "x"}]}, "warnings[0]: 'message' is a required property"),
        ({"seconds": "x"}, "seconds: 'x' is not of type 'number'"),
        ({"seconds": -1}, "seconds: -1 is less than the minimum of 0"),
        ({"stages": [{"name": "import"}]}, "stages[0]: 'outcome' is a required property"),
        ({"stages": [{"name": "import", "outcome": "fine"}]}, "stages[0].outcome: 'fine' is not one of"),
        ({"stages": {}}, "stages: {} is not of type 'array'"),
        ({"error": "x"}, "error: 'x' is not of type 'object'"),
        ({"started": "soon"}, "started: 'soon' does not match"),
        ({"cell": "../../pwned"}, "cell: '../../pwned' does not match"),
        ({"cell": "/etc/x"}, "cell: '/etc/x' does not match"),
        ({"cell": "a\n"}, "cell: 'a\\n' does not match"),
        ({"cell": "x" * 5000}, "is too long"),
        ({"schema": 9}, "its schema is 9; this release reads 1"),
        ({"schema": "x\n" * 99}, "its schema is"),
        ({"outcome": {"x\n": "y" * 9999}}, "outcome: {'x\\n': 'yyy"),
        ({"options": {"a\nb": 5}}, "5 is not of type 'string'"),
    ],
)
def test_a_record_of_another_shape_is_one_message_on_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        read_changed(tmp_path, **changes)

    text = str(raised.value)
    assert text.startswith(f"{tmp_path / 'a.json'}: not a record: ")
    assert message in text
    assert len(text.splitlines()) == 1
    assert len(text) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested more than"),
        (b'{"schema": 1, "a": ' + b"[" * 500 + b"]" * 500 + b"}", "nested more than"),
        (b'{"schema": 1, "seconds": 1' + b"0" * 5000 + b"}", "a number is too large"),
        (b'{"schema": 1, "seconds": 1e999}', "a number is too large"),
        (b'{"schema": 1, "cell": "\\ud800"}', "half a character"),
        (b"\xff\xfe", "UTF-16"),
        (b"\x80", "not UTF-8"),
        (b"", "not JSON"),
        (b"null", "None is not of type 'object'"),
    ],
)
def test_a_file_beyond_all_limits_is_one_message(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)

    with pytest.raises(UsageError, match=message):
        read_record(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["x" * 5000 + ".json", "a\0b.json", "no/such/folder.json"])
def test_a_path_that_cannot_be_is_no_such_record(name: str) -> None:
    with pytest.raises(UsageError, match="no such record"):
        read_record(Path(name))


def test_whatever_a_stack_reports_can_be_read_again(tmp_path: Path) -> None:
    numbers = {"nan": math.nan, "inf": -math.inf, "big": int(1e30), "huge": 10**400, "seed": 2**64 - 1}
    error = Failure(type="OSError", message="caf\udce9", traceback="x" * 1_000_000)
    stages = (Result(name="download", outcome="failed", error=error),)
    store = Store(tmp_path)
    store.save(replace(complete_record(), model={"name": "m"}, stages=stages, fingerprint=numbers))

    record = read_record(tmp_path / "m/a.json")
    assert math.isnan(record.fingerprint["nan"])
    assert {name: record.fingerprint[name] for name in ("inf", "big", "huge", "seed")} == {
        "inf": -math.inf, "big": 1e30, "huge": math.inf, "seed": 2**64 - 1,
    }  # fmt: skip
    error = record.stage("download").error or Failure(type="", message="")
    assert error.message == "caf?"
    assert error.traceback.endswith("x... (800000 more characters)")


def outcome(name: str, type_: str = "", message: str = "") -> Result:
    return Result(name="align", outcome=name, error=Failure(type=type_, message=message) if type_ else None)


@pytest.mark.parametrize(
    ("result", "is_machine"),
    [
        (outcome("passed"), False),
        (outcome("failed", "TypeError", "unexpected argument"), False),
        (outcome("crashed", "SIGSEGV"), False),
        (outcome("crashed", "SIGABRT"), False),
        (outcome("crashed", "SIGKILL"), True),
        (outcome("timed_out", "TimeoutError"), True),
        (outcome("failed", "MemoryError"), True),
        (outcome("failed", "HubError", "the Hub is unreachable"), True),
        (outcome("failed", "OSError", "[Errno 28] No space left on device"), True),
    ],
)
def test_the_machines_trouble_interrupts_a_run_and_is_no_failure(result: Result, *, is_machine: bool) -> None:
    record = Record(cell="a", outcome=result.outcome, stages=(outcome("passed"), result))

    assert record.interruption == (result.error if is_machine else None)
    assert result.failed == (result.outcome != "passed" and not is_machine)


@pytest.mark.parametrize("name", ["unresolvable", "uninstallable", "crashed", "skipped"])
def test_a_run_that_could_not_start_is_interrupted(name: str) -> None:
    error = Failure(type="UntestableError", message="no")

    assert Record(cell="a", outcome=name, error=error).interruption == error
    assert (Record(cell="a", outcome=name).interruption is not None) == name.startswith("un")
