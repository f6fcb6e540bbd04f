"""What Python files use of the stack: imports, names, calls and their arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.code import uses
from tunematrix.code.reader import EXTENDED as EXTENDED_FIELD
from tunematrix.code.reader import GUARDED, SHARED
from tunematrix.code.scopes import OTHER_MEANING

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


def doubts(code: str, tmp_path: Path) -> dict[int, str]:
    """By line of a ``max_prompt_length``, the doubt about it; lines of other code's are not there."""
    (tmp_path / "a.py").write_text(code)
    return {use.line: use.doubt for use in uses.read(tmp_path).uses if use.argument == "max_prompt_length"}


@pytest.mark.parametrize(
    "code",
    [
        "class DPOConfig: ...\nDPOConfig(max_prompt_length=1)\n",
        "def DPOConfig(**k): ...\nDPOConfig(max_prompt_length=1)\n",
        "from mine import DPOConfig\nDPOConfig(max_prompt_length=1)\n",
        "from .mine import DPOConfig\nDPOConfig(max_prompt_length=1)\n",
        "def f(DPOConfig): return DPOConfig(max_prompt_length=1)\n",
        "def f(*, DPOConfig): return DPOConfig(max_prompt_length=1)\n",
        "f = lambda DPOConfig: DPOConfig(max_prompt_length=1)\n",
        "[DPOConfig(max_prompt_length=1) for DPOConfig in mine]\n",
        "def f():\n    k = dict(max_prompt_length=1)\n    g(**k)\ndef h(**k): DPOConfig(**k)\n",
        "def f():\n    DPOConfig = mine\n    DPOConfig(max_prompt_length=1)\n",
    ],
)
def test_names_that_stand_for_something_else_are_no_use(code: str, tmp_path: Path) -> None:
    assert doubts(f"from trl import DPOConfig\n{code}", tmp_path) == {}


@pytest.mark.parametrize(
    "code",
    [
        "DPOConfig(max_prompt_length=1)\n",
        "def f(): return DPOConfig(max_prompt_length=1)\n",
        "class A:\n    DPOConfig = 1\n    def f(self): return DPOConfig(max_prompt_length=1)\n",
        "def f(**k): return DPOConfig(max_prompt_length=1, **k)\n",
        "DPOConfig(**dict(max_prompt_length=1))\n",
        "config = DPOConfig if mine else None\nDPOConfig(max_prompt_length=1)\n",
    ],
)
def test_plain_uses_are_certain(code: str, tmp_path: Path) -> None:
    assert list(doubts(f"from trl import DPOConfig\n{code}", tmp_path).values()) == [""]


@pytest.mark.parametrize(
    ("code", "doubt"),
    [
        ("import trl\nif Version(trl.__version__) < V:\n    DPOConfig(max_prompt_length=1)\n", GUARDED),
        ("old = version.parse(v) < V\nif old:\n    DPOConfig(max_prompt_length=1)\n", GUARDED),
        ("def f():\n    if is_new_version(): return 1\n    DPOConfig(max_prompt_length=1)\n", GUARDED),
        ("try:\n    DPOConfig(max_prompt_length=1)\nexcept TypeError: ...\n", GUARDED),
        ("DPOConfig(max_prompt_length=1) if trl_version < 2 else DPOConfig()\n", GUARDED),
        ("k = dict(max_prompt_length=1)\nDPOConfig(**k)\ng(**k)\n", SHARED),
        ("DPOConfig(**{'max_prompt_length': 1})\n", SHARED),
        ("if mine:\n    class DPOConfig: ...\nDPOConfig(max_prompt_length=1)\n", OTHER_MEANING),
    ],
)
def test_what_must_not_be_edited_unseen_has_its_reason(code: str, doubt: str, tmp_path: Path) -> None:
    assert list(doubts(f"from trl import DPOConfig\n{code}", tmp_path).values()) == [doubt]


def test_names_of_an_import_of_all_are_uses(tmp_path: Path) -> None:
    found = names("from trl import *\nDPOConfig(beta=1)\nprint(DPOConfig)\nlen(x=1)\n", tmp_path)
    assert (2, "trl.DPOConfig", "beta") in found
    assert not any("print" in name or "len" in name for _, name, _ in found)
    assert list(doubts("from trl import *\nDPOConfig(max_prompt_length=1)\n", tmp_path).values()) == [""]


