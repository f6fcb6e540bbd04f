"""The default model has the weights that transformers' own GGUF loader reads, in a real stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tool.conftest import ROOT
from tunematrix.hub import models
from tunematrix.hub.models import smollm2
from tunematrix.hub.store import index_root
from tunematrix.locks import uv

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


# A change here changes every fingerprint: increase the model's version and explain it in CHANGELOG.
REVISION = "22320f285a3874cf7f12d28bdf798654c749cf9d"


def test_smollm2_has_the_same_bytes_on_every_machine(tmp_path: Path) -> None:
    """Makes the model again instead of using the cache of this machine."""
    root = models.prepare(models.MODELS["smollm2-135m"], tmp_path)

    assert index_root(root)["tunematrix/smollm2-135m"].commit == REVISION


def test_smollm2_is_what_transformers_reads_from_the_gguf(tmp_path: Path) -> None:
    converted = models.prepare(models.MODELS["smollm2-135m"]) / "tunematrix/smollm2-135m"
    gguf = smollm2.fetch_gguf(tmp_path)
    stack = ["--with-requirements", str(ROOT / "constraints/latest.txt"), "--with", "gguf"]
    script = str(Path(__file__).with_name("compare_gguf.py"))

    options = ["--quiet", "--no-project", *uv.torch_options(), *stack]
    process = uv.run("run", *options, "python", script, str(converted), str(gguf))

    assert process.returncode == 0, process.stderr
    comparison = json.loads(process.stdout.splitlines()[-1])
    assert comparison["tokens"] == [504, 2380, 282, 260, 6376, 314]
    assert comparison["decoded"] == "The color of the sky is"
    # The same numbers once both are bfloat16; compared with float32, within bfloat16's precision.
    assert comparison["to_rounded"] == 0.0
    assert 0 < comparison["to_exact"] <= comparison["scale"] * 2**-7
