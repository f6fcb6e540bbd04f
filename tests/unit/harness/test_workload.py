"""The user's configurations over those of the workflow; a token in them goes into no file of the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tunematrix.harness import workload
from tunematrix.pipeline.errors import ConfigError

CONFIG: dict[str, Any] = {
    "dataset": {"path": "data.json", "text_field": "text"},
    "training": {"max_steps": 1, "seed": 1},
    "device": "cpu",
}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEMATRIX_WORKLOAD", str(tmp_path))
    monkeypatch.setenv(workload.TOKEN_VARIABLE, "")
    return tmp_path


def test_a_section_is_updated_key_by_key_and_a_dataset_with_a_path_as_a_whole(folder: Path) -> None:
    (folder / "finetune.yaml").write_text(
        "training: {seed: 7}\ndataset: {path: ours.jsonl, messages_field: m}\nsample: {prompt: x}\n"
    )

    assert workload.apply_workload("finetune", CONFIG) == {
        "dataset": {"path": str(folder / "ours.jsonl"), "messages_field": "m"},
        "training": {"max_steps": 1, "seed": 7},
        "device": "cpu",
        "sample": {"prompt": "x"},
    }
    assert workload.apply_workload("align", CONFIG) == CONFIG


def test_a_literal_token_stays_in_the_environment(folder: Path) -> None:
    (folder / "download.yaml").write_text("huggingface: {token: yamlcanary}")

    config = workload.apply_workload("download", {"huggingface": {"token": "${HF_TOKEN}"}})

    assert config == {"huggingface": {"token": "${TUNEMATRIX_WORKLOAD_TOKEN}"}}
    assert os.environ[workload.TOKEN_VARIABLE] == "yamlcanary"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "must be a mapping of sections"),
        ("token: [yamlcanary", "not YAML"),
        ("&a [*a]", "an alias inside the value"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_wrong_configuration(folder: Path, text: str, message: str) -> None:
    (folder / "finetune.yaml").write_text(text)

    with pytest.raises(ConfigError, match=message) as error:
        workload.apply_workload("finetune", CONFIG)

    assert "yamlcanary" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["", "dataset: 5", "dataset: {path: 5}", "training: [1]", "huggingface: x", "sample: {a: 1}", "5: 6"],
)
def test_odd_sections_are_left_to_the_pipeline(folder: Path, text: str) -> None:
    (folder / "finetune.yaml").write_text(text)

    assert workload.apply_workload("finetune", {**CONFIG, "sample": "x"})["device"] == "cpu"