def test_a_parser_makes_an_object_of_each_of_its_classes(tmp_path: Path) -> None:
    code = "from trl import *\nfrom transformers import HfArgumentParser as P, TrainingArguments as T\n"
    code += "TrlParser((Mine, DPOConfig))\nP(T)\nP(dataclass_types=[ModelConfig])\n"
    (tmp_path / "a.py").write_text(code)
    made = {(use.line, use.name) for use in uses.read(tmp_path).uses if use.called}
    assert {(3, "trl.DPOConfig"), (4, "transformers.TrainingArguments"), (5, "trl.ModelConfig")} <= made


def test_attributes_of_an_object_are_known_in_all_its_methods(tmp_path: Path) -> None:
    code = "from trl import SFTTrainer\nclass A:\n  def a(self):\n    self.t: object = SFTTrainer()\n"
    code += "  def b(self): self.t.train(x=1)\nclass B:\n  def b(self): self.t.train(y=1)\n"
    found = names(code, tmp_path)
    assert (5, "trl.SFTTrainer.train", "x") in found
    assert not any(argument == "y" for _, _, argument in found)


@pytest.mark.parametrize("code", ["x = " + "-" * 100_000 + "1\n", "x = " + "1+" * 20_000 + "1\n"])
def test_a_file_that_is_too_deep_is_told(code: str, tmp_path: Path) -> None:
    """It once ended the scan with a traceback."""
    (tmp_path / "a.py").write_text(code)
    assert len(uses.read(tmp_path).unreadable) == 1


EXTENDED = """\
from dataclasses import dataclass
from trl import DPOConfig, DPOTrainer, TrlParser
@dataclass
class Ours(DPOConfig):
    project: str = "x"
    beta: float = 0.2
Ours(output_dir="x", project="y", rpo_alpha=1.0)
class Trainer(DPOTrainer):
    def __init__(self, *args, loss="x", **more):
        super().__init__(*args, **more)
Trainer(None, loss="y", tokenizer=None).train()
TrlParser((Ours,)).parse_args_and_config()
"""


def test_a_class_that_extends_one_of_the_stack_takes_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(EXTENDED)
    found = uses.read(tmp_path).uses
    assert {(use.line, use.name, use.argument) for use in found if use.argument} == {
        (5, "trl.DPOConfig", "project"),
        (6, "trl.DPOConfig", "beta"),
        (7, "trl.DPOConfig", "output_dir"),
        (7, "trl.DPOConfig", "rpo_alpha"),
        (11, "trl.DPOTrainer", "tokenizer"),
    }
    assert {(use.line, use.doubt) for use in found if use.argument in ("beta", "rpo_alpha")} == {
        (6, EXTENDED_FIELD),
        (7, ""),
    }
    config = [use for use in found if use.name == "trl.DPOConfig" and use.called]
    assert {use.call for use in config} == {(4, 0)}, "an object of the class is one call, wherever it is made"
    assert (11, "trl.DPOTrainer.train", "") in {(use.line, use.name, use.argument) for use in found}


TEAM = {
    "src/team/__init__.py": "",
    "src/team/stack.py": "try:\n    from trl import DPOTrainer, SFTConfig\nexcept ImportError:\n    pass\n",
    "src/team/config.py": "from .stack import SFTConfig\nclass Ours(SFTConfig):\n    project: str = 'x'\n",
    "src/team/all.py": "from team.config import *\n",
    "other/config.py": "from peft import LoraConfig as Ours\n",
    "train.py": "from team.all import Ours\nOurs(output_dir='x', project='y', max_seq_length=3)\n",
    "other/train.py": "from config import Ours\nOurs(r=8)\n",
    "tool.py": "import team.stack as stack\nstack.DPOTrainer(tokenizer=None)\n",
    "src/team/run.py": "from . import stack\nstack.DPOTrainer(args=None)\n",
    "plain.py": "from json import Ours\nfrom nowhere import DPOTrainer\nOurs(a=1)\nDPOTrainer(b=2)\n",
}


def test_what_another_file_offers_of_the_stack_is_followed(tmp_path: Path) -> None:
    for name, text in TEAM.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    found = uses.read(tmp_path).uses

    assert {(use.place, use.name, use.argument) for use in found if use.argument} == {
        ("src/team/config.py:3", "trl.SFTConfig", "project"),
        ("train.py:2", "trl.SFTConfig", "output_dir"),
        ("train.py:2", "trl.SFTConfig", "max_seq_length"),
        ("other/train.py:2", "peft.LoraConfig", "r"),  # the nearest
        ("tool.py:2", "trl.DPOTrainer", "tokenizer"),
        ("src/team/run.py:2", "trl.DPOTrainer", "args"),
    }
    assert "plain.py" not in {use.file for use in found}
