"""Training scripts of a repository become stages: found by their trainer, started by their own options."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from tunematrix.code import training

TEAM = Path(__file__).parents[2] / "data" / "team"


def test_a_real_repository_becomes_a_workload_that_can_run() -> None:
    sft, dpo = training.find(TEAM).stages
    assert (sft.name, sft.after, sft.open) == ("sft", "", ())
    assert sft.run == "python train_sft.py --model {model} --output {out}/sft --max_steps 2 --save_steps 1"
    assert sft.resume == "--resume_from_checkpoint {out}/sft/checkpoint-1"
    assert (dpo.name, dpo.after) == ("dpo", "sft")
    assert "--adapter {out}/sft --output {out}/dpo" in dpo.run
    content = tomllib.loads(training.to_toml([sft, dpo], TEAM))
    assert [stage["name"] for stage in content["stage"]] == ["sft", "dpo"]
    assert content["stage"][1]["after"] == ["sft"]
    assert content["stage"][0]["keep"] == ["{out}/sft"]


def write(folder: Path, name: str, arguments: str, trainer: str = "SFTTrainer") -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(
        f"import argparse\nfrom trl import {trainer}\np = argparse.ArgumentParser()\n{arguments}\n"
        f"if __name__ == '__main__':\n    {trainer}(model=None).train()\n"
    )


def test_what_is_required_and_not_found_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").touch()
    (tmp_path / "data" / "pairs.jsonl").touch()
    options = ["data", "-o", "--output", "--wandb-project", "--model-name"]
    lines = [
        f"p.add_argument('{options[0]}')",
        f"p.add_argument('{options[1]}', '{options[2]}', required=True)",
        f"p.add_argument('{options[3]}', required=True)",
        f"p.add_argument('{options[4]}')",
        "p.add_argument('--seed', type=int)",
    ]
    write(tmp_path, "dpo.py", "\n".join(lines), "DPOTrainer")
    [stage] = training.find(tmp_path).stages
    assert stage.run == "python dpo.py data/pairs.jsonl --output {out}/dpo --model-name {model}"
    assert stage.open == ("--wandb-project",)
    assert not stage.resume
    assert "# still to give: --wandb-project" in training.to_toml([stage], tmp_path)


PARSED = """\
from dataclasses import dataclass, field
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer, ModelConfig, TrlParser
@dataclass
class Data:
    data: str
    project: str = field(metadata={"help": "x"})
    cut: int = field(default=3)
    fast: bool = True
if __name__ == "__main__":
    config, model, data = TrlParser((DPOConfig, ModelConfig, Data)).parse_args_and_config()
    DPOTrainer(model.model_name_or_path, args=config).train(config.resume_from_checkpoint)
