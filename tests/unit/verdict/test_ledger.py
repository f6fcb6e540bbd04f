"""The ledger: which failures it explains, which it must not, and when the ledger itself is wrong."""

from __future__ import annotations

import datetime
import io
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.unit.verdict.test_answer import NOTHING
from tunematrix.base.errors import UsageError
from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Entry, Store
from tunematrix.cli import main as cli
from tunematrix.locks.table import Cell, Matrix
from tunematrix.report import markdown, terminal
from tunematrix.report import summary as view
from tunematrix.report.overview import Overview
from tunematrix.report.rows import rows as rows_of
from tunematrix.shared.stages import STAGES
from tunematrix.verdict import ledger

ENTRY = """
[[issue]]
id = "resume"
stages = ["finetune-resume", "align-resume"]
when = ["transformers<4.47", "torch>=2.6"]
error = "Weights only.*failed"
cause = "torch reads weights only"
link = "https://example.org/1"
fix = "transformers>=4.47"
expires = 2999-01-01
"""
OTHER_ENTRY = ENTRY.replace('"resume"', '"other"').replace("Weights only.*failed", "never")
PACKAGES = {"transformers": "4.46.3", "torch": "2.13.0+cpu", "peft": "0.13.2", "trl": "0.12.2"}


def load(folder: Path, entries: str) -> ledger.Ledger:
    (folder / ledger.FILE).write_text(f"schema = 1\n{entries}")
    return ledger.load(folder)


def record(
    *, message: str = "Weights only\nload failed", stage: str = "align-resume", cell: str = "old"
) -> Record:
    error = Failure(type="UnpicklingError", message=message)
    stages = tuple(
        Result(
            name=name,
            outcome="failed" if name == stage else "passed",
            error=error if name == stage else None,
        )
        for name in STAGES
    )
    return Record(
        cell=cell,
        outcome="failed" if stage in STAGES else "passed",
        model={"name": "tiny"},
        stages=stages,
        environment={"packages": PACKAGES},
    )


def summary(folder: Path, entries: str, *records: Record, cells: int | None = None) -> view.Summary:
    issues = load(folder, entries)
    missing = (cells or 0) - len(records)
    names = [record.cell for record in records] + [f"no-record-{number}" for number in range(missing)]
    matrix = Matrix(folder=folder, cells=tuple(Cell(name=name, pins=PACKAGES) for name in names))
    knowledge = replace(NOTHING, ledger=issues)
    rows = rows_of(matrix, {record.cell: Entry(record=record) for record in records}, knowledge)
    return view.Summary(model="tiny", rows=rows, ledger=issues)


def test_an_expected_failure_is_known_and_shows_its_cause_and_fix(tmp_path: Path) -> None:
    failed = record(stage="align-resume")
    stages = tuple(
        Result(name=stage.name, outcome="failed", error=failed.stage("align-resume").error)
        if stage.name == "finetune-resume"
        else stage
        for stage in failed.stages
    )
    result = summary(tmp_path, ENTRY, replace(failed, stages=stages))

    assert result.problems == []
    assert result.rows[0].state == "known"
    assert result.rows[0].displayed_outcomes(STAGES) == [
        "passed",
        "passed",
        "passed",
        "known",
        "passed",
        "known",
        "passed",
    ]
    [reason] = result.rows[0].reasons
    assert reason.line == (
        "finetune-resume, align-resume [known: resume]: torch reads weights only; fix: transformers>=4.47"
    )
    assert view.summary_json(result)["cells"][0]["known_issues"] == ["resume"]
    assert view.summary_json(result)["counts"] == {"known": 1}
    assert "- [resume](https://example.org/1): finetune-resume, align-resume in " in markdown.render(result)


def test_the_terminal_shows_an_issue_of_many_cells_once(tmp_path: Path) -> None:
    narrow = ENTRY.replace('"finetune-resume", ', "")
    console = Console(width=120, file=io.StringIO(), highlight=False)

    terminal.show(Overview.of(summary(tmp_path, narrow, record(), record(cell="new"))), console)

    console.file.seek(0)
    lines = console.file.read().splitlines()
    heading = lines.index("known resume: align-resume in old, new")
    assert lines[heading + 1] == "  torch reads weights only; fix: transformers>=4.47"
    assert lines[-1] == "2 known"


@pytest.mark.parametrize(
    "failed",
    [
        record(message="something else"),
        record(stage="align"),
        replace(record(), environment={"packages": {**PACKAGES, "transformers": "4.47.0"}}),
        replace(record(), environment={"packages": {"transformers": "4.46.3"}}),
    ],
    ids=["other error", "other stage", "other version", "package not installed"],
)
def test_a_failure_that_matches_no_entry_is_not_known(tmp_path: Path, failed: Record) -> None:
    result = summary(tmp_path, ENTRY, failed)

    assert result.rows[0].state == "failed"
    assert result.rows[0].issue_ids == []
    assert view.exit_code([row.state for row in result.rows]) == 1


def test_a_probe_with_the_same_error_as_a_known_stage_is_known(tmp_path: Path) -> None:
    failed = record()
    same = Result(name="fingerprint:x", outcome="failed", error=failed.stage("align-resume").error)
    other = replace(same, error=Failure(type="UnpicklingError", message="another"))

    assert summary(tmp_path, ENTRY, replace(failed, probes=(same,))).rows[0].state == "known"
    assert summary(tmp_path, ENTRY, replace(failed, probes=(other,))).rows[0].state == "failed"


def test_an_unexpected_pass_is_a_problem_with_the_line_to_edit(tmp_path: Path) -> None:
    result = summary(tmp_path, ENTRY, record())

    assert result.unexpected == [
        (
            f"{tmp_path / ledger.FILE}:4: resume: unexpected pass: finetune-resume passed in old; "
            "narrow its 'when', or delete it"
        )
    ]
    assert view.exit_code(["known"], result.problems) == 1


