"""A local package index with toy releases, and a toy suite whose stages use them."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pypi_simple import PYPI_SIMPLE_ENDPOINT

from tunematrix.locks import uv

SIMPLE = "application/vnd.pypi.simple.v1+json"
# toy fails from 1.4 on and is fixed in 1.7; its loss changes in 1.2; 1.5 cannot be installed; 1.6 needs
# toydep 2.
RELEASES: dict[str, dict[str, list[str]]] = {
    "toy": {f"1.{minor}": ["toydep>=2"] if minor == 6 else ["toydep"] for minor in range(9)},
    "toydep": {"1.0": [], "2.0": []},
}
CODE = "def align():\n    assert not {bad}, 'planted'\n\n\ndef loss():\n    return {loss}\n"


def write_wheels(folder: Path) -> None:
    for name, versions in RELEASES.items():
        for version, requirements in versions.items():
            minor = int(version.split(".")[1])
            code = CODE.format(bad=name == "toy" and 4 <= minor < 7, loss=1.0 if minor < 2 else 2.0)
            _write_wheel(folder, name, version, requirements, code)
    broken = folder / "toy-1.5-py3-none-any.whl"
    broken.write_bytes(broken.read_bytes()[:-40])  # a wheel that no installer can open


def _write_wheel(folder: Path, name: str, version: str, requirements: list[str], code: str) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {requirement}\n" for requirement in requirements),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: toys\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(path, text)


@contextmanager
def index(folder: Path) -> Iterator[str]:
    """Serve the wheels as an index with upload times; redirects other packages to the real index."""
    upstream = (uv.index_url() or PYPI_SIMPLE_ENDPOINT).rstrip("/")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            folder_name, name = self.path.strip("/").split("/")
            if folder_name == "files":
                self._send((folder / name).read_bytes(), "application/octet-stream")
            elif name in RELEASES:
                self._send(json.dumps(self._page(name)).encode(), SIMPLE)
            else:
                self.send_response(302)
                self.send_header("Location", f"{upstream}/{name}/")
                self.end_headers()

        def _page(self, name: str) -> dict[str, Any]:
            files = [
                {
                    "filename": f"{name}-{version}-py3-none-any.whl",
                    "url": f"/files/{name}-{version}-py3-none-any.whl",
                    "hashes": {},
                    "upload-time": f"2026-01-{day:02}T12:00:00Z",
                }
                for day, version in enumerate(RELEASES[name], start=1)
            ]
            return {
                "meta": {"api-version": "1.1"},
                "name": name,
                "versions": list(RELEASES[name]),
                "files": files,
            }

        def _send(self, body: bytes, content_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()


SUITE = """
import pytest
from tunematrix.harness import stages
from tunematrix.shared.stages import STAGES
pytestmark = pytest.mark.integration

def align(trace):
    import toy
    trace.command = "align"
    trace.add_number("loss", [toy.loss()])
    toy.align()

def test_all():
    for name in STAGES:
        stages.run_stage(name, align if name == "align" else lambda trace: None)
"""


def write_suite(folder: Path) -> None:
    """A suite whose stages do nothing, except ``align``, which calls the toy package."""
    folder.mkdir(parents=True)
    (folder / "test_real_e2e.py").write_text(SUITE)
