"""Configurations: what is accepted, and the errors for wrong ones."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunematrix.pipeline import config, load
from tunematrix.pipeline.errors import ConfigError
from tunematrix.shared import secrets

# Each line has nine aliases of the line before it.
BOMB = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [{f'*{previous},' * 9}]\n" for previous, name in itertools.pairwise("abcdefgh")
)


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
        ("training", "learning_rate", math.nan, "training.learning_rate: nan is not a finite number"),
        ("training", "learning_rate", "nan", "training.learning_rate: nan is not a finite number"),
        ("training", "epochs", math.inf, "training.epochs: inf is not a finite number"),
        ("training", "weight_decay", math.nan, "training.weight_decay: nan is not a finite number"),
        ("dataset", "eval_split", math.nan, "dataset.eval_split: nan is not a finite number"),
        ("lora", "dropout", math.nan, "lora.dropout: nan is not a finite number"),
        ("training", "learning_rate", 1e38, "training.learning_rate: 1e+38 is too large; the maximum is"),
        ("training", "seed", 10**21, "training.seed: 1000000000000000000000 is too large; the maximum"),
        ("training", "batch_size", 2**31, "training.batch_size: 2147483648 is too large"),
        ("training", "output_dir", "a\0b", "training.output_dir: 'a\\x00b': not a path"),
        ("training", "output_dir", "~nouser/x", "training.output_dir: '~nouser/x': no such user"),
        ("training", "output_dir", "x" * 256, "training.output_dir: 'xxx"),
        ("training", "output_dir", __file__, "is not a folder"),
        ("dataset", "path", "x/" * 3000, "not a path: it is too long"),
        ("training", "method", "x" * 1000, "xxx... is not valid"),
        ("training", "two\nlines", 1, "training.'two\\nlines': unknown key"),
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


def download_config(**entry: object) -> dict[str, Any]:
    return {"models": [{"repo": "a/b", "output_dir": "m", **entry}]}


def test_a_token_loses_the_white_space_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary\n")
    content = {"huggingface": {"token": "${HF_TOKEN}"}, **download_config()}

    assert load.parse(config.DownloadConfig, content, "x").huggingface.token == "hf_canary"


@pytest.mark.parametrize("token", ["hf_ca nary", "hf_ca\nnary", "hf_ca\x00nary", "hf_canäry"])
def test_a_token_that_no_request_can_carry_is_an_error_that_does_not_show_it(token: str) -> None:
    message = error_message({"huggingface": {"token": token}, **download_config()}, config.DownloadConfig)

    assert "huggingface.token: the token has white space, control or non-ASCII characters" in message
    assert "hf_ca" not in message


@pytest.mark.parametrize("entry", [{"revision": "${HF_TOKEN}"}, {"files": ["x-${HF_TOKEN}"]}])
def test_a_token_variable_is_expanded_only_as_the_token(
    entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")

    message = error_message(download_config(**entry), config.DownloadConfig)

    assert "${HF_TOKEN} holds a secret, which may only stand in huggingface.token" in message
    assert "hf_canary" not in message


def test_a_variable_outside_of_a_section_is_not_echoed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")

    message = error_message({**download_config(), "retries": "${HF_TOKEN}"}, config.DownloadConfig)

    assert message.endswith("retries: ${HF_TOKEN} holds a secret, which may only stand in huggingface.token")


@pytest.mark.parametrize("repo", ["a/b/c", "bad id", "../x", "a--b", "", "\x1b[31m", "a\n::error::"])
def test_a_malformed_repository_id_is_a_wrong_configuration(repo: str) -> None:
    message = error_message(download_config(repo=repo), config.DownloadConfig)

    assert f"models[0].repo: {repo!r} is not a repository id of the Hub" in message


def test_an_empty_revision_is_a_wrong_configuration() -> None:
    assert "revision: empty" in error_message(download_config(revision=""), config.DownloadConfig)


def test_a_missing_file_and_invalid_yaml_are_errors(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")

    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        load.load(config.AlignConfig, tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match=r"broken\.yaml: not YAML"):
        load.load(config.AlignConfig, broken)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("huggingface: {token: hf_canary}\nmodels: [a", "not YAML"),
        ("token: hf_canary: x", "not YAML: mapping values are not allowed here"),
        ("a: 2024-13-45", "not a valid timestamp"),
        ("a: !!int hf_canary", "not a valid int"),
        ("a: !hf_canary b", "not YAML"),
        ("&a [*a]", "an alias inside the value that it stands for"),
        ("[" * 2000, "nested more than 100 levels deep"),
        ("retries: " + "9" * 400, "a number is too large"),
        ("retries: 1" + "0" * 399 + ".0", "retries: inf is not a whole number"),
        (BOMB, "aliases that expand to more than"),
        ("models: [{repo: a/b, output_dir: ~nouser/x}]", "no such user"),
        ("- 1", "the file must be a mapping with the keys models, huggingface, retries"),
        ("", "the file must be a mapping"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_error_without_its_text(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError) as error:
        load.load(config.DownloadConfig, path)

    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "hf_canary" not in str(error.value)


def test_the_error_for_nan_in_a_file_names_its_key(finetune: dict[str, Any], tmp_path: Path) -> None:
    finetune["training"]["learning_rate"] = math.nan
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(finetune))

    with pytest.raises(ConfigError, match=r"training\.learning_rate: nan is not a finite number"):
        load.load(config.FinetuneConfig, path)


def test_a_literal_token_in_a_file_is_masked_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_added", set())
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"huggingface": {"token": "plainvalue"}, **download_config()}))

    load.load(config.DownloadConfig, path)

    assert secrets.mask("Bearer plainvalue") == "Bearer ***"
