"""Every promise in docs/reliability.md names tests that exist, and every fault is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
NODE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROWS = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
PROMISES = re.findall(r"^- \*\*.*?(?=^- |\n\n)", TEXT, re.MULTILINE | re.DOTALL)
FAULTS = (
    "429 with `Retry-After`", "500, 503", "reset, truncated body", "no answer", "dripping body", "wrong size",
    "one byte flipped", "Hub disappears", "disk full", "out of memory", "SIGSEGV in the stack",
    "clock set back", "SIGKILL of nox", "SIGKILL of `tunematrix run`", "SIGKILL of the cell's pytest",
    "SIGKILL of a forked stage", "SIGKILL of uv", "SIGKILL of the Hub", "stop between write and rename",
    "two runs in one checkout", "two results folders over one environment",
    "corrupted or truncated record", "record of a newer schema", "damaged ladder data", "damaged cache",
    "damaged environment", "index unreachable", "index slow", "index lies about hashes",
    "index answers nonsense", "script forks", "script hangs", "script writes anywhere",
    "script prints gigabytes", "script crashes, or fills memory or disk",
)  # fmt: skip


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name"), sorted(set(NODE.findall(TEXT))))
def test_every_test_that_a_promise_names_exists(file: str, name: str) -> None:
    assert name.startswith("test_")
    assert name in functions_of(file)


def test_every_fault_has_a_row_with_an_outcome_and_a_test() -> None:
    rows = {fault: (outcome, NODE.findall(tests)) for fault, outcome, tests in ROWS if fault != "fault"}

    assert tuple(rows) == FAULTS
    assert [fault for fault, (outcome, tests) in rows.items() if not outcome or not tests] == []


def test_every_general_promise_names_a_test() -> None:
    assert len(PROMISES) == 4
    assert [promise for promise in PROMISES if not NODE.search(promise)] == []
