"""``tunematrix ladder``: bad days, going on from the data, and a climb with stand-ins for the cells."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.verdict.test_answer import GOOD
from tunematrix.base.errors import UsageError
from tunematrix.base.record import Failure, Record
from tunematrix.base.store import Store
from tunematrix.cli.ladder import ladder_command
from tunematrix.cli.main import main
from tunematrix.locks.rungs import PACKAGES, Rung
from tunematrix.questions import ladder
from tunematrix.verdict import releases

ROOT = Path(__file__).parents[3]

LOSS = "tiny-llama.sft.text.training_loss"


def climbed(loss: float, trl: str, **fields: object) -> Record:
    packages = {"packages": {"trl": trl}}
    return replace(GOOD, fingerprint={LOSS: loss}, environment=packages, **fields)  # type: ignore[arg-type]


def lock(tmp_path: Path, day: int, before: str, after: str) -> Rung:
    name = f"2026-01-{day:02}-trl-{after}"
    return Rung(
        name=name,
        day=datetime.date(2026, 1, day),
        path=tmp_path / f"{name}.txt",
        packages={"trl": after},
        package="trl" if before else "",
        before=before,
        after=after,
    )


Climb = Callable[..., Result]


@pytest.fixture(name="climb")
def _climb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Climb:
    def climb(*steps: tuple[str, Record], options: tuple[str, ...] = ("--since", "2026-01-01")) -> Result:
        versions = ["", *(version for version, _ in steps)]
        chain = [
            lock(tmp_path, day, before, after)
            for day, (before, after) in enumerate(itertools.pairwise(versions), start=1)
        ]
        monkeypatch.setattr(ladder, "plan", lambda *_: chain)

        def run(*_: object) -> Iterator[tuple[Rung, Record]]:
            yield from zip(chain, (record for _, record in steps), strict=True)

        monkeypatch.setattr(ladder, "climb", run)
        files = ["--data", str(tmp_path / "data"), "--changelog", str(tmp_path / "changelog.md")]
        arguments = [*options, *files]
        runner = CliRunner()
        return runner.invoke(ladder_command, arguments, catch_exceptions=False, standalone_mode=False)

    return climb


def test_each_release_gets_what_moved_when_it_joined(climb: Climb, tmp_path: Path) -> None:
    steps = [("1.0", climbed(2.0, "1.0")), ("1.1", climbed(2.0, "1.1")), ("1.2", climbed(3.0, "1.2"))]
    result = climb(*steps)
    assert "2 releases compared, 1 of them changed something" in result.stdout
    quiet, moved = releases.read(tmp_path / "data")
    assert (quiet.after, quiet.changes) == ("1.1", {})
    assert (moved.before, moved.after, moved.changes) == ("1.1", "1.2", {LOSS: (2.0, 3.0)})
    assert [finding["severity"] for finding in moved.findings] == ["training"]
    assert "## trl 1.2 (2026-01-03)" in (tmp_path / "changelog.md").read_text()


def test_what_the_machine_ended_is_not_compared_and_nothing_kept_is_lost(
    climb: Climb, tmp_path: Path
) -> None:
    kept = releases.Rung(day="2026-01-03", package="trl", before="1.1", after="1.2", changes={LOSS: (1, 2)})
    releases.write(tmp_path / "data", [kept])
    ended = climbed(2.0, "1.1", error=Failure(type="InfrastructureError", message="no space left"))
    result = climb(("1.0", GOOD), ("1.1", ended), ("1.2", climbed(3.0, "1.2")))
    assert result.stderr.count("not compared, InfrastructureError: no space left") == 2
    assert [rung.changes for rung in releases.read(tmp_path / "data")] == [{LOSS: (1, 2)}]


def test_it_goes_on_two_weeks_before_the_newest_rung(climb: Climb, tmp_path: Path) -> None:
    known = releases.Rung(day="2026-01-20", package="trl", before="1.0", after="1.1")
    releases.write(tmp_path / "data", [known])
    result = climb(("1.1", GOOD), options=("--until", "2026-01-25"))
    assert "rungs from 2026-01-06 to 2026-01-25" in result.stderr


def test_a_data_file_that_is_none_is_told_in_a_line(climb: Climb, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "2026.jsonl").write_text("[]")
    with pytest.raises(UsageError, match="not a rung of the ladder"):
        climb(("1.1", GOOD), options=("--until", "2026-01-25"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--since", "yesterday"], "--since 'yesterday': not a day such as 2026-07-01"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "--since 2026-02-01 is not before --until"),
        (["--data", "nowhere"], "name the first day: --since 2024-10-24"),
    ],
)
def test_bad_days_are_told_in_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["ladder", *options])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_the_plan_and_a_climb_as_json_have_their_progress_on_standard_error(climb: Climb) -> None:
    steps = [("1.0", climbed(2.0, "1.0")), ("1.1", climbed(3.0, "1.1"))]
    options = ("--since", "2026-01-01", "--json")

    planned = json.loads(climb(*steps, options=(*options, "--plan")).stdout)
    assert [rung["after"] for rung in planned] == ["1.0", "1.1"]
    result = climb(*steps, options=options)
    assert {"compared": 1, "changed": 1}.items() <= json.loads(result.stdout).items()
    assert "1.1: passed" in result.stderr
    assert not climb(*steps, options=(*options, "--quiet")).stderr


def test_a_job_of_a_service_climbs_its_part_and_the_rung_below(
    climb: Climb, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = [lock(Path(), day, f"1.{day - 1}", f"1.{day}") for day in range(1, 9)]
    steps = [("1.0", GOOD)]
    seen: list[str] = []
    for part in ("1/3", "2/3", "3/3"):
        climb(*steps)  # the stand-ins
        monkeypatch.setattr(ladder, "plan", lambda *_: iter(chain))

        def run(_: object, rungs: list[Rung], *__: object) -> Iterator[tuple[Rung, Record]]:
            seen.append(" ".join(rung.after for rung in rungs))
            yield from ()

        monkeypatch.setattr(ladder, "climb", run)
        days = ("--since", "2026-01-01", "--part", part)
        CliRunner().invoke(ladder_command, days, catch_exceptions=False)
    assert seen == ["1.1 1.2 1.3", "1.3 1.4 1.5", "1.5 1.6 1.7 1.8"]


def test_what_another_machine_climbed_is_added_and_told(climb: Climb, tmp_path: Path) -> None:
    title = {"id": "a", "severity": "broken", "title": "DPO raises `Error`", "fields": ["align"]}
    theirs = releases.Rung(day="2026-01-03", package="trl", before="1.1", after="1.2", findings=(title,))
    quiet = releases.Rung(day="2026-01-04", package="trl", before="1.2", after="1.3")
    for name, rung in (("one", theirs), ("two", quiet)):
        (tmp_path / "theirs" / name).mkdir(parents=True)
        releases.write(tmp_path / "theirs" / name, [rung])
    news = tmp_path / "news.md"
    options = ("--merge", str(tmp_path / "theirs"), "--news", str(news))
    assert climb(options=options).return_value == 0
    assert [rung.after for rung in releases.read(tmp_path / "data")] == ["1.2", "1.3"]
    told = "2 new releases; 1 changed nothing that the measures see. trl 1.2: breaks: DPO raises"
    assert news.read_text().startswith(told)
    assert "## trl 1.2" in (tmp_path / "changelog.md").read_text()
    climb(options=options)
    assert news.read_text() == "No new releases.\n"


def test_a_known_change_in_which_nothing_moved_is_an_error(
    climb: Climb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = 'schema = 1\n[[change]]\nid = "mine"\nfields = ["*.loss"]\npackage = "trl"\n'
    (tmp_path / "known-changes.toml").write_text(f'{entry}since = "1.2"\ncause = "a mean"\n')
    (tmp_path / "matrix.toml").write_text((ROOT / "constraints" / "matrix.toml").read_text())
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    steps = [("1.0", climbed(2.0, "1.0")), ("1.1", climbed(3.0, "1.1")), ("1.2", climbed(3.0, "1.2"))]
    result = climb(*steps)
    assert result.return_value == 1
    assert "mine: trl 1.2 moved none of its fields; these fields moved in:" in result.stderr


def test_predictions_are_scored_over_recorded_cells(
    climb: Climb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    names = dict.fromkeys(PACKAGES, "1")
    for cell, trl, loss in (("trl-1.0", "1.0", 2.0), ("trl-1.6", "1.1", 3.0), ("trl-1.12", "1.2", 4.0)):
        record = climbed(loss, trl)
        environment = {"packages": {**names, "trl": trl}}
        model = {"name": "tiny-gpt2"}
        Store(model="tiny-gpt2").save(replace(record, cell=cell, environment=environment, model=model))
    finding = {"id": "a", "severity": "training", "title": "another loss", "fields": [LOSS]}
    change = {LOSS: (2.0, 3.0)}
    rung = releases.Rung(
        day="2026-01-03", package="trl", before="1.0", after="1.1", changes=change, findings=(finding,)
    )
    other = {**finding, "fields": ["other"]}
    wrong = replace(rung, after="1.2", before="1.1", changes={"other": (1, 2)}, findings=(other,))
    releases.write(tmp_path / "data", [rung, wrong])
    lines = climb(options=("--score",)).stdout.splitlines()
    counts = {line.split("  ")[0]: line.split()[3:] for line in lines[1:4]}
    assert counts["trl-1.0 -> trl-1.6"] == ["1", "1", "1", "1"]
    assert lines[-1] == "3 pairs count: 50% of the predictions held, 67% of the findings were foreseen"


def test_a_job_writes_only_what_it_climbed(climb: Climb, tmp_path: Path) -> None:
    known = releases.Rung(day="2025-12-01", package="trl", before="0.8", after="0.9")
    releases.write(tmp_path / "data", [known])
    steps = [("1.0", climbed(2.0, "1.0")), ("1.1", climbed(3.0, "1.1"))]
    climb(*steps, options=("--since", "2026-01-01", "--output", str(tmp_path / "out")))
    assert [rung.after for rung in releases.read(tmp_path / "out")] == ["1.1"]
    assert [rung.after for rung in releases.read(tmp_path / "data")] == ["0.9"]