def test_an_unused_entry_is_a_problem_only_after_a_full_run(tmp_path: Path) -> None:
    narrow = ENTRY.replace('"finetune-resume", ', "")
    other = OTHER_ENTRY.replace('"finetune-resume", ', "")

    assert summary(tmp_path, narrow + other, record(), cells=2).problems == []
    assert summary(tmp_path, narrow + other, record()).problems == [
        f"{tmp_path / ledger.FILE}:14: other: matched nothing in a full run; delete it, or widen its 'when'"
    ]


def test_an_expired_entry_is_reported(tmp_path: Path) -> None:
    issues = load(tmp_path, ENTRY.replace("2999-01-01", "2026-01-01"))

    assert view.expired_entries(issues, datetime.date(2026, 1, 1)) == []
    assert "resume: expired on 2026-01-01" in view.expired_entries(issues, datetime.date(2026, 1, 2))[0]


def test_an_entry_can_explain_moved_numbers(tmp_path: Path) -> None:
    entry = (
        '[[issue]]\nid = "loss"\nwhen = ["trl>=0.12"]\nfingerprint = "finetune.*"\n'
        'cause = "c"\nfix = "f"\nexpires = 2999-01-01\n'
    )
    first, second = record(stage="-"), record(stage="-", cell="new")
    numbers = [{"finetune.loss": [1.0], "align.loss": [1.0]}, {"finetune.loss": [2.0], "align.loss": [1.0]}]
    records = [
        replace(passed, fingerprint=values) for passed, values in zip((first, second), numbers, strict=True)
    ]

    result = summary(tmp_path, entry, *records)
    assert [row.issue_ids for row in result.rows] == [[], ["loss"]]
    assert result.problems == []
    assert summary(tmp_path, entry, first, second).problems != []


def test_annotate_adds_the_issue_to_the_record(tmp_path: Path) -> None:
    annotated = load(tmp_path, ENTRY).annotate(record())

    assert annotated.stage("align-resume").known_issue == "resume"
    assert annotated.stage("finetune-resume").known_issue is None
    assert load(tmp_path, "").annotate(annotated).stage("align-resume").known_issue is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('fix = "transformers>=4.47"', 'fixx = "x"', "unknown key 'fixx'; did you mean 'fix'?"),
        ('cause = "torch reads weights only"\n', "", "needs cause"),
        ("expires = 2999-01-01", 'expires = "later"', "expires: must be a day"),
        ('"transformers<4.47"', '"transformers<"', "when: 'transformers<' is not a condition"),
        ("Weights only.*failed", "Weights (only", "error: not a regular expression"),
        ('"align-resume"]', '"align-resum"]', "did you mean 'align-resume'?"),
        ('stages = ["finetune-resume", "align-resume"]\n', "", "needs stages"),
        ('error = "Weights only.*failed"\n', "", "needs either error"),
        ("Weights only.*failed", "(?=lookahead)", "error: not a regular expression"),
        ("Weights only.*failed", "((a{1000}){1000}){1000}", "error: not a regular expression"),
        ("Weights only.*failed", "(" * 2000, "error: not a regular expression"),
        ('"transformers<4.47"', f'"transformers<{"9" * 5000}"', "is not a condition"),
        ('"transformers<4.47"', "5", "when: 5 is not a condition"),
        ("schema = 1", "schema = 2\nfuture = 1", "reads schema = 1"),
        ("[[issue]]", "[[issue", "not TOML"),
        ("[[issue]]", ENTRY + "[[issue]]", "is used twice"),
    ],
)
def test_an_invalid_entry_is_an_error(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = f"schema = 1\n{ENTRY}".replace(old, new, 1)
    (tmp_path / ledger.FILE).write_text(text)

    with pytest.raises(UsageError, match=r"known-issues\.toml") as caught:
        ledger.load(tmp_path)
    assert message in str(caught.value)


def test_no_pattern_can_hang_a_report(tmp_path: Path) -> None:
    entry = ENTRY.replace("Weights only.*failed", r"(\\w+\\s?)+$")

    issue = load(tmp_path, entry).issues[0]

    hostile = Failure(type="UnpicklingError", message="aaaa bbbb " * 10_000 + "!")
    assert not issue.explains("align-resume", hostile, PACKAGES)
    assert issue.explains("align-resume", Failure(type="E", message="words \ud800 and words"), PACKAGES)


@pytest.mark.parametrize(("entries", "code"), [("known", 0), ("none", 1), ("expired", 1)])
def test_the_exit_code_of_the_report_depends_on_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: str, code: int
) -> None:
    narrow = ENTRY.replace('"finetune-resume", ', "")
    texts = {"known": narrow, "none": "", "expired": narrow.replace("2999", "2025")}
    load(tmp_path, texts[entries])
    pins = "".join(f'{name} = "{version.split("+")[0]}"\n' for name, version in PACKAGES.items())
    (tmp_path / "matrix.toml").write_text(f'schema = 1\n[[cell]]\nname = "old"\n[cell.pins]\n{pins}')
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    Store(tmp_path / "results").save(record())

    assert CliRunner().invoke(cli.cli, ["report"], standalone_mode=False).return_value == code
    assert CliRunner().invoke(cli.cli, ["finish", "0"], standalone_mode=False).return_value == code


def test_the_shipped_ledger_is_valid() -> None:
    shipped = ledger.load(Path(__file__).parents[3] / "constraints")

    assert len(shipped.issues) >= 5
    assert all(issue.link.startswith("https://github.com/") for issue in shipped.issues)
