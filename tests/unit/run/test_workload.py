"""A user's own workload: it must have something to use, and all that it reads decides the result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.run import workload


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project/workload"
    folder.mkdir(parents=True)
    (folder / "finetune.yaml").write_text("training: {seed: 1}\n")
    return folder


@pytest.mark.parametrize(
    "name", ["finetune.yaml", "align.yaml", "download.yaml", "generate.yaml", "test_x.py"]
)
def test_a_configuration_or_a_test_is_enough(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")

    workload.check(tmp_path)


def test_a_folder_with_nothing_to_use_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "finetune.yml").write_text("")

    with pytest.raises(UsageError, match=r"nothing in it is used; put .*finetune\.yaml"):
        workload.check(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        workload.check(tmp_path / "missing")


def test_every_file_of_the_folder_counts(folder: Path) -> None:
    before = workload.digest(folder)
    (folder / "data.jsonl").write_text("{}")

    assert workload.digest(folder) != before


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        ('subprocess.run(["python", "../train.py"])', "project/train.py"),
        ('run("train.py")', "project/train.py"),
        ("dataset: {path: ../../data/chat.jsonl}", "data/chat.jsonl"),
    ],
)
def test_a_file_outside_that_the_workload_names_counts(
    folder: Path, tmp_path: Path, text: str, outside: str
) -> None:
    path = tmp_path / outside
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("one")
    (folder / "test_script.py").write_text(text)
    before = workload.digest(folder)

    path.write_text("two")

    assert workload.digest(folder) != before


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("from lib import common\nimport helper\n", "helper.py"),
        ("import json, helper as h\n", "helper.py"),
        ("from team import (\n    data,\n    extra,\n)\n", "team/extra.py"),
        ("from .conf import LR\n", "conf.py"),
        ("from . import extra\n", "extra.py"),
    ],
)
def test_what_a_named_script_imports_counts(folder: Path, text: str, file: str) -> None:
    (folder / "test_script.py").write_text('run("../train.py")')
    (folder.parent / "train.py").write_text(text)
    path = folder.parent / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("one")
    before = workload.digest(folder)

    path.write_text("two")

    assert workload.digest(folder) != before


def test_what_nothing_names_does_not_count(folder: Path) -> None:
    before = workload.digest(folder)
    (folder.parent / "other.py").write_text("x")

    assert workload.digest(folder) == before
