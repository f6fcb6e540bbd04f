"""The history loses nothing, says nothing twice, and refuses what it cannot read without touching it."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tunematrix.base.errors import InfrastructureError, TunematrixError, UsageError
from tunematrix.base.history import History
from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.runs import Noted, Part, Run, Step, read_run
from tunematrix.base.store import HISTORY, Store, folder_name

ROOT = Path(__file__).parents[3]
RUN = Run(
    model="tiny",
    cell="latest",
    started="2026-01-01T10:00:00Z",
    key="k",
    lock="l",
    outcome="failed",
    attempts=2,
    seconds=4.5,
    parts=(Part(name="align", outcome="failed", attempts=2, seconds=0.5, error="KeyError"),),
)
DIGEST = "dd0b358c4822ee154805f746e66f401589a6e078d01947253423e70effe6d354"  # of RUN, by the first schema
BEFORE = replace(RUN, cell="old", started="2026-01-02T10:00:00Z", outcome="passed", parts=())
NOTED = Noted(id="trl-9", severity="wrong", title="a 'title' with \N{SNOWMAN}")
STEP = Step(run=RUN, before=BEFORE, answer="BREAKS", findings=(NOTED,))


@pytest.fixture(name="history")
def _history(tmp_path: Path) -> History:
    return History(tmp_path / "results")


def test_what_was_added_is_read(history: History) -> None:
    other = replace(RUN, model="big")

    assert history.append([RUN, other], [STEP]) == 3
    assert history.read("tiny") == ([RUN, BEFORE], [STEP])
    assert history.read("big") == ([other], [])
    assert history.read("none") == ([], [])
    assert history.models() == ["tiny", "big"]
    assert history.judged() == {(RUN.digest, BEFORE.digest)}
    assert STEP.started == BEFORE.started


def test_adding_it_again_changes_not_a_byte(history: History) -> None:
    history.append([RUN], [STEP])
    before = history.path.read_bytes()

    assert history.append([BEFORE, RUN], [STEP, STEP]) == 0
    assert history.path.read_bytes() == before


@pytest.fixture(name="older")
def _older(history: History) -> History:
    """A history of the first schema, with the same content."""
    history.root.mkdir()
    with closing(sqlite3.connect(history.path)) as database:
        database.executescript((ROOT / "tests/data/history-1.sql").read_text())
    return history


def test_an_older_history_is_read_and_stays_as_it_is(older: History) -> None:
    before = older.path.read_bytes()

    assert older.read("tiny") == ([RUN, BEFORE], [STEP])
    assert older.judged() == {(RUN.digest, BEFORE.digest)}
    assert older.path.read_bytes() == before
    assert RUN.digest == DIGEST


def test_an_older_history_is_brought_up_to_date_and_loses_nothing(older: History) -> None:
    quick = replace(RUN, options="depth quick", key="q", cell="new")

    assert older.append([RUN, quick], [STEP]) == 1
    runs, steps = older.read("tiny")
    assert sorted(runs, key=lambda run: run.cell) == [RUN, quick, BEFORE]
    assert steps == [STEP]
    once = older.path.read_bytes()
    assert older.append([RUN, quick, BEFORE], [STEP]) == 0
    assert older.path.read_bytes() == once


def test_runs_of_an_older_history_get_their_options_from_one_with_the_same_key(older: History) -> None:
    named = replace(RUN, options="depth quick")
    assert older.append([named]) == 0
    later = replace(named, started="2026-01-03T10:00:00Z", seconds=1.0)
    older.append([later])

    assert older.read("tiny")[0] == [named, BEFORE, later], "that of another cell is another"


def test_a_failed_upgrade_of_the_schema_leaves_the_older_one(older: History) -> None:
    before = older.path.read_bytes()
    with pytest.raises(TunematrixError):
        older.append([replace(RUN, cell="new", parts=(RUN.parts[0], RUN.parts[0]))])

    assert older.path.read_bytes() == before


def test_a_step_that_is_judged_otherwise_is_replaced(history: History) -> None:
    history.append([], [STEP])
    other = replace(STEP, answer="SAFE", findings=(replace(NOTED, title="other"),))
    history.append([], [other])

    assert history.read("tiny")[1] == [other]


def test_nothing_of_a_half_written_addition_stays(history: History) -> None:
    history.append([RUN])
    wrong = replace(BEFORE, parts=(RUN.parts[0], RUN.parts[0]))  # one part twice, which the table refuses
    with pytest.raises(TunematrixError):
        history.append([replace(RUN, cell="new"), wrong])

    assert history.read("tiny") == ([RUN], [])


def record(**changes: object) -> Record:
    failure = Failure(type="KeyError", message="x")
    whole = Record(
        cell="latest",
        outcome="failed",
        key="k",
        started="2026-01-01T10:00:00Z",
        seconds=3.0,
        model={"name": "tiny"},
        lock={"sha256": "a" * 64},
        stages=(
            Result(name="import", outcome="passed"),
            Result(name="align", outcome="failed", error=failure),
        ),
        probes=(
            Result(name="merge", outcome="passed"),
            Result(name="packing", outcome="failed", error=failure),
            Result(name="chat", outcome="passed", attempts=2),
        ),
        fingerprint={"loss": [1.0]},
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_stages_are_kept_and_of_probes_those_that_failed_or_were_tried_again() -> None:
    run = Run.of(record())

    assert [(part.name, part.outcome, part.attempts, part.error) for part in run.parts] == [
        ("align", "failed", 1, "KeyError"),
        ("chat", "passed", 2, ""),
        ("import", "passed", 1, ""),
        ("packing", "failed", 1, "KeyError"),
    ]
    assert run.interruption == ""
    killed = Failure(type="SIGKILL", message="the process ended by SIGKILL")
    assert Run.of(record(error=killed, outcome="crashed")).interruption == "SIGKILL"


@pytest.mark.parametrize(
    ("options", "workload", "expected"),
    [
        ({}, {}, ""),
        ({"depth": "quick"}, {}, "depth quick"),
        ({"workload": "a" * 64}, {}, "workload aaaaaaaaaaaa"),
        ({"workload": "a" * 64}, {"folder": "ours"}, "workload ours"),
        ({"workload": "a" * 64, "stages": "import train"}, {}, "workload import train"),
        ({"workload": "a", "stages": "x"}, {"file": "w.toml", "stages": {"x": "b"}}, "workload w.toml"),
        ({"workload": "a", "depth": "deep"}, {"folder": "ours"}, "depth deep, workload ours"),
        ({"x": "1", "depth": "deep"}, {}, "depth deep, x 1"),
    ],
)  # fmt: skip
def test_a_run_says_with_which_options_it_did_other_work(
    options: dict[str, str], workload: dict[str, object], expected: str
) -> None:
    assert Run.of(record(options=options, workload=workload)).options == expected


def test_a_reused_record_is_the_same_run_and_another_one_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    store.save(record())
    whole = Run.of(record())

    assert read_run(store.path("latest"), "latest") == whole
    assert Run.of(record(reused=True, reused_at="2026-02-01T10:00:00Z")).digest == whole.digest
    assert Run.of(record(fingerprint={})).digest == whole.digest
    for other in (record(seconds=3.01), record(started="2026-01-02T10:00:00Z"), record(outcome="crashed")):
        assert Run.of(other).digest != whole.digest


def test_no_value_of_a_record_stops_it_or_leaves_a_secret(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canarycanarycanary")
    odd = Failure(type="E\ud800\n\x1b[31m hf_canarycanarycanary" + "x" * 9999, message="")
    stage = Result(name="s" * 5000, outcome="failed", error=odd, attempts=2**64, seconds=float("nan"))
    run = Run.of(record(stages=(stage,), seconds=float("inf"), attempts=2**64, key="\ud800"))
    history.append([run])

    assert history.read("tiny")[0] == [run]
    assert b"canary" not in history.path.read_bytes()
    assert len(history.path.read_bytes()) < 100_000


def write_database(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)


def spoil_page(path: Path) -> None:
    """The page of the findings, which a run that is added does not touch."""
    content = bytearray(path.read_bytes())
    page = content.find(b"a 'title' with") // 4096 * 4096
    content[page : page + 8] = b"\xff" * 8
    path.write_bytes(content)


def undecodable(path: Path) -> None:
    """The error of SQLite quotes the table's name, which is no UTF-8."""
    path.write_bytes(path.read_bytes().replace(b"tablestep_finding", b"tablestep\x80finding"))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("runs: none\n" * 99), "file is not a database"),
    "short text": (lambda path: path.write_text("x"), "file is not a database"),
    "truncated": (truncate, "malformed"),
    "one page": (spoil_page, "not a history that can be read"),
    "undecodable": (undecodable, "invalid start byte"),
    "garbled": (garble, "not a history that can be read"),
    "newer": (lambda path: write_database(path, "PRAGMA user_version = 7"), "is 7, this release reads 2"),
    "no tables": (lambda path: write_database(path, "DROP TABLE part"), "no such table: part"),
    "wrong type": (lambda path: write_database(path, "UPDATE run SET seconds = 'abc'"), "could not convert"),
    "another program": (
        lambda path: write_database(path, "PRAGMA application_id = 5"),
        "a database of another program",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_refused_and_stays_as_it_is(history: History, name: str) -> None:
    runs = [replace(RUN, cell=f"c{number}") for number in range(100)]
    history.append(runs, [STEP])
    spoil, message = REFUSED[name]
    spoil(history.path)
    before = history.path.read_bytes()
    # What is added does not depend on the values of other rows.
    works: list[Callable[[], object]] = [lambda: history.read("tiny")]
    works += [lambda: history.append([replace(RUN, cell="new")])] if name != "wrong type" else []
    for work in works:
        with pytest.raises(UsageError) as raised:
            work()
        assert message in str(raised.value)
        assert str(history.path) in str(raised.value)
        assert "type: tunematrix history --import" in str(raised.value)
        assert "\n" not in str(raised.value)

    assert history.path.read_bytes() == before


def test_without_a_file_or_with_an_empty_one_there_is_no_history_yet(history: History) -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match=r"no history yet; run a cell.*tunematrix history --import"):
            history.read("tiny")
        history.root.mkdir(exist_ok=True)
        history.path.touch()
    assert history.path.stat().st_size == 0
    assert history.append([RUN]) == 1  # such as a full disk leaves it


