"""Command lines that people type: which of them train, and how they start in one process."""

from __future__ import annotations

import pytest

from tunematrix.code.commands import Start, is_open, starts

FILES = ("train.py", "src/team/dpo.py")


def started(text: str) -> list[tuple[str, str]]:
    return [(" ".join(each.words), " ".join(each.given)) for each in starts(text, FILES, ("", "src"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python train.py --x 1", ("python train.py", "--x 1")),
        ("./train.py a 'b c'", ("python train.py", "a b c")),
        ("WANDB_MODE=offline python3.11 -u train.py", ("WANDB_MODE=offline python train.py", "")),
        ("uv run train.py --x", ("python train.py", "--x")),
        ("poetry run python ./train.py", ("python train.py", "")),
        ("accelerate launch --num_processes 8 train.py --x", ("python train.py", "--x")),
        ("python -m torch.distributed.run train.py", ("python train.py", "")),
        ("torchrun --nproc_per_node 2 -m team.dpo --y", ("python -m team.dpo", "--y")),
        ("python -m team.dpo --y", ("python -m team.dpo", "--y")),
        ("uvx trl sft --config a.yaml", ("trl sft", "--config a.yaml")),
        ("mkdir -p out && python train.py --x >log 2>&1 | tee log", ("python train.py", "--x")),
        ("nohup python train.py 2>&1 &", ("python train.py", "")),
    ],
)
def test_a_command_that_trains_starts_in_one_process(text: str, expected: tuple[str, str]) -> None:
    assert started(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "ruff check train.py", "uv run ruff check train.py", "python -m pytest train.py", "cp train.py x",
        "python other.py train.txt", "trl env", "python 'train.py", "echo trains", "",
    ],
)  # fmt: skip
def test_one_that_does_not_is_none(text: str) -> None:
    assert started(text) == []


def test_several_in_a_line_and_the_folder_that_a_line_enters() -> None:
    first, second = starts("python train.py; cd src && python -m team.dpo", FILES, ("", "src"))
    assert (first.program, first.elsewhere) == ("train.py", False)
    assert (second.program, second.elsewhere) == ("src/team/dpo.py", True)
    [launched] = starts("torchrun train.py", FILES)
    assert launched == Start(program="train.py", words=("python", "train.py"), given=(), launcher="torchrun")


def test_what_is_open_before_a_command_runs() -> None:
    assert all(is_open(word) for word in ("$HOME", "`date`", "{{x}}", "{x}"))
    assert not any(is_open(word) for word in ("{model}", "{out}/a", '{"a": 1}'))
