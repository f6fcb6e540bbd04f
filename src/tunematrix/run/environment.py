"""A cell's environment: exactly the packages of its lock, and exactly the variables listed here."""

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

# Variables that a cell inherits from the caller: where programs and certificates are. Never HF_*,
# TRANSFORMERS_*, PYTHONPATH or anything else that can change a result.
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
INHERITED_FOR_REAL_HUB: Final = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "HF_TOKEN")
SYNCED_MARKER: Final = ".tunematrix"  # a file in the environment, there only when its last sync succeeded


def create(venv: Path, python: str) -> None:
    """Create an empty environment in ``venv``, replacing an existing one."""
    result = uv.run("venv", "--quiet", "--clear", "--no-project", "--python", python, str(venv))
    if result.returncode:
        raise UsageError(
            f"Python {python} is not available: {result.stderr.strip()}; "
            f"install it: uv python install {python}"
        )


def sync(venv: Path, lock: Path, cell: Cell) -> None:
    """Install exactly the packages of ``lock`` in ``venv``.

    Creates the environment again if its last sync was interrupted (killed, out of disk), because an
    installer takes a half-installed package for a complete one. Raises ``UninstallableError`` with uv's
    message.
    """
    marker = venv / SYNCED_MARKER
    if not interpreter(venv).exists() or (
        not marker.is_file() and any(venv.glob("lib/*/site-packages/*.dist-info"))
    ):
        create(venv, cell.python)
    marker.unlink(missing_ok=True)
    arguments = ["--quiet", "--python", str(interpreter(venv)), *uv.torch_options(), str(lock)]
    uv.checked(uv.run("pip", "sync", *arguments), UninstallableError)
    marker.touch()


def interpreter(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def python_version(venv: Path) -> str:
    """The version in ``pyvenv.cfg``, such as ``3.11.7``; empty if there is none."""
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


def variables(
    venv: Path, run_folder: Path, hub_variables: dict[str, str], *, real_hub: bool
) -> dict[str, str]:
    """All environment variables of a cell's process; HOME and the caches are in ``run_folder``.

    One thread, because with two, gradient norms differ by 1e-7 from run to run. A cell gets HF_TOKEN only
    with a real Hub.
    """
    inherited = (*INHERITED, *INHERITED_FOR_REAL_HUB) if real_hub else INHERITED
    home = run_folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        **{name: os.environ[name] for name in inherited if name in os.environ},
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "PYTHONPATH": str(_package_folder(run_folder)),
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
        **hub_variables,
    }


def _package_folder(run_folder: Path) -> Path:
    """A folder that contains only this package, so that other packages of the host stay out of the cell."""
    folder = run_folder / "source"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "tunematrix").symlink_to(Path(tunematrix.__file__).resolve().parent)
    return folder.resolve()