def test_a_folder_in_its_place_and_a_link_that_leads_out_are_refused(
    history: History, tmp_path: Path
) -> None:
    history.path.mkdir(parents=True)
    with pytest.raises(UsageError, match="no regular file"):
        history.append([RUN])
    history.path.rmdir()
    history.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="leads out of"):
        history.append([RUN])
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder in which not even root can write")
def test_a_folder_that_cannot_be_written_is_the_machines_fault() -> None:
    with pytest.raises(InfrastructureError, match=r"unable to open database file; no record is affected"):
        History(Path("/proc/self")).append([RUN])


def test_a_full_disk_keeps_what_was_there(history: History) -> None:
    history.append([RUN])
    before = history.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 4096, hard))
    try:
        with pytest.raises(
            InfrastructureError, match=r"cannot be read or written: .*; no record is affected"
        ):
            history.append(replace(RUN, cell=f"c{number}") for number in range(500))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert history.read("tiny") == ([RUN], [])
    assert history.append([replace(RUN, cell="new")]) == 1


ADD = """
import os, sys
from dataclasses import replace
from pathlib import Path
from tunematrix.base.history import History
from tunematrix.base.runs import Part, Run
history, name, count, kill = History(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
part = Part(name="align", outcome="failed", error="KeyError")
run = Run(model="tiny", cell="same", started="", key="", lock="", outcome="failed", parts=(part,))
for number in range(count):
    history.append([run, replace(run, cell=f"{name}-{number}")])
if kill:
    with history._open(write=True) as database:
        database.execute("PRAGMA cache_size = 1")  # so that much of it is in the file already
        for number in range(2000):
            database.execute("INSERT INTO finding VALUES (NULL, ?, '', '')", [f"{number}" * 99])
        database.execute("DELETE FROM part")
        os._exit(9)
"""


def processes(root: Path, *arguments: list[str]) -> list[int]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    started = [
        subprocess.Popen([sys.executable, "-c", ADD, str(root), *each], env=environment) for each in arguments
    ]
    return [process.wait(timeout=120) for process in started]


def test_processes_that_add_at_a_time_lose_nothing(history: History) -> None:
    assert processes(history.root, *([str(number), "10"] for number in range(3))) == [0] * 3
    runs, _ = history.read("tiny")
    assert len(runs) == 3 * 10 + 1
    assert all(len(run.parts) == 1 for run in runs)


def test_a_process_that_is_killed_while_it_adds_leaves_what_was_there(history: History) -> None:
    assert processes(history.root, ["1", "2", "killed"]) == [9]
    assert history.path.with_name(f"{HISTORY}-journal").is_file(), "killed too early"
    runs, _ = history.read("tiny")
    assert len(runs) == 3
    assert all(len(run.parts) == 1 for run in runs)


def test_no_model_has_a_folder_of_that_name() -> None:
    assert folder_name(HISTORY) != HISTORY
    assert folder_name(f"{HISTORY}-journal") != f"{HISTORY}-journal"
