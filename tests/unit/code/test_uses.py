"""What Python files use of the stack: imports, names, calls and their arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.code import uses

CODE = """\
import trl
import transformers as tf
from trl import DPOConfig as Config, SFTTrainer
from peft import get_peft_model
import numpy

MORE = {"max_prompt_length": 8}
config = Config(
    beta=0.1,
    **MORE,
)
trainer = SFTTrainer(model=None, args=config)
trainer.train(resume_from_checkpoint=True)
model = get_peft_model(tf.AutoModelForCausalLM.from_pretrained("x", torch_dtype=None))
model.merge_and_unload()
numpy.zeros(shape=3)
trl.setup_chat_format(model, None)
Config(**dict(label_pad_token_id=1))
"""


def names(code: str, tmp_path: Path) -> set[tuple[int, str, str]]:
    (tmp_path / "a.py").write_text(code)
    return {(use.line, use.name, use.argument) for use in uses.read(tmp_path).uses}


def test_every_use_has_its_line_and_its_whole_name(tmp_path: Path) -> None:
    found = names(CODE, tmp_path)
    assert {
        (3, "trl.DPOConfig", ""),
        (9, "trl.DPOConfig", "beta"),
        (7, "trl.DPOConfig", "max_prompt_length"),  # where it is written
        (12, "trl.SFTTrainer", "args"),
        (13, "trl.SFTTrainer.train", "resume_from_checkpoint"),
        (14, "transformers.AutoModelForCausalLM.from_pretrained", "torch_dtype"),
        (15, "peft.PeftModel.merge_and_unload", ""),
        (17, "trl.setup_chat_format", ""),
        (18, "trl.DPOConfig", "label_pad_token_id"),
    } <= found
    assert not any("numpy" in name for _, name, _ in found)


@pytest.mark.parametrize(
    "code", ["def f(:", "\0", "x = " + "(" * 3000, "\xff".encode("utf-16").decode("latin-1")]
)
def test_a_file_that_is_no_python_is_told_and_the_rest_read(code: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_bytes(code.encode("latin-1"))
    (tmp_path / "good.py").write_text("from trl import DPOConfig\n")
    found = uses.read(tmp_path)
    assert [use.name for use in found.uses] == ["trl.DPOConfig"]
    assert found.files == 2
    assert [line.partition(":")[0] for line in found.unreadable] == ["bad.py"]


def test_environments_and_caches_are_not_read(tmp_path: Path) -> None:
    for folder in (".venv", "node_modules", "mine", "env"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("import trl\n")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    assert [use.file for use in uses.read(tmp_path).uses] == ["mine/a.py"]


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Python file"):
        uses.read(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        uses.read(tmp_path / "none")


def test_a_configuration_of_trl_is_code_too(tmp_path: Path) -> None:
    (tmp_path / "dpo.yaml").write_text("# pairs\nbeta: 0.1\nmax_prompt_length : 8\nlist:\n  - inner: 1\n")
    found = list(uses.of_yaml(tmp_path / "dpo.yaml", "dpo", tmp_path))
    assert [(use.line, use.argument) for use in found[1:]] == [
        (2, "beta"),
        (3, "max_prompt_length"),
        (4, "list"),
    ]
    assert {use.name for use in found} == {"trl.DPOConfig"}
    assert {use.name for use in uses.of_yaml(tmp_path / "dpo.yaml", "reward", tmp_path)} == {
        "trl.RewardConfig"
    }
