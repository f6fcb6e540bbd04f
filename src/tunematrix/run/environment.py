"""A cell's environment: packages exactly as the lock says, variables exactly as written here."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Final

import tunematrix
from tunematrix.base.errors import UninstallableError, UsageError
from tunematrix.locks import uv
from tunematrix.locks.table import Cell

# What is passed on from the caller: where programs and certificates are. Never HF_*, TRANSFORMERS_*,
# PYTHONPATH or anything else that could change a result.
INHERITED: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TERM",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
)
NETWORK: Final = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "HF_TOKEN")
MARKER: Final = ".tunematrix"


def make(venv: Path, python: str) -> None:
    """Create an empty environment, replacing whatever is there."""
    done = uv.run("venv", "--quiet", "--clear", "--no-project", "--python", python, str(venv))
    if done.returncode:
        raise UsageError(
            f"no Python {python} here: {done.stderr.strip()}; install it: uv python install {python}"
        )


def sync(venv: Path, lock: Path, cell: Cell) -> None:
    """Make ``venv`` exactly equal to ``lock``.

    An environment whose last sync did not end (killed, out of disk) is made anew: half a package looks
    whole to an installer. Raises ``UninstallableError`` with uv's own words.
    """
    marker = venv / MARKER
    if not python_of(venv).exists() or (
        not marker.is_file() and any(venv.glob("lib/*/site-packages/*.dist-info"))
    ):
        make(venv, cell.python)
    marker.unlink(missing_ok=True)
    arguments = ["--quiet", "--python", str(python_of(venv)), *uv.torch_source(), str(lock)]
    uv.checked(uv.run("pip", "sync", *arguments), UninstallableError)
    marker.touch()


def python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def python_version(venv: Path) -> str:
    """The environment's Python, as its own configuration says: ``3.11.7``."""
    with contextlib.suppress(OSError):
        for line in (venv / "pyvenv.cfg").read_text().splitlines():
            name, _, value = line.partition("=")
            if name.strip() in ("version_info", "version"):
                return value.strip()
    return ""


def platform_name() -> str:
    return f"{sys.platform}-{platform.machine()}"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def variables(venv: Path, work: Path, hub: dict[str, str], *, real_hub: bool) -> dict[str, str]:
    """The whole environment of a cell's process; caches and HOME lie in ``work``.

    One thread: with two, gradient norms move by 1e-7 from run to run. The token goes to a cell only
    with the real Hub.
    """
    kept = (*INHERITED, *NETWORK) if real_hub else INHERITED
    home = work / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "PYTHONPATH": str(_own_package(work)),
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
        **dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
        ),
        "VIRTUAL_ENV": str(venv),
        **hub,
    }


def _own_package(work: Path) -> Path:
    """A folder that holds this package and nothing else: the host's own packages must not leak in."""
    folder = work / "source"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "tunematrix").symlink_to(Path(tunematrix.__file__).resolve().parent)
    return folder.resolve()
