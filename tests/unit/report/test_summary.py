"""The summary: it contains every cell of the matrix, and a missing record is not a pass."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.unit.verdict.test_answer import NOTHING
from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Entry, Store
from tunematrix.cli.run import report
from tunematrix.locks.table import Cell, Matrix
from tunematrix.report import markdown, problems, terminal, write
from tunematrix.report import summary as view
from tunematrix.report.overview import Overview
from tunematrix.report.rows import reasons, rows
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.ledger import Ledger

NO_LEDGER = Ledger(path=Path("known-issues.toml"))
PINS = {"transformers": "4.46.3", "peft": "0.13.2", "trl": "0.12.2"}


@pytest.fixture(name="matrix")
def _matrix(tmp_path: Path) -> Matrix:
    return matrix_of(tmp_path, "old", "mid", "new")


def matrix_of(folder: Path, *names: str) -> Matrix:
    return Matrix(folder=folder, cells=tuple(Cell(name=name, pins=PINS) for name in names))


def record(cell: str, started: str = "2026-01-01T00:00:00Z", model: str = "tiny", **errors: str) -> Record:
    stages = []
    for name in STAGES:
        message = errors.get(name.replace("-", "_"))
        error = Failure(type="KeyError", message=message, where="trl/x.py:1") if message else None
        stages.append(Result(name=name, outcome="failed" if message else "passed", error=error))
    return Record(
        cell=cell,
        outcome="failed" if errors else "passed",
        started=started,
        seconds=20.4,
        model={"name": model},
        environment={"packages": {**PINS, "trl": "0.12.3"}},
        stages=tuple(stages),
    )


def summary_json(matrix: Matrix, records: dict[str, Record]) -> dict[str, Any]:
    return view.summary_json(summary(matrix, records))


def summary(matrix: Matrix, records: dict[str, Record], ledger: Ledger = NO_LEDGER) -> view.Summary:
    entries = {
        name: Entry(interrupted=record) if record.interruption else Entry(record=record)
        for name, record in records.items()
    }
    knowledge = replace(NOTHING, ledger=ledger)
    return view.Summary(model="tiny", rows=rows(matrix, entries, knowledge), ledger=ledger)


def test_a_cell_without_a_record_is_unknown(matrix: Matrix) -> None:
    content = summary_json(matrix, {"old": record("old")})

    assert content["expected"] == ["old", "mid", "new"]
    assert [cell["outcome"] for cell in content["cells"]] == ["passed", "unknown", "unknown"]
    assert [cell["verdict"] for cell in content["cells"]] == ["same", "unknown", "unknown"]
    assert set(content["cells"][1]["stages"].values()) == {"unknown"}
    assert content["counts"] == {"passed": 1, "unknown": 2}


def test_each_cell_is_compared_with_the_one_before_it(matrix: Matrix) -> None:
    records = {"old": record("old"), "mid": record("mid", align="'x'"), "new": record("new")}

    verdicts = [cell["verdict"] for cell in summary_json(matrix, records)["cells"]]

    assert verdicts == ["same", "regressed", "fixed"]


def test_the_versions_are_the_installed_ones(matrix: Matrix) -> None:
    cells = summary_json(matrix, {"old": record("old")})["cells"]

    assert cells[0]["versions"]["trl"] == "0.12.3"
    assert cells[1]["versions"]["trl"] == "0.12.2"


def test_each_model_has_its_summary_and_the_last_one_is_copied(matrix: Matrix, tmp_path: Path) -> None:
    big, tiny = Store(tmp_path, "org/big"), Store(tmp_path, "tiny")
    big.save(record("old", model="org/big"))
    tiny.save(record("mid", "2026-02-01T00:00:00Z", model="tiny"))
    for store in (tiny, big):
        write.refresh(matrix, store)

    outcomes = {}
    for path in tmp_path.rglob("summary.json"):
        content = json.loads(path.read_text())
        outcomes[path.parent.name] = content["model"], [cell["outcome"] for cell in content["cells"]]
    assert outcomes == {
        "org--big": ("org/big", ["passed", "unknown", "unknown"]),
        "tiny": ("tiny", ["unknown", "passed", "unknown"]),
        tmp_path.name: ("tiny", ["unknown", "passed", "unknown"]),
    }
    assert (tmp_path / "summary.json").read_bytes() == (tmp_path / "tiny/summary.json").read_bytes()


KILLED = Failure(type="SIGKILL", message="the process ended by SIGKILL")


def cut_off(cell: str, started: str = "2026-03-01T09:30:00Z") -> Record:
    stages = (
        Result(name="import", outcome="passed"),
        Result(name="finetune", outcome="crashed", error=KILLED),
    )
    return Record(cell=cell, outcome="crashed", started=started, model={"name": "tiny"}, stages=stages)


def test_a_run_that_was_cut_off_is_shown_beside_the_last_complete_record(
    matrix: Matrix, tmp_path: Path
) -> None:
    store = Store(tmp_path / "results", "tiny")
    store.save(record("old"))
    store.save(cut_off("old"))
    summary = write.refresh(matrix, store)
    row = view.summary_json(summary)["cells"][0]
    note = (
        "last run 2026-03-01 09:30 was cut off: SIGKILL: the process ended by SIGKILL; "
        "showing the record of 2026-01-01 00:00"
    )

    assert set(row["stages"].values()) == {"passed"}
    assert (row["outcome"], row["state"]) == ("passed", "interrupted")
    assert row["interrupted"] == {
        "started": "2026-03-01T09:30:00Z", "outcome": "crashed", "reason": KILLED.one_line,
    }  # fmt: skip
    assert [reason["error"] for reason in row["reasons"]] == [f"interrupted: {note}"]
    assert view.summary_json(summary)["counts"] == {"interrupted": 1, "unknown": 2}
    text = (store.folder / "summary.md").read_text()
    assert "| old \\* | 4.46.3 | 0.13.2 | 0.12.3 | ok | ok |" in text
    assert note in text.replace("\\", "")
    shown = printed_summary(summary, width=300)
    assert f"old interrupted: {note}" in shown
    assert " old *" in shown


def test_without_a_complete_record_the_row_shows_what_the_interrupted_run_left(matrix: Matrix) -> None:
    row = summary_json(matrix, {"old": cut_off("old")})["cells"][0]

    assert (row["outcome"], row["state"]) == ("crashed", "interrupted")
    assert row["stages"]["finetune"] == "crashed"
    assert [reason["kind"] for reason in row["reasons"]] == ["infrastructure"]


def test_a_record_of_another_lock_says_so(matrix: Matrix) -> None:
    lock = matrix.lock_path(matrix.cells[0])
    lock.write_text("trl==1.0\n")
    recorded = replace(record("old"), lock={"sha256": hashlib.sha256(lock.read_bytes()).hexdigest()})
    assert summary_json(matrix, {"old": recorded})["cells"][0]["reasons"] == []

    lock.write_text("trl==1.1\n")
    [reason] = summary_json(matrix, {"old": recorded})["cells"][0]["reasons"]
    assert reason["error"] == (
        "other lock: the record of 2026-01-01 00:00 is of a lock that has changed since; run the cell again"
    )


def test_a_record_that_cannot_be_read_is_unknown_with_its_reason(matrix: Matrix, tmp_path: Path) -> None:
    store = Store(tmp_path / "results", "tiny")
    store.save(record("old"))
    store.path("mid").write_text('{"schema": 1, "cell": "mid", "outcome": "passed", "model": null}')
    summary = write.refresh(matrix, store)
    content = view.summary_json(summary)

    assert [cell["outcome"] for cell in content["cells"]] == ["passed", "unknown", "unknown"]
    assert content["counts"] == {"passed": 1, "unknown": 1, "unreadable": 1}
    assert "mid.json: not a record: model: None is not" in content["cells"][1]["reasons"][0]["error"]
    assert "mid.json: not a record" in printed_summary(summary, width=300)
    assert "not run yet, or run with another model: new" in printed_summary(summary, width=300)


def test_one_root_cause_in_two_stages_is_reported_once(matrix: Matrix) -> None:
    broken = record("old", finetune_resume="'x'", align_resume="'x'", generate="'y'")

    assert [(reason.stages, reason.error.one_line) for reason in reasons(broken, {})] == [
        (("finetune-resume", "align-resume"), "KeyError: 'x' (trl/x.py:1)"),
        (("generate",), "KeyError: 'y' (trl/x.py:1)"),
    ]


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["passed"], 0),
        (["passed", "failed"], 1),
        (["crashed"], 1),
        (["timed_out", "unresolvable"], 1),
        (["passed", "unknown"], 1),
        (["passed", "unresolvable"], 3),
        (["uninstallable"], 3),
        (["skipped"], 3),
        (["not_run"], 3),
        (["interrupted"], 3),
        (["interrupted", "unreadable"], 2),
        (["unreadable", "failed"], 1),
    ],
)
def test_the_exit_code_is_that_of_the_worst_cell(outcomes: list[str], code: int) -> None:
    assert view.exit_code(outcomes) == code


def printed(matrix: Matrix, records: dict[str, Record], width: int = 120) -> str:
    return printed_summary(summary(matrix, records), width)


def printed_summary(summary: view.Summary, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    terminal.show(Overview.of(summary), console)
    console.file.seek(0)
    return console.file.read()


@pytest.mark.parametrize("width", [80, 96, 120])
def test_no_name_in_the_table_is_cut(matrix: Matrix, width: int) -> None:
    text = printed(matrix, {"old": record("old", align="'x'")}, width)

    assert "…" not in text.split("─")[0]
    for word in ("old", "mid", "new", "4.46.3", "0.13.2", "0.12.3", "FAIL", "ok", "?"):
        assert word in text
    assert ("time" in text) == (width >= 90)


def test_each_root_cause_is_one_line(matrix: Matrix) -> None:
    text = printed(matrix, {"old": record("old", align="'x'\nmore")})

    assert "old align [other]: KeyError: 'x' (trl/x.py:1)" in text.splitlines()
    assert "not run yet, or run with another model: mid, new" in text.splitlines()
    assert "1 failed, 2 unknown" in text


def test_a_long_cell_name_is_folded_not_cut(tmp_path: Path) -> None:
    name = "trl-0.26-transformers-ahead-of-all-others"
    text = printed(Matrix(folder=tmp_path, cells=(Cell(name=name, pins=PINS),)), {name: record(name)}, 90)

    assert "…" not in text.split("─")[0]
    assert name in text.replace("\n", "").replace(" ", "") or "trl-0.26-transf" in text


def test_markdown_has_the_table_the_reasons_and_the_changes(matrix: Matrix) -> None:
    old, mid = record("old"), record("mid", align="a | `b`")
    mid, old = replace(mid, fingerprint={"x.loss": [2.0]}), replace(old, fingerprint={"x.loss": [1.0]})

    text = markdown.render(summary(matrix, {"old": old, "mid": mid}))

    assert "| mid | 4.46.3 | 0.13.2 | 0.12.3 | ok | ok | ok | ok | FAIL | ok | ok | old | breaks |" in text
    assert "- **mid** `` align [other]: KeyError: a | `b` (trl/x.py:1) ``" in text
    assert "## old -> mid: BREAKS" in text
    assert "- **broken** DPO fails: KeyError: a | \\`b\\` (trl/x.py:1)" in text
    assert "- [every difference](mid/changes.md)" in text


def test_what_is_new_since_the_last_run_comes_before_what_is_known(matrix: Matrix, tmp_path: Path) -> None:
    store = Store(tmp_path / "results", "tiny")
    store.save(record("old"))
    store.save(record("old", "2026-02-01T00:00:00Z", align="'x'"))

    text = markdown.render(write.refresh(matrix, store))

    assert "## New since the last run\n\n- **old**: 1 broken; worst: DPO fails: KeyError" in text
    store.save(record("old", "2026-03-01T00:00:00Z", align="'x'"))
    assert "New since the last run" not in markdown.render(write.refresh(matrix, store))


def test_every_difference_is_in_the_folder_of_the_cell(matrix: Matrix, tmp_path: Path) -> None:
    store = Store(tmp_path / "results", "tiny")
    store.save(replace(record("old"), fingerprint={"x.loss": [1.0]}))
    store.save(replace(record("mid"), fingerprint={"x.loss": [2.0]}))
    write.refresh(matrix, store)

    assert "x.loss: [1.0] -> [2.0]" in (store.cell_folder("mid") / "changes.md").read_text()
    assert "[every difference](tiny/mid/changes.md)" in (tmp_path / "results/summary.md").read_text()
    assert "[every difference](mid/changes.md)" in (store.folder / "summary.md").read_text()


def test_rendering_again_gives_the_same_files(matrix: Matrix, tmp_path: Path) -> None:
    store = Store(tmp_path / "results", "tiny")
    store.save(record("old"))
    names = ("summary.json", "summary.md")

    write.refresh(matrix, store)
    first = [(store.folder / name).read_bytes() for name in names]
    write.refresh(matrix, store)

    assert first == [(store.folder / name).read_bytes() for name in names]
    assert json.loads(first[0])["counts"] == {"passed": 1, "unknown": 2}


def test_a_brief_summary_has_the_worst_first_and_fits_on_a_screen(tmp_path: Path) -> None:
    cells = [f"c{number}" for number in range(90)]
    matrix = matrix_of(tmp_path, *cells)
    failed = {name: record(name, align=f"'x {name[-1]}'") for name in cells[:80]}
    content = summary(matrix, failed)

    lines = markdown.brief(content, problems.problems(content)).splitlines()

    assert len(lines) < 60
    assert lines[2] == "80 failed, 10 unknown"
    assert lines[4] == "## Unexplained"
    assert lines[6].startswith("- **broken** `align: KeyError: 'x 0' (trl/x.py:1)` in c0, c")
    assert lines[-1].endswith("more lines: the artifact with the results has all")


def test_a_brief_summary_of_few_cells_has_all_of_them(matrix: Matrix) -> None:
    content = summary(matrix, {"old": record("old"), "mid": record("mid", align="'x'")})
    text = markdown.brief(content, problems.problems(content))

    assert "in mid\n" in text
    assert "- not run yet, or run with another model: new" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("| ")][1:] == [
        "old",
        "mid",
        "new",
    ]


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 1)])
def test_a_finding_that_nobody_explained_fails_a_strict_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "constraints"
    folder.mkdir()
    cells = "".join(f'[[cell]]\nname = "{name}"\npins = {{trl = "1.0"}}\n' for name in ("old", "new"))
    (folder / "matrix.toml").write_text(f"schema = 1\n{cells}")
    (folder / "known-issues.toml").write_text("schema = 1\n")
    for cell, value in (("old", {"sft.text.loss": 1.0}), ("new", {"sft.text.error": "ValueError"})):
        Store(tmp_path / "results", "tiny").save(replace(record(cell), fingerprint=value))

    result = CliRunner().invoke(report, [*arguments, "--brief", "brief.md"], standalone_mode=False)

    assert result.return_value == code
    assert "**broken** `SFT raises ValueError" in (tmp_path / "brief.md").read_text()