"""


def test_the_options_of_a_parser_of_the_stack_are_those_of_its_classes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/pairs.jsonl").touch()
    (tmp_path / "dpo.py").write_text(PARSED)
    [stage] = training.find(tmp_path).stages
    assert stage.run == (
        "python dpo.py --model_name_or_path {model} --output_dir {out}/dpo --max_steps 2 --save_steps 1 "
        "--data data/pairs.jsonl"
    )
    assert stage.resume == "--resume_from_checkpoint {out}/dpo/checkpoint-1"
    assert stage.open == ("--project",)
    (tmp_path / "dpo.py").write_text(PARSED.replace(".resume_from_checkpoint", ".fp16"))
    [stage] = training.find(tmp_path).stages
    assert not stage.resume


def test_scripts_are_told_apart_and_modules_and_tests_are_none(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "")
    write(tmp_path, "b_two.py", "")
    write(tmp_path, "tests/c.py", "")
    (tmp_path / "lib.py").write_text("from trl import SFTTrainer\ndef f():\n    return SFTTrainer()\n")
    (tmp_path / "bad.py").write_text("def (")
    assert [stage.name for stage in training.find(tmp_path).stages] == ["sft", "sft-b-two"]


def test_the_model_is_a_tiny_one_of_the_architecture_that_the_script_uses(tmp_path: Path) -> None:
    write(tmp_path, "sft.py", "p.add_argument('--model', default='./models/qwen')")
    [stage] = training.find(tmp_path).stages
    assert "model" not in tomllib.loads(training.to_toml([stage], tmp_path))
    (tmp_path / "models/qwen").mkdir(parents=True)
    (tmp_path / "models/qwen/config.json").touch()
    assert tomllib.loads(training.to_toml([stage], tmp_path))["model"] == "tiny:./models/qwen"

    write(tmp_path, "sft.py", "p.add_argument('--model', default='Qwen/Qwen3-8B')")
    [stage] = training.find(tmp_path).stages
    text = training.to_toml([stage], tmp_path)
    assert '\n# model = "tiny:Qwen/Qwen3-8B"\n' in text
    assert "model" not in tomllib.loads(text)


MAKEFILE = """\
MODEL = org/big
all: sft dpo
sft:
\taccelerate launch --num_processes 8 train_sft.py --model $(MODEL) --data data/chat.jsonl \\
\t  --output=out/sft --max_steps 5000 --seed 7
again:
\tpython train_sft.py --model org/other --data data/chat.jsonl --output=out/again --max_steps 9 --seed 7
dpo: sft
\tpython train_dpo.py --adapter out/sft/checkpoint-5000 --output out/dpo --beta $(BETA)
"""


def test_what_a_makefile_starts_keeps_its_options_and_is_cut_to_two_steps(tmp_path: Path) -> None:
    shutil.copytree(TEAM, tmp_path, dirs_exist_ok=True)
    (tmp_path / "Makefile").write_text(MAKEFILE.replace("$(BETA)", "0.1"))
    found = training.find(tmp_path)
    sft, dpo = found.stages
    assert sft.run == (
        "python train_sft.py --model {model} --data data/chat.jsonl --output={out}/sft --max_steps 2 "
        "--seed 7 --save_steps 1"
    )
    assert sft.resume == "--resume_from_checkpoint {out}/sft/checkpoint-1"
    assert sft.model == "org/big"
    assert (dpo.name, dpo.after) == ("dpo", "sft")
    assert "--adapter {out}/sft/checkpoint-2 --output {out}/dpo --beta 0.1" in dpo.run
    assert found.notes == ("Makefile:4 (sft): started without accelerate: a stage is one process on a CPU",)


def test_a_command_with_an_unknown_variable_is_told_and_the_script_starts_by_its_own_options(
    tmp_path: Path,
) -> None:
    shutil.copytree(TEAM, tmp_path, dirs_exist_ok=True)
    (tmp_path / "Makefile").write_text(MAKEFILE)
    found = training.find(tmp_path)
    assert (
        "Makefile:9 (dpo): not used, since the file gives no value to $(BETA); see the stage in workload.toml"
        in found.notes
    )
    assert found.stages[1].run.endswith("--adapter {out}/sft --output {out}/dpo --max_steps 2 --save_steps 1")
    (tmp_path / "Makefile").write_text(
        "t:\n\tpython train_sft.py --model $(M) --output $(O) --max_steps $(N)\n"
    )
    found = training.find(tmp_path)
    assert not found.notes  # none of these is left in the stage
    assert "--model {model} --output {out}/sft --max_steps 2" in found.stages[0].run


def test_commands_of_trl_are_programs_too(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("a:\n\ttrl sft --config sft.yaml\nb:\n\ttrl sft --config big.yaml\n")
    first, second = training.find(tmp_path).stages
    assert first.run == (
        "trl sft --config sft.yaml --model_name_or_path {model} --output_dir {out}/sft --max_steps 2 "
        "--save_steps 1"
    )
    assert first.resume == "--resume_from_checkpoint {out}/sft/checkpoint-1"
    assert (second.name, "--config big.yaml" in second.run) == ("sft-b", True)


def test_a_makefile_that_is_no_text_stops_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "")
    (tmp_path / "Makefile").write_bytes(b"\xff\xfe\x00")
    found = training.find(tmp_path)
    assert [stage.name for stage in found.stages] == ["sft"]
    assert found.notes == ("Makefile: UTF-16; save it as UTF-8; its commands are not taken",)
