"""Configurations of the pipeline: whatever a file holds, it is accepted, or one ``ConfigError`` says why."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tunematrix.pipeline.config import AlignConfig, DownloadConfig, FinetuneConfig, GenerateConfig
from tunematrix.pipeline.errors import ConfigError
from tunematrix.pipeline.load import load, parse
from tunematrix.shared import secrets

CLASSES = (DownloadConfig, FinetuneConfig, AlignConfig, GenerateConfig)
DOWNLOAD = {
    "huggingface": {"token": "${HF_TOKEN}"},
    "models": [{"repo": "a/b", "files": ["config.json", "*.bin"], "output_dir": "DIR/m", "revision": "main"}],
    "retries": 2,
}
FINETUNE = {
    "model": {"path": "DIR", "dtype": "float32"},
    "dataset": {"path": "DIR/data.json", "format": "json", "text_field": "text", "eval_split": 0.1},
    "training": {
        "method": "lora", "max_steps": 1, "epochs": 1.0, "learning_rate": "2e-4", "weight_decay": 0.0,
        "optimizer": "adamw_torch", "seed": 7, "output_dir": "DIR/out",
    },
    "lora": {"rank": 8, "dropout": 0.1, "targets": ["q", "v"]},
    "sample": {"prompt": "The sky is", "max_new_tokens": 4},
    "device": "cpu",
}  # fmt: skip
ALIGN = {
    "model": {"path": "DIR"},
    "dataset": {"path": "DIR/data.json", "prompt_field": "prompt", "chosen_field": "chosen"},
    "alignment": {"method": "dpo", "beta": 0.1, "loss_type": "sigmoid", "output_dir": "DIR/out"},
}
GENERATE = {"model": {"path": "DIR"}, "sample": {"prompt": "x"}, "output_dir": "DIR/out"}
VALID = (DOWNLOAD, FINETUNE, ALIGN, GENERATE)
# What YAML reads as something else than it looks like, and what breaks readers.
ODD_TEXTS = (
    ".nan", "-.inf", "1e400", "9" * 400, "0x" + "f" * 300, "1_000", "1:30:00", "2024-13-45", "2024-01-01",
    "!!int abc", "!!binary x", "!!set {a}", "!!omap [a: 1]", "!!python/object:os.system x", "&a [*a]", "*a",
    "&a [&b [*a, *b]]", "<<: *a", "? [a]\n: b", "[" * 2000, "{" * 2000, "- " * 500, "'", '"\\x', "|\n x",
    "--- a\n--- b", "%YAML 9", "\t", "\0", "\ufeff", "\ud7ff", "~", "~nouser/x", "~/x", "${HF_TOKEN}",
    "${OUT}", "${NONE}", "${", "${}", "x" * 300, "a/" * 3000, "yes", "no", "on", "null", "=", "",
)  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**31),
    st.floats(),
    st.text(max_size=20),
    st.text(st.characters(codec="utf-8"), max_size=5).map(lambda text: text * 60),
    st.dates(),
    st.binary(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "data.json").write_text("[]")
    return folder


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary\n")
    monkeypatch.setenv("OUT", "/somewhere")
    monkeypatch.delenv("NONE", raising=False)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[int, Any]:
    """A valid configuration with up to three changes, and its place in ``VALID``."""
    place = draw(st.integers(0, len(VALID) - 1))
    content = yaml.safe_load(yaml.safe_dump(VALID[place]))
    for _ in range(draw(st.integers(1, 3))):
        _change(draw, content)
    return place, content


def _change(draw: st.DrawFn, content: Any) -> None:
    """Replace, remove or add one value somewhere in ``content``."""
    target = content
    while True:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if not isinstance(target[key], (dict, list)) or draw(st.integers(0, 3)) == 0:
            break
        target = target[key]
    action = draw(st.sampled_from(("replace", "replace", "replace", "remove", "add")))
    if action == "remove":
        del target[key]
    elif action == "replace":
        target[key] = draw(VALUES)
    elif isinstance(target, dict):
        target[draw(st.text(max_size=8))] = draw(VALUES)
    else:
        target.append(draw(VALUES))


def check(read: Callable[..., Any], *arguments: object) -> None:
    """Read a configuration: what is accepted has finite numbers, and no message has the token."""
    try:
        config, message = read(*arguments), ""
    except ConfigError as error:
        config, message = None, str(error)
    secrets._added.clear()
    assert "hf_canary" not in message
    assert len(message) < 20_000
    for section in (getattr(config, name, None) for name in ("training", "alignment", "dataset", "lora")):
        values = [getattr(section, name) for name in getattr(section, "__slots__", ())]
        assert all(math.isfinite(value) for value in values if isinstance(value, float))


def in_folder(content: Any, folder: Path) -> Any:
    if isinstance(content, dict):
        return {key: in_folder(value, folder) for key, value in content.items()}
    if isinstance(content, list):
        return [in_folder(item, folder) for item in content]
    return content.replace("DIR", str(folder)) if isinstance(content, str) else content


@given(case=mutated())
def test_a_changed_configuration(folder: Path, case: tuple[int, Any]) -> None:
    place, content = case
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(in_folder(content, folder), allow_unicode=True), encoding="utf-8")

    check(load, CLASSES[place], path)


@given(place=st.integers(0, 3), start=st.integers(0, 600), length=st.integers(0, 40), text=st.data())
def test_the_text_of_a_configuration_with_a_part_replaced(
    folder: Path, place: int, start: int, length: int, text: st.DataObject
) -> None:
    original = yaml.safe_dump(in_folder(VALID[place], folder))
    start = start % (len(original) + 1)
    odd = text.draw(st.sampled_from(ODD_TEXTS) | st.text(alphabet=string.printable, max_size=10))
    path = folder / "c.yaml"
    path.write_text(original[:start] + odd + original[start + length :], encoding="utf-8")

    check(load, CLASSES[place], path)


@given(place=st.integers(0, 3), content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(0, b"[" * 2000)
@example(0, b"\xff\xfeh\x00")
def test_any_bytes(folder: Path, place: int, content: bytes) -> None:
    path = folder / "c.yaml"
    path.write_bytes(content)

    check(load, CLASSES[place], path)


@given(place=st.integers(0, 3), content=VALUES)
def test_any_content(place: int, content: Any) -> None:
    check(parse, CLASSES[place], content, "c.yaml")
