"""Importing an environment with the real uv and the package index."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tool.conftest import Sandbox
from tunematrix.locks import lock, uv

pytestmark = pytest.mark.integration


@pytest.mark.skipif(not uv.torch_constraints(python="3.11"), reason="no wheel of torch in find-links")
@pytest.mark.parametrize(
    "text", ["accelerate==1.12.0\n", "accelerate==1.12.0\nnvidia-cublas-cu12==12.8.4.1\n"]
)
def test_torch_that_no_line_pins_is_the_cpu_wheel_of_find_links(
    sandbox: Sandbox, tmp_path: Path, text: str
) -> None:
    (sandbox.constraints / "matrix.toml").write_text(
        'schema = 1\r\n# ours\r\n[[cell]]\r\nname = "a"\r\n[cell.pins]\r\ntrl = "1.0"\r\n', newline=""
    )
    (tmp_path / "requirements.txt").write_text(text)

    code, output = sandbox.run("lock", "--from", str(tmp_path / "requirements.txt"), "--name", "ours")

    assert code == 0, output
    packages = lock.read_versions(sandbox.constraints / "ours.txt")
    assert [f"torch=={packages['torch']}"] == uv.torch_constraints(python="3.11")
    assert not [name for name in packages if name.startswith(("nvidia", "cuda", "triton"))]
    assert (sandbox.constraints / "matrix.toml").read_bytes().count(b"\r\n") == 11
    code, output = sandbox.run("lock", "--check", "ours")
    assert code == 0, output
