"""Which changes a team's code meets: names, arguments, and defaults that it does not set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunematrix.code import uses
from tunematrix.code.edits import Edit
from tunematrix.verdict import usage
from tunematrix.verdict.diff import ABSENT, Change, Diff
from tunematrix.verdict.findings import Finding

CODE = """\
from trl import DPOConfig, DPOTrainer
from trl.trainer.utils import OldCollator
from transformers import AutoModelForCausalLM
args = DPOConfig(max_prompt_length=8, learning_rate=1e-5)
trainer = DPOTrainer(model=AutoModelForCausalLM.from_pretrained("m", torch_dtype="auto"), tokenizer=None)
trainer.train(model_path="x")
trainer.evaluate()
"""


def places(tmp_path: Path, changes: dict[str, tuple[Any, Any]]) -> list[str]:
    (tmp_path / "a.py").write_text(CODE)
    return [place.title for place in usage.places(uses.read(tmp_path), changes)]


@pytest.mark.parametrize(
    ("name", "pair", "title"),
    [
        ("DPOConfig.max_prompt_length", (512, ABSENT), "a.py:4: DPOConfig(max_prompt_length=) is gone"),
        ("DPOConfig.beta", (0.1, 0.2), "a.py:4: DPOConfig(beta=) is not set: its default 0.1 is now 0.2"),
        ("DPOConfig.beta", (0.1, ABSENT), ""),
        ("DPOConfig.learning_rate", (1e-6, 1e-5), ""),
        ("DPOConfig.label_smoothing", (0.1, None), ""),
        ("DPOConfig.loss_type", ("sigmoid", ["sigmoid"]), ""),
        ("DPOConfig.new", (ABSENT, 1), ""),
        ("SFTConfig.packing", (True, False), ""),
        ("TrainingArguments.max_prompt_length", (1, ABSENT),
         "a.py:4: TrainingArguments(max_prompt_length=) is gone"),
        ("trl.DPOTrainer(tokenizer)", ("tokenizer", "processing_class"),
         "a.py:5: DPOTrainer(tokenizer=) is now processing_class="),
        ("transformers.Trainer.train(model_path)", ("model_path", ABSENT),
         "a.py:6: train(model_path=) is gone"),
        ("trl.SFTTrainer(tokenizer)", ("tokenizer", ABSENT), ""),
        ("transformers.PreTrainedModel.from_pretrained(torch_dtype)", ("torch_dtype", "dtype"),
         "a.py:5: from_pretrained(torch_dtype=) is now dtype="),
        ("trl.trainer.utils.OldCollator", ("present", ABSENT),
         "a.py:2: trl.trainer.utils.OldCollator is gone"),
        ("trl.trainer.utils.OldCollator", ("present", "trl.data.OldCollator"),
         "a.py:2: trl.trainer.utils.OldCollator is now trl.data.OldCollator"),
        ("trl.trainer.utils.Other", ("present", ABSENT), ""),
        ("tiny-llama.sft.text.loss", (1, 2), ""),
    ],
)  # fmt: skip
def test_a_change_is_told_where_the_code_meets_it(
    name: str, pair: tuple[Any, Any], title: str, tmp_path: Path
) -> None:
    assert places(tmp_path, {name: pair}) == ([title] if title else [])


def test_edits_come_first_and_many_places_are_counted(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("from trl import DPOConfig\n" + "DPOConfig(max_prompt_length=1)\n" * 5)
    found = places(tmp_path, {"DPOConfig.beta": (0.1, 0.2), "DPOConfig.max_prompt_length": (512, ABSENT)})
    assert found[0] == "a.py:4, b.py:2, b.py:3 and 3 more: DPOConfig(max_prompt_length=) is gone"
    assert found[1].endswith("its default 0.1 is now 0.2")


def test_the_mechanical_edits_are_renames_removals_and_moved_names(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(CODE)
    changes = {
        "DPOConfig.max_prompt_length": (512, ABSENT),
        "DPOConfig.beta": (0.1, 0.2),
        "trl.DPOTrainer(tokenizer)": ("tokenizer", "processing_class"),
        "trl.trainer.utils.OldCollator": ("present", "trl.data.OldCollator"),
    }
    assert set(usage.edits(usage.places(uses.read(tmp_path), changes))) == {
        Edit("a.py", 4, "max_prompt_length", column=17),
        Edit("a.py", 5, "tokenizer", "processing_class", column=90),
        Edit("a.py", 2, "OldCollator", "OldCollator", "trl.data", column=30),
    }


def test_findings_about_names_are_one_for_each_that_the_code_meets(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(CODE)
    names = ("DPOConfig.max_prompt_length", "DPOConfig.a", "DPOConfig.b")
    changes = tuple(Change(kind="default", name=name, before=1, after=ABSENT) for name in names)
    edit = Finding(id="edit-fields", severity="edit", title="3 configuration fields gone", fields=names)
    broken = Finding(
        id="dpo", severity="broken", title="dpo fails: no argument 'max_prompt_length'", fields=("dpo",)
    )
    loss = Finding(id="loss", severity="training", title="another loss", fields=("x.loss",))
    diff = Diff(verdict="changed", changes=changes)
    found = usage.narrow([broken, edit, loss], diff, uses.read(tmp_path))
    assert [(each.severity, each.title) for each in found] == [
        ("broken", "dpo fails: no argument 'max_prompt_length'"),
        ("edit", "a.py:4: DPOConfig(max_prompt_length=) is gone"),
        ("training", "another loss"),
        ("info", "2 other names, arguments and defaults changed; your code does not meet them"),
    ]
    assert found[0].action == "edit a.py:4, as below; --fix does it"
    assert found[1].fields == ("DPOConfig.max_prompt_length",)


def test_each_call_leaves_out_its_own_defaults(tmp_path: Path) -> None:
    """A call that sets the option once hid the other, in the same file, which does not."""
    (tmp_path / "b.py").write_text("from trl import DPOConfig\nDPOConfig(beta=1)\nDPOConfig()\n")
    [found] = usage.places(uses.read(tmp_path / "b.py"), {"DPOConfig.beta": (0.1, 0.2)})
    assert [use.line for use in found.uses] == [3]


def test_one_edit_is_told_and_counted_once_with_the_new_name(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("from trl import DPOConfig\n" + "DPOConfig(old=1)\n" * 4)
    changes = {"DPOConfig.old": (1, ABSENT), "trl.DPOConfig(old)": ("old", "new")}
    code = uses.read(tmp_path)
    for each in (changes, dict(reversed(changes.items()))):
        [found] = usage.places(code, each)
        assert found.text == "DPOConfig(old=) is now new="
        assert set(found.names) == set(changes)
        assert usage.count_edits([found]) == 4
        assert {edit.new for edit in usage.edits([found])} == {"new"}


@pytest.mark.parametrize(
    ("more", "doubt"),
    [
        ({"tiny.sweep.TrainingArguments.warmup": ({"0.5": {"loss": 0.1}}, ABSENT)}, True),
        ({"tiny.sweep.TrainingArguments.warmup": ("#94cccc1892c3", ABSENT)}, True),
        ({"tiny.sweep.TrainingArguments.warmup": ({"0.5": "no effect"}, ABSENT)}, False),
        ({"tiny.sweep.TrainingArguments.warmup": ("not tried: of no known type", ABSENT)}, False),
        (
            {
                "tiny.sweep.TrainingArguments.warmup": ("#94cccc1892c3", ABSENT),
                "transformers.TrainingArguments(warmup)": ("warmup", ""),
            },
            False,
        ),
    ],
)
def test_an_option_that_did_something_is_not_removed_unseen(
    more: dict[str, tuple[Any, Any]], tmp_path: Path, *, doubt: bool
) -> None:
    """``--fix`` once deleted ``warmup_ratio=0.1``, and training changed."""
    (tmp_path / "b.py").write_text("from trl import SFTConfig\nSFTConfig(warmup=0.1)\n")
    [found] = usage.places(uses.read(tmp_path), {"TrainingArguments.warmup": (0.0, ABSENT), **more})
    [edit] = usage.edits([found])
    assert bool(edit.doubt) == doubt
    assert found.title.endswith("without it, training changes: edit it by hand") == doubt


def test_code_that_cannot_be_read_is_not_said_to_meet_nothing(tmp_path: Path) -> None:
    finding = Finding(id="edit-fields", severity="edit", title="1 gone", fields=("DPOConfig.a",))
    diff = Diff(
        verdict="changed", changes=(Change(kind="default", name="DPOConfig.a", before=1, after=ABSENT),)
    )
    (tmp_path / "a.py").write_text("import trl\n")
    (tmp_path / "b.py").write_text("def (")
    [found] = usage.narrow([finding], diff, uses.read(tmp_path))
    assert "your code does not" not in found.title


def test_settings_that_are_no_longer_read_are_met_where_the_repository_names_them(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("export WANDB_DISABLED=true\nhuggingface-cli download m\n")
    changes = {
        "transformers:environment.WANDB_DISABLED": ("present", ABSENT),
        "transformers:environment.USE_FLAX": ("present", ABSENT),
        "huggingface_hub:commands.huggingface-cli": ("present", ABSENT),
        "trl:environment.NEW_ONE": (ABSENT, "present"),
    }
    assert places(tmp_path, changes) == [
        "train.sh:1: WANDB_DISABLED is no longer read by transformers",
        "train.sh:2: huggingface-cli is gone from huggingface_hub",
    ]
