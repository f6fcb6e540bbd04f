"""A record of scripts counts as far as ``workload.toml`` still lists them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tunematrix.base.record import Failure, Record, Result, from_dict, to_dict
from tunematrix.run import outdated, workload
from tunematrix.run.options import Options
from tunematrix.run.outdated import Current, Reader

FILE = """\
[[stage]]
name = "sft"
run = "python sft.py --output {out}/sft"
resume = "--resume {out}/sft/checkpoint-1"
[[stage]]
name = "dpo"
after = ["sft"]
run = "python dpo.py"
[[stage]]
name = "other"
run = "python other.py"
"""
NAMES = ("import", "sft", "sft-resume", "dpo", "other")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workload.toml").write_text(FILE)
    (tmp_path / "sft.py").touch()
    return tmp_path


def record(**errors: str) -> Record:
    options = Options(workload=Path("workload.toml"))
    stages = [
        Result(name=name, outcome="failed", error=Failure(type="E", message=errors[name]))
        if name in errors
        else Result(name=name, outcome="passed")
        for name in NAMES
    ]
    return Record(
        cell="ours",
        outcome="failed" if errors else "passed",
        started="2026-01-01T10:00:00Z",
        stages=tuple(stages),
        fingerprint={f"{name}.loss": 1.0 for name in NAMES},
        options={"workload": workload.digest_of(options), "stages": " ".join(NAMES)},
        workload=outdated.described(options),
    )


def edited(folder: Path, before: str, after: str, was: Record | None = None) -> Current:
    """What is left of a record after an edit of the file."""
    was = was or record()
    assert before in FILE
    (folder / "workload.toml").write_text(FILE.replace(before, after))
    return Reader().current(was)


def outcomes(current: Current) -> dict[str, str]:
    return {stage.name: stage.outcome for stage in current.record.stages}


def test_nothing_is_outdated_without_an_edit(folder: Path) -> None:
    was = record()
    assert Reader().current(was) == Current(record=was)
    assert edited(folder, "python dpo.py", "python  dpo.py  # x").changed == ("dpo",), "a command is a text"


def test_a_stage_that_is_gone_is_gone_with_its_failure_and_its_numbers(folder: Path) -> None:
    current = edited(folder, FILE[FILE.index('[[stage]]\nname = "other"') :], "", record(other="boom"))
    assert (current.gone, current.new, current.changed) == (("other",), (), ())
    assert current.record.outcome == "passed"
    assert list(outcomes(current)) == ["import", "sft", "sft-resume", "dpo"]
    assert current.record.stage_names == ("import", "sft", "sft-resume", "dpo")
    assert "other.loss" not in current.record.fingerprint
    (line,) = outdated.describe(current, "a day", "ours")
    assert line == "workload.toml has changed since the record of a day: left out, gone: other"


def test_a_stage_with_another_command_has_not_run_and_nor_has_what_starts_from_it(folder: Path) -> None:
    current = edited(folder, "python sft.py", "python sft.py --lr 1")
    assert current.changed == ("sft", "sft-resume", "dpo")
    assert set(outcomes(current).values()) == {"passed", "not_run"}
    assert outcomes(current)["other"] == "passed"
    assert sorted(current.record.fingerprint) == ["import.loss", "other.loss"]
    (line,) = outdated.describe(current, "a day", "ours")
    assert "other command: sft, sft-resume, dpo; run the cell again: nox -s 'e2e(ours)'" in line


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("--resume {out}", "--restart {out}", ("sft-resume",)),
        ('run = "python other.py"', 'run = "python other.py"\nenv = { A = "1" }', ("other",)),
        ('run = "python other.py"', 'run = "python other.py"\nseconds = 9', ()),
        ('name = "other"', 'name = "other"\nafter = ["dpo"]', ("other",)),
    ],
)
def test_what_decides_over_a_result(before: str, after: str, changed: tuple[str, ...], folder: Path) -> None:
    assert edited(folder, before, after).changed == changed


def test_a_renamed_stage_is_a_new_one(folder: Path) -> None:
    current = edited(folder, 'name = "other"', 'name = "last"')
    assert (current.gone, current.new) == (("other",), ("last",))
    assert outcomes(current)["last"] == "not_run"


def test_other_files_that_the_scripts_read_are_told_and_results_stay(folder: Path) -> None:
    was = record()
    (folder / "sft.py").write_text("import trl")
    current = Reader().current(was)
    assert (current.record, current.files) == (was, True)
    (line,) = outdated.describe(current, "a day", "ours")
    assert line.startswith("files that the scripts may read have changed since the record of a day; run")


@pytest.mark.parametrize("text", ["", "no toml", '[[stage]]\nname = "import"\nrun = "x"\n'])
def test_a_file_that_is_gone_or_wrong_hides_no_result(text: str, folder: Path) -> None:
    was = record()
    path = folder / "workload.toml"
    path.write_text(text) if text else path.unlink()
    current = Reader().current(was)
    assert current.record == was
    (line,) = outdated.describe(current, "a day", "ours")
    assert "nobody can tell" in line
    assert "workload.toml" in line


def test_other_work_is_never_outdated_and_the_file_is_in_the_record(folder: Path) -> None:
    was = record()
    assert from_dict(to_dict(was)).workload == was.workload
    assert was.workload["file"] == "workload.toml"
    (folder / "workload.toml").unlink()
    plain = replace(was, workload={})
    assert Reader().current(plain) == Current(record=plain)
    assert outdated.described(Options(command="python sft.py")) == {}
    assert len({*was.workload["stages"].values(), hashlib.sha256().hexdigest()}) == 5
