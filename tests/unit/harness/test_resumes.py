"""Resumed runs: in which state of the files they start, and whether they went on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tunematrix.harness import resumes


def write(folder: Path, *names: str, time: int) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
        os.utime(folder / name, (time, time))


def test_the_files_are_as_they_were_at_the_checkpoint(tmp_path: Path) -> None:
    before, out, target = (tmp_path / name for name in ("before", "out", "target"))
    write(before, "earlier/model", time=1)
    write(out, "earlier/model", "sft/args", "prepared/rows", "sft/checkpoint-1/w", time=2)
    write(out, "sft/checkpoint-2/w", time=2)  # within the same tick of the clock
    write(out, "sft/model", "done", time=3)
    resumes.copy_until([out / "sft/checkpoint-1"], before, out, target)
    files = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert files == ["earlier/model", "prepared/rows", "sft/args", "sft/checkpoint-1/w"]
    assert not (target / "sft/checkpoint-2").exists()


def test_the_first_checkpoint_of_the_stage_is_where_it_goes_on(tmp_path: Path) -> None:
    before, out = tmp_path / "before", tmp_path / "out"
    write(before, "sft/checkpoint-1/w", time=1)
    write(out, "sft/checkpoint-1/w", "dpo/checkpoint-10/w", "dpo/checkpoint-9/w", "dpo/w", time=1)
    nine = [out / "dpo/checkpoint-9"]
    assert resumes.first_checkpoints([], before, out) == nine
    assert resumes.first_checkpoints([out / "dpo"], before, out) == nine
    assert resumes.first_checkpoints([out / "sft", out / "dpo/checkpoint-9"], before, out) == nine
    assert resumes.first_checkpoints([out / "x/checkpoint-1"], before, out) == [out / "x/checkpoint-1"]
    assert resumes.first_checkpoints([], out, out) == []


def ran(begin: int = 0, trained: int = 2, batches: int = 0, **more: Any) -> dict[str, Any]:
    return {"trainings_ended": 1, "began_at": begin, "steps_trained": trained, "batch_count": batches, **more}


@pytest.mark.parametrize(
    ("whole", "resumed", "said"),
    [
        (ran(), ran(1, 1), ""),
        ({"trainings_ended": 0}, {"trainings_ended": 0}, ""),
        (ran(), {"trainings_ended": 0}, "no Trainer trained in it"),
        (ran(), ran(2, 0), "it did not go on from the checkpoint of step 1: it began at step 2"),
        (ran(), ran(0, 2), "it did not go on from the checkpoint of step 1: it began at step 0"),
        (ran(), ran(1, 0), "it trained nothing, since its checkpoint is the end of the run"),
        (ran(batches=70), ran(1, 69, batches=70), "it trained on all 70 batches again"),
        (ran(), {**ran(0, 2), "trainer_2.began_at": 1, "trainer_2.steps_trained": 1}, ""),
    ],
)
def test_a_run_that_did_not_go_on_says_why(whole: dict[str, Any], resumed: dict[str, Any], said: str) -> None:
    found = "; ".join(resumes.not_continued(whole, resumed, [1]))
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("whole", "resumed", "said"),
    [
        (["a", "b", "c"], ["b", "c"], ""),
        (["a", "b", "c"], ["a", "b"], "data order: ['b', 'c'] became ['a', 'b']"),
        (["a", "b"], [], ""),
        ([], [], ""),
    ],
)
def test_a_resumed_run_sees_the_last_batches(whole: list[str], resumed: list[str], said: str) -> None:
    assert resumes.batch_differences({"batches": whole}, {"batches": resumed}) == ([said] if said else [])


def test_of_many_batches_the_last_are_compared() -> None:
    whole = {"batches": ["a"] * 64, "last_batches": ["b"] * 64}
    assert resumes.batch_differences(whole, {"batches": ["b"] * 9}) == []
    assert resumes.batch_differences(whole, {"batches": ["a"] * 64, "last_batches": ["b"] * 64}) == []
    assert resumes.batch_differences(whole, {"batches": ["a"] * 9})
