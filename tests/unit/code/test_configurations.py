"""Options of training in YAML, JSON and commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.code import configurations, uses

TRAINING = "output_dir: out\nlearning_rate: 1.0e-4\n"
PARSED = "from trl import KTOConfig, TrlParser\nTrlParser(KTOConfig).parse_args_and_config()\n"


def found(tmp_path: Path, **files: str) -> set[tuple[str, int, str, str]]:
    """File, line, class and argument of each use in what is no Python; ``__`` in a name stands for a dot."""
    for name, text in files.items():
        (tmp_path / name.replace("__", ".")).write_text(text)
    code = uses.read(tmp_path).uses
    return {
        (use.file, use.line, use.name.removeprefix("trl."), use.argument)
        for use in code
        if not use.file.endswith(".py") and use.argument not in ("output_dir", "learning_rate")
    }


def test_a_configuration_of_trl_is_code_too(tmp_path: Path) -> None:
    (tmp_path / "dpo.yaml").write_text("# pairs\nbeta: 0.1\nmax_prompt_length : 8\nlist:\n  - inner: 1\n")
    found = list(configurations.of_trl(tmp_path / "dpo.yaml", "dpo", tmp_path))
    assert [(use.line, use.argument) for use in found[1:]] == [
        (2, "beta"),
        (3, "max_prompt_length"),
        (4, "list"),
    ]
    assert {use.name for use in found} == {"trl.DPOConfig"}
    assert {use.name for use in configurations.of_trl(tmp_path / "dpo.yaml", "reward", tmp_path)} == {
        "trl.RewardConfig"
    }


def test_the_name_of_a_file_tells_its_class(tmp_path: Path) -> None:
    assert found(tmp_path, my_dpo__yaml=f"{TRAINING}max_prompt_length: 8\n") == {
        ("my_dpo.yaml", 3, "DPOConfig", "max_prompt_length")
    }


def test_else_the_classes_of_the_parser_are_those_of_a_configuration(tmp_path: Path) -> None:
    content = '{"output_dir": "x",\n "learning_rate": 1,\n "warmup_ratio": 0.1}'
    assert found(tmp_path, train__py=PARSED, run__json=content) == {
        ("run.json", 3, "KTOConfig", "warmup_ratio")
    }


def test_without_a_parser_it_has_the_options_that_all_have(tmp_path: Path) -> None:
    assert found(tmp_path, run__yml=f"{TRAINING}warmup_ratio: 0.1\n") == {
        ("run.yml", 3, "Config", "warmup_ratio")
    }


@pytest.mark.parametrize(
    "text", ["learning_rate: 1\nwarmup_ratio: 0.1\n", "a:\n  output_dir: x\n  learning_rate: 1\n", "\0\xff"]
)
def test_other_files_are_no_configurations(text: str, tmp_path: Path) -> None:
    assert not found(tmp_path, train__py="import trl", run__yaml=text)


def test_flags_are_options_where_a_parser_reads_them(tmp_path: Path) -> None:
    command = "python train.py \\\n --output_dir x --learning-rate 1 \\\n --warmup-ratio=0.1 -x --no\n"
    assert not found(tmp_path, train__py="import argparse, trl", run__sh=command), "flags of their own"
    assert found(tmp_path, train__py=PARSED, run__sh=command, Makefile=command) == {
        (file, 3, "KTOConfig", option) for file in ("run.sh", "Makefile") for option in ("warmup_ratio", "no")
    }


def test_a_folder_may_hold_configurations_alone(tmp_path: Path) -> None:
    assert found(tmp_path, sft__yaml=f"{TRAINING}packing: true\n") == {
        ("sft.yaml", 3, "SFTConfig", "packing")
    }
