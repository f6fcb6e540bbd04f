"""``history`` from records to lines: every way in, twice as once, and never in the way of a record."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_results import KILLED, STAGES_PASSED, run
from tunematrix.base import record as records
from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.base.history import History
from tunematrix.base.record import Failure, Record, to_dict
from tunematrix.base.store import Store
from tunematrix.cli import main as cli
from tunematrix.report import remember
from tunematrix.run import cell as cells

MATRIX = """\
schema = 1
[[cell]]
name = "a"
as_of = 2026-01-01
[cell.pins]
trl = "1.0"
[[cell]]
name = "b"
as_of = 2026-01-02
[cell.pins]
trl = "1.1"
"""


@pytest.fixture(name="root")
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    (tmp_path / "matrix.toml").write_text(MATRIX)
    for name, version in (("a", "1.0"), ("b", "1.1")):
        (tmp_path / f"{name}.txt").write_text(f"trl=={version}\n")
    return tmp_path / "results"


def made(cell: str, day: int, error: str = "", seconds: float = 20.0, model: str = "tiny-gpt2") -> Record:
    """A record of a day of January, in which align fails with ``error``."""
    failure = Failure(type=error, message="x") if error else None
    align = records.Result(name="align", outcome="failed" if error else "passed", error=failure)
    stages = tuple(align if stage.name == "align" else stage for stage in STAGES_PASSED)
    return Record(
        cell=cell,
        outcome="failed" if error else "passed",
        key=f"key of {cell}",
        started=f"2026-01-{day:02}T10:00:00Z",
        seconds=seconds,
        model={"name": model},
        environment={"packages": {"trl": "1.0" if cell == "a" else "1.1"}},
        stages=stages,
    )


def nights(root: Path) -> None:
    """Four nights: b fails from the second on, after it passed with nothing changed."""
    for night, error in enumerate(("", "KeyError", "KeyError", "KeyError"), start=1):
        for record in (made("a", night, seconds=night), made("b", night, error)):
            Store(root).save(record)
            Store(root.parent / f"nights/{night}").save(record)
    run("history", "--import", str(root.parent / "nights"))


def history_json(*arguments: str) -> Any:
    result = run("history", *arguments, "--json")
    assert result.return_value == 0, result.exception
    return json.loads(result.output)


def test_the_table_has_a_line_for_each_cell(root: Path) -> None:
    nights(root)
    lines = run("history").output.splitlines()

    assert [line.split() for line in lines[:3]] == [
        ["cell", "runs", "now", "since", "findings", "flaked", "median", "last"],
        ["a", "4", "passed", "2026-01-01", "0", "0", "2", "s", "4", "s"],
        ["b", "4", "failed", "2026-01-02", "1", "1", "20", "s", "20", "s"],
    ]
    assert lines[3].startswith("newest failure or finding: 2026-01-02, b;")


def test_quick_runs_are_a_line_of_their_own(root: Path) -> None:
    nights(root)
    quick = {"options": {"depth": "quick"}, "key": "another", "seconds": 3.0}
    for night in (5, 6):
        Store(root).save(replace(made("b", night), **quick))  # type: ignore[arg-type]
        run("report")
    lines = [line.split() for line in run("history").output.splitlines()]

    assert lines[2] == ["b", "4", "failed", "2026-01-02", "1", "1", "20", "s", "20", "s"]
    assert lines[3] == ["b", "(depth", "quick)", "2", "passed", "2026-01-05", "0", "0", "3", "s", "3", "s"]
    text = run("history", "b").output
    assert "b with tiny-gpt2: 4 runs" in text
    assert "b (depth quick) with tiny-gpt2: 2 runs" in text
    assert [(cell["cell"], cell["options"]) for cell in history_json("b")["cells"]] == [
        ("b", ""),
        ("b", "depth quick"),
    ]
    assert "b (depth quick)" in (root / "tiny-gpt2/summary.html").read_text()


def test_a_cell_shows_all_of_it(root: Path) -> None:
    nights(root)
    Store(root).save(replace(made("b", 5), outcome="crashed", error=KILLED))
    run("history", "--import")
    text = run("history", "b").output

    assert text.splitlines()[0] == "b with tiny-gpt2: 5 runs from 2026-01-01 to 2026-01-05, 1 of them cut off"
    assert "now          failed since 2026-01-02 (3 runs in a row)" in text
    assert "failure      align failed with KeyError, since 2026-01-02 (3 runs in a row)" in text
    assert "broken       since 2026-01-02 (3 in a row)  " in text
    assert "flaked       align: passed 1, failed 3 times with nothing changed, last failed 2026-01-04" in text


def test_a_finding_shows_where_it_is_and_since_when(root: Path) -> None:
    nights(root)
    [b] = history_json("b")["cells"]
    finding = b["findings"][0]["name"]
    assert (
        "  a -> b: broken since 2026-01-02 (3 steps in a row), still there" in run("history", finding).output
    )

    Store(root).save(made("b", 6))
    run("history", "--import")
    assert "in a row), gone since 2026-01-06" in run("history", finding).output
    assert history_json(finding)["cells"][0]["until"] == "2026-01-06T10:00:00Z"


def test_the_json_says_the_same(root: Path) -> None:
    nights(root)
    content = history_json()

    assert (content["schema"], content["model"]) == (1, "tiny-gpt2")
    a, b = content["cells"]
    assert (a["outcome"], a["since"], a["seconds"]) == (
        "passed",
        "2026-01-01T10:00:00Z",
        {"median": 2.5, "last": 4.0},
    )
    assert (b["compared_with"], b["flakes"][0]["outcomes"]) == ("a", {"passed": 1, "failed": 3})


def test_another_name_is_one_message_with_the_closest(root: Path) -> None:
    for arguments, message in (
        (["history"], "history.sqlite: no history yet; run a cell"),
        (["history", "--import", "nowhere"], "nowhere: no such folder"),
        (["history", "--import", "~nouser/x"], "no such user"),
    ):
        error = run(*arguments).exception
        assert isinstance(error, UsageError)
        assert message in str(error)
    nights(root)
    for arguments, message in (
        (["history", "c"], "c: no cell and no finding in the history of tiny-gpt2; valid: a, b"),
        (["history", "--model", "tiny-gpt"], "no runs with tiny-gpt in it; did you mean 'tiny-gpt2'?"),
    ):
        assert message in str(run(*arguments).exception)


def test_a_report_again_changes_neither_the_history_nor_the_page(root: Path) -> None:
    nights(root)
    assert run("report").return_value == 1
    paths = [root / "history.sqlite", root / "tiny-gpt2/summary.html"]
    before = [path.read_bytes() for path in paths]
    run("report")

    assert [path.read_bytes() for path in paths] == before
    assert b"3 in a row" in before[1]


def test_a_reused_record_is_no_new_run(root: Path) -> None:
    nights(root)
    Store(root).save(replace(made("a", 4, seconds=4), reused=True, reused_at="2026-01-09T10:00:00Z"))
    run("report")

    assert [cell["runs"] for cell in history_json()["cells"]] == [4, 4]


def artifacts(folder: Path, *made_records: Record) -> None:
    """One folder for each record, flat, as a CI service packs them."""
    for record in made_records:
        path = folder / f"record-{record.cell}-{record.started[:10]}" / f"{record.cell}.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(to_dict(record)))


def test_merge_adds_what_is_older_too_and_twice_as_once(root: Path, tmp_path: Path) -> None:
    artifacts(tmp_path / "ci", made("a", 1), made("a", 2), made("b", 1, "KeyError"))
    assert run("merge", str(tmp_path / "ci")).return_value == 0
    once = (root / "history.sqlite").read_bytes()
    run("merge", str(tmp_path / "ci"))

    assert (root / "history.sqlite").read_bytes() == once
    assert [cell["runs"] for cell in history_json()["cells"]] == [2, 1]


def test_records_of_results_folders_are_imported_with_their_steps(root: Path, tmp_path: Path) -> None:
    for night, error in enumerate(("", "KeyError", "KeyError"), start=1):
        for record in (made("a", night), made("b", night, error), made("gone", night)):
            Store(tmp_path / f"nights/{night}").save(record)
    imported = run("history", "--import", str(tmp_path / "nights"))

    assert imported.output == f"9 runs and 3 steps added to {root / 'history.sqlite'}\n"
    [b] = history_json("b")["cells"]
    assert [(one["since"][:10], one["runs"]) for one in b["findings"]] == [("2026-01-02", 2)]
    once = (root / "history.sqlite").read_bytes()
    again = run("history", "--import", str(tmp_path / "nights"), "--json")
    assert json.loads(again.output) == {"runs": 0, "steps": 0}
    assert (root / "history.sqlite").read_bytes() == once


def test_a_history_that_is_gone_is_made_again_from_the_records(root: Path) -> None:
    nights(root)
    Store(root).save(replace(made("b", 5), outcome="crashed", error=KILLED))
    (root / "history.sqlite").unlink()
    shutil.rmtree(root.parent / "nights")

    assert run("history", "--import").output.startswith("5 runs and 1 steps added")
    # The last record, the one before it, and the run that was cut off: what the results folder has.
    assert [cell["runs"] for cell in history_json()["cells"]] == [2, 3]


def test_a_bad_history_is_refused_before_records_are_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights(root)
    (root / "history.sqlite").write_text("notes")
    monkeypatch.setattr(remember, "read_run", lambda *_: pytest.fail("a record was read"))

    assert isinstance(run("history", "--import").exception, UsageError)


def test_what_is_no_record_is_left_out_and_one_of_a_cell_is_an_error(root: Path, tmp_path: Path) -> None:
    artifacts(tmp_path / "ci", made("a", 1))
    (tmp_path / "ci/package.json").write_text("{}")
    result = run("history", "--import", str(tmp_path / "ci"))
    assert (result.return_value, result.stderr.count("\n")) == (0, 1)

    (tmp_path / "ci/b.json").write_text('{"schema": 1}')
    (tmp_path / "ci/x").mkdir()
    shutil.copy(tmp_path / "ci/record-a-2026-01-01/a.json", tmp_path / "ci/x/b.json")
    result = run("history", "--import", str(tmp_path / "ci"))
    assert result.return_value == 2
    assert "b.json: not a record" in result.stderr
    assert "b.json: it is of cell 'a', not of 'b'" in result.stderr
    assert "0 runs and 0 steps" in result.stdout


def test_kept_artifacts_and_candidates_are_no_runs_of_cells(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    store.save(made("a", 1))
    folder = Store(root, "tiny-gpt2").cell_folder("a")
    (folder / "artifacts").mkdir(parents=True)
    (folder / "log.txt").touch()
    for path in (folder / "artifacts/b.json", folder / "partial.json"):
        path.write_text(json.dumps(to_dict(made("b", 1))))
    Store(root / "candidates").save(made("b", 2))
    run("history", "--import")

    assert [cell["cell"] for cell in history_json()["cells"]] == ["a"]


@pytest.mark.parametrize("content", [b"not a database, but notes", b"x" * 9000])
def test_a_run_that_cannot_write_its_history_saves_its_record_and_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    root.mkdir()
    (root / "history.sqlite").write_bytes(content)
    monkeypatch.setattr(cells, "_run_with_retries", lambda *_: (made("a", 1), 1))
    result = run("run", "a", "--model", "tiny-gpt2")

    assert result.return_value == 0
    assert Store(root, "tiny-gpt2").load("a") is not None
    [line] = [line for line in result.stderr.splitlines() if "history" in line]
    assert line.startswith(
        f"not added to the history: {root / 'history.sqlite'}: not a history that can be read"
    )
    assert (root / "history.sqlite").read_bytes() == content
    assert "not added to the history" in run("report").stderr
    assert "Since when" not in (root / "tiny-gpt2/summary.html").read_text()
    assert run("merge", str(root)).return_value == 0, "the records are what counts"


def test_a_run_is_in_the_history_when_it_ends(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "_run_with_retries", lambda *_: (made("a", 1), 1))
    run("run", "a", "--model", "tiny-gpt2")

    assert [each.cell for each in History(root).read("tiny-gpt2")[0]] == ["a"]


@pytest.mark.parametrize(("error", "code"), [(UsageError, 2), (InfrastructureError, 3)])
def test_a_history_that_cannot_be_read_is_one_message_and_a_code(
    root: Path, capsys: pytest.CaptureFixture[str], error: type[Exception], code: int
) -> None:
    nights(root)
    if error is UsageError:
        (root / "history.sqlite").write_text("notes")
    else:
        (root / "history.sqlite-journal").mkdir()  # SQLite cannot tell whether it must undo something
    with pytest.raises(SystemExit) as raised:
        cli.main(["history", "--import"])
    output = capsys.readouterr().err

    assert raised.value.code == code
    assert output.startswith("error: ")
    assert output.count("\n") == 1
