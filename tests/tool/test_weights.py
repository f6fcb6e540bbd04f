"""The default model has the weights of its GGUF, read by transformers' own loader in a real stack."""

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


# A change here changes every fingerprint: raise the model's version with it, and say why in CHANGELOG.
REVISION = "22320f285a3874cf7f12d28bdf798654c749cf9d"


def test_smollm2_has_the_same_bytes_everywhere(tmp_path: Path) -> None:
    """Made anew, not taken from the cache of this machine."""
    root = models.prepare(models.MODELS["smollm2-135m"], tmp_path)

    assert index_root(root)["tunematrix/smollm2-135m"].commit == REVISION


def test_smollm2_is_what_transformers_reads_from_the_gguf(tmp_path: Path) -> None:
    made = models.prepare(models.MODELS["smollm2-135m"]) / "tunematrix/smollm2-135m"
    source = smollm2.fetch(tmp_path)
    stack = ["--with-requirements", str(ROOT / "constraints/latest.txt"), "--with", "gguf"]
    script = str(Path(__file__).with_name("compare_gguf.py"))

    options = ["--quiet", "--no-project", *uv.torch_source(), *stack]
    done = uv.run("run", *options, "python", script, str(made), str(source))

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tokens"] == [504, 2380, 282, 260, 6376, 314]
    assert found["decoded"] == "The color of the sky is"
    # The very same numbers once both are bfloat16; before that, within bfloat16's own precision.
    assert found["to_rounded"] == 0.0
    assert 0 < found["to_exact"] <= found["scale"] * 2**-7
