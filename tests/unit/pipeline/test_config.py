"""Configurations: what is accepted, and the errors for wrong ones."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tunematrix.pipeline import config, load
from tunematrix.pipeline.errors import ConfigError


@pytest.fixture(name="finetune")
def _finetune(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "model").mkdir()
    (tmp_path / "data.json").write_text("[]")
    return {
        "model": {"path": str(tmp_path / "model")},
        "dataset": {"path": str(tmp_path / "data.json"), "format": "json", "text_field": "text"},
        "training": {"method": "lora", "max_steps": 1, "output_dir": str(tmp_path / "out")},
        "device": "cpu",
    }


def error_message(content: dict[str, Any], config_class: Any = config.FinetuneConfig) -> str:
    with pytest.raises(ConfigError) as error:
        load.parse(config_class, content, "finetune.yaml")
    return str(error.value)


def test_the_seed_configuration_is_accepted(finetune: dict[str, Any]) -> None:
    parsed = load.parse(config.FinetuneConfig, finetune, "finetune.yaml")

    assert parsed.training.max_steps == 1
    assert parsed.training.method == "lora"
    assert parsed.dataset.columns() == {"text": "text"}


def test_a_number_in_scientific_notation_is_accepted(finetune: dict[str, Any]) -> None:
    """YAML 1.1 reads it as text."""
    finetune["training"]["learning_rate"] = "2e-4"

    assert load.parse(config.FinetuneConfig, finetune, "x").training.learning_rate == 2e-4


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("training", "max_step", 1, "training.max_step: unknown key; did you mean 'max_steps'?"),
        ("training", "max_steps", "many", "training.max_steps: 'many' is not a whole number"),
        ("training", "max_steps", True, "training.max_steps: True is not a whole number"),
        ("training", "batch_size", 0, "training.batch_size: 0 is too small; the minimum is 1"),
        ("training", "method", "lorra", "training.method: 'lorra' is not valid; did you mean 'lora'?"),
        ("training", "packing", "yes", "training.packing: 'yes' is not true or false"),
        ("training", "learning_rate", "fast", "training.learning_rate: 'fast' is not a number"),
        ("dataset", "format", "jsn", "dataset.format: 'jsn' is not valid; did you mean 'json'?"),
        ("dataset", "eval_split", 1.0, "dataset.eval_split: a share of the data"),
        ("dataset", "path", "gone.json", "dataset.path: no such file: gone.json"),
        ("dataset", "messages_field", "m", "set text_field, or messages_field, or prompt_field"),
        ("model", "path", "gone", "model.path: no such folder: gone"),
        ("model", "dtype", "float8", "model.dtype: 'float8' is not valid"),
        ("lora", "targets", [], "lora.targets: must be a list with at least one entry"),
        ("lora", "dropout", 1.5, "lora.dropout: a probability"),
    ],
)
def test_the_error_for_a_wrong_value_names_the_file_the_key_and_the_fix(
    finetune: dict[str, Any], section: str, key: str, value: object, expected: str
) -> None:
    finetune.setdefault(section, {})[key] = value

    message = error_message(finetune)

    assert message.startswith("finetune.yaml: ")
    assert expected in message


def test_a_missing_key_is_an_error(finetune: dict[str, Any]) -> None:
    del finetune["training"]["output_dir"]

    assert error_message(finetune) == "finetune.yaml: training.output_dir: missing; it has no default"


def test_a_section_that_is_not_a_mapping_is_an_error(finetune: dict[str, Any]) -> None:
    finetune["model"] = "gpt2"

    assert "model must be a mapping with the keys path, dtype" in error_message(finetune)


def test_environment_variables_are_expanded(
    finetune: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUT", "/somewhere")
    finetune["training"]["output_dir"] = "${OUT}/here"

    parsed = load.parse(config.FinetuneConfig, finetune, "x")

    assert parsed.training.output_dir == Path("/somewhere/here")


def test_an_unset_variable_is_an_error(finetune: dict[str, Any]) -> None:
    finetune["training"]["output_dir"] = "${NO_SUCH}/here"

    assert "training.output_dir: ${NO_SUCH} is not set; export NO_SUCH=... first" in error_message(finetune)


def test_an_unset_token_variable_means_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    content = {"huggingface": {"token": "${HF_TOKEN}"}, "models": [{"repo": "a/b", "output_dir": "m"}]}

    assert load.parse(config.DownloadConfig, content, "x").huggingface.token is None


def test_the_token_appears_in_no_message() -> None:
    content = {"huggingface": {"token": "hf_secret"}, "models": [{"repo": "a/b", "output_dir": "m"}]}
    parsed = load.parse(config.DownloadConfig, content, "x")
    broken = copy.deepcopy(content)
    broken["huggingface"] = {"token": ["hf_secret"]}

    assert parsed.huggingface.token == "hf_secret"
    assert "hf_secret" not in repr(parsed)
    assert "hf_secret" not in error_message(broken, config.DownloadConfig)


def test_a_missing_file_and_invalid_yaml_are_errors(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")

    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file"):
        load.load(config.AlignConfig, tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match=r"broken\.yaml: not YAML"):
        load.load(config.AlignConfig, broken)
