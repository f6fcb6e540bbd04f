"""Known breakages of files between two stacks that are cells here: the exchange finds each, and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.nightly, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[2]
NUMPY_1: Final = "numpy.core.multiarray._reconstruct"
KEYS: Final = "'list' object has no attribute 'keys'"
# The case, writer, reader, artifact, outcome, and a part of the reason.
CASES: Final = (
    ("b-x-adapter-5-to-457-ok", "latest", "trl-0.26", "lora", "same", ""),
    ("b-x-autopeft-5-to-457", "latest", "trl-0.26", "autopeft", "fails", KEYS),
    ("b-x-autopeft-tokbackend-52-to-457", "trl-0.29", "trl-0.26", "autopeft", "fails", "TokenizersBackend"),
    ("b-x-merged-4-to-5-ok", "trl-0.26", "latest", "merged", "same", ""),
    ("b-x-bf16-default-dtype", "trl-0.26", "latest", "merged-bf16", "differs", "dtype float32 -> bfloat16"),
    ("b-x-tok-listkeys", "latest", "trl-0.26", "tokenizer-extra", "fails", KEYS),
    ("b-x-tok-tokenizersbackend", "latest", "trl-0.26", "tokenizer-generic", "fails", "TokenizersBackend"),
    ("b-x-resume-np1-to-np2", "trl-0.9", "latest", "sft", "fails", NUMPY_1),
    ("b-x-resume-4-to-5-ok", "trl-0.12", "latest", "sft", "same", ""),
    ("b-x-resume-5-to-4-ok", "latest", "trl-0.26", "sft", "same", ""),
    ("b-x-resume-loss-drift", "trl-0.26", "latest", "sft-goes-on", "differs", "loss off by"),
    ("b-x-moe-457-to-52-alllin", "trl-0.26", "trl-0.29", "experts-all-linear", "fails", "MixtralTopKRouter"),
    (
        "b-x-moe-457-to-52-experts",
        "trl-0.26",
        "trl-0.29",
        "experts-by-name",
        "fails",
        "not found in the base",
    ),
    ("b-x-moe-523-to-457-alllin", "latest", "trl-0.26", "experts-all-linear", "differs", "logits off by"),
    ("b-x-moe-523-to-457-experts", "latest", "trl-0.26", "experts-by-name", "fails", "No `target_modules`"),
    ("b-x-moe-523-to-52-alllin", "latest", "trl-0.29", "experts-all-linear", "fails", "loading state_dict"),
    ("b-rot-torch-weightsonly-c05", "trl-0.12", "trl-0.12", "sft", "fails", "Weights only load failed"),
)
Pairs = dict[tuple[str, str, str], dict[str, Any]]


@pytest.fixture(name="pairs", scope="module")
def _pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    """The pairs of one exchange between all cells of the cases."""
    cells = sorted({name for _, writer, reader, *_ in CASES for name in (writer, reader)})
    command = [sys.executable, "-m", "tunematrix", "exchange", *cells, "--model", "tiny-llama", "--json"]
    folder = tmp_path_factory.mktemp("exchange")
    variables = {**os.environ, "TUNEMATRIX_RESULTS": str(folder / "results")}
    process = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert process.returncode in (0, 1), process.stderr
    pairs = json.loads(process.stdout)["pairs"]
    return {(pair["writer"], pair["reader"], pair["artifact"]): pair for pair in pairs}


@pytest.mark.parametrize(
    ("writer", "reader", "artifact", "outcome", "reason"),
    [pytest.param(*case, id=name) for name, *case in CASES],
)
def test_a_known_case(
    pairs: Pairs, writer: str, reader: str, *, artifact: str, outcome: str, reason: str
) -> None:
    pair = pairs[writer, reader, artifact]
    assert pair["outcome"] == outcome
    assert reason in pair.get("reason", "")


@pytest.mark.parametrize("cell", ["trl-0.12", "trl-0.26", "trl-0.29"])
def test_a_frozen_set_is_read_as_what_its_cell_writes_today(pairs: Pairs, cell: str) -> None:
    frozen = {key[1:]: pair["outcome"] for key, pair in pairs.items() if key[0] == f"{cell} (frozen)"}
    fresh = {key[1:]: pair["outcome"] for key, pair in pairs.items() if key[0] == cell}
    assert frozen == fresh
