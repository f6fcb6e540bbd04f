"""``.ci/check.py`` detects every unexpected outcome."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / ".ci/check.py"
SUMMARY: dict[str, Any] = {
    "cells": [
        {"cell": "a", "stages": {"import": "passed", "align": "failed"}, "probes": {"program": "passed"}}
    ]
}


@pytest.fixture(name="check")
def _check() -> Any:
    spec = importlib.util.spec_from_file_location("check", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_expected_summary_passes(check: Any) -> None:
    assert list(check.differences(SUMMARY, {"a": {"align": "failed"}})) == []


@pytest.mark.parametrize(
    ("group", "name", "outcome", "line"),
    [
        ("stages", "align", "passed", "a align: passed, expected failed"),
        ("stages", "import", "unknown", "a import: unknown, expected passed"),
        ("probes", "program", "skipped", "a program: skipped, expected passed"),
    ],
)
def test_any_other_outcome_is_reported(check: Any, group: str, name: str, outcome: str, line: str) -> None:
    summary = copy.deepcopy(SUMMARY)
    summary["cells"][0][group][name] = outcome

    assert list(check.differences(summary, {"a": {"align": "failed"}})) == [line]


def test_a_missing_cell_is_reported(check: Any) -> None:
    assert list(check.differences(SUMMARY, {"b": {}})) == ["b: not in the summary"]
