"""A cell's environment: exactly the packages of its lock, and exactly the variables listed here."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import filelock

import tunematrix
from tunematrix.base.errors import InfrastructureError, UninstallableError, UsageError
from tunematrix.hub.models import cache_root
from tunematrix.locks import uv
from tunematrix.locks.table import Cell
from tunematrix.run import bytecode

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
INHERITED_FOR_REAL_HUB: Final = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
# A file in a complete environment, which identifies its lock and its packages.
MARKER: Final = ".tunematrix"
TEMPORARY: Final = "tunematrix"  # in the names of environments that are being made or removed


def ensure(venv: Path, python: str) -> None:
    """Create an empty environment in ``venv`` if it has no interpreter."""
    if not interpreter(venv).exists():
        with _replacement(venv) as new:
            _create(new, python)


def sync(venv: Path, lock: Path, cell: Cell) -> None:
    """Make ``venv`` hold exactly the packages of ``lock``; one that already does needs no package index.

    Any other is built anew and takes the place of ``venv`` when it is complete, so that a failure or a kill
    leaves what was there. Raises ``UninstallableError`` with uv's message, ``InfrastructureError``, or
    ``UsageError`` if ``venv`` is something else than an environment.
    """
    if _marker(venv) == _state(venv, lock):
        return
    with _replacement(venv) as new:
        python = str(interpreter(venv)) if interpreter(venv).exists() else cell.python
        # The index is needed only for what is not in uv's cache. A failed attempt may leave half a package.
        completed = _build(new, python, lock, "--offline")
        if completed.returncode:
            completed = _build(new, python, lock)
        uv.checked(completed, UninstallableError)
        bytecode.restore(new)
        (new / MARKER).write_text(_state(new, lock))


def _build(venv: Path, python: str, lock: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Create ``venv`` again and install ``lock``; the result is uv's."""
    _create(venv, python)
    options = ("--quiet", *options, *_torch_options(lock))
    return uv.run("pip", "sync", "--python", str(interpreter(venv)), *options, str(lock))


def _torch_options(lock: Path) -> list[str]:
    """The options that select where uv gets the torch of ``lock``; a CUDA build comes from the index."""
    packages = dict(re.findall(r"^([\w.-]+)==([^\s;,]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    torch = packages.get("torch")
    return [] if uv.has_cuda(packages) else uv.torch_options(f"=={torch}" if torch else "")


def _create(venv: Path, python: str) -> None:
    """Create an empty environment in ``venv`` that can be moved."""
    options = ("--quiet", "--clear", "--no-project", "--relocatable")
    completed = uv.run("venv", *options, "--python", python, str(venv))
    try:
        uv.checked(completed, UsageError)
    except UsageError as error:
        reason = uv.one_line(str(error).partition("\n\n")[0])  # then come hints
        raise UsageError(
            f"Python {python} is not available: {reason}; install it: uv python install {python}"
        ) from None


@contextlib.contextmanager
def _replacement(venv: Path) -> Iterator[Path]:
    """A folder for an environment that takes the place of ``venv`` if the block ends without an error.

    It lies beside ``venv``, where a rename is atomic. The name is this process's own: after a kill, the uv of
    an earlier one may go on writing.
    """
    target = venv.resolve()
    _check_replaceable(target)
    new = target.with_name(f"{target.name}.{TEMPORARY}-new-{os.getpid()}")
    old = target.with_name(f"{target.name}.{TEMPORARY}-old-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target):
            _remove_leftovers(target, "new")
            yield new
            if target.exists():
                target.rename(old)
            new.rename(target)
            _remove_leftovers(target, "old")
    except OSError as error:
        raise InfrastructureError(f"cannot replace the environment {venv}: {error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def locked(venv: Path) -> filelock.BaseFileLock:
    """The lock of an environment, for a block that uses or replaces it; blocks may be nested.

    Another results folder may have a cell with another lock and the same environment, and would replace it
    in the middle of a run. Raises ``OSError``.
    """
    return filelock.FileLock(_lock_file(venv.resolve()), is_singleton=True)


def _lock_file(target: Path) -> Path:
    """A file in the user's cache, because ``target`` may lie among the user's own files."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / hashlib.sha256(os.fsencode(target)).hexdigest()[:32]


def _check_replaceable(target: Path) -> None:
    """Refuse a folder that is not an environment, or is the one that this process runs in."""
    if target == Path(sys.prefix).resolve():
        raise UsageError(f"{target}: tunematrix runs in this environment; name another one with --venv")
    if target.exists() and not (
        target.is_dir() and ((target / "pyvenv.cfg").is_file() or not any(target.iterdir()))
    ):
        raise UsageError(f"{target}: not a virtual environment; name a new folder with --venv")


def _remove_leftovers(target: Path, kind: str) -> None:
    for folder in target.parent.glob(f"{glob.escape(target.name)}.{TEMPORARY}-{kind}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _marker(venv: Path) -> str | None:
    with contextlib.suppress(OSError):
        return (venv / MARKER).read_text(encoding="utf-8", errors="replace")
    return None


def _state(venv: Path, lock: Path) -> str:
    """A hash of ``lock`` and of what is installed: it changes with every package added, replaced or removed.

    Each package lists its files with their hashes in its ``RECORD``; other files at the top are included by
    name.
    """
    digest = hashlib.sha256(lock.read_bytes())
    for path in sorted(venv.glob("lib/*/site-packages/*")):
        if path.name != "__pycache__":
            record = path / "RECORD"
            digest.update(b"\0" + os.fsencode(path.name) + b"\0")
            digest.update(record.read_bytes() if record.is_file() else b"")
    return digest.hexdigest()


def interpreter(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def python_version(venv: Path) -> str:
    """The version in ``pyvenv.cfg``, such as ``3.11.7``; empty if there is none."""
    with contextlib.suppress(OSError):
        for line in (venv / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines():
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

    Paths are absolute, because a script may change its folder.

    One thread, because with two, gradient norms differ by 1e-7 from run to run. ``hub_variables`` come from
    ``models.hub_for``, which gives HF_TOKEN only for a real Hub.
    """
    inherited = (*INHERITED, *INHERITED_FOR_REAL_HUB) if real_hub else INHERITED
    home = run_folder.absolute() / "home"
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
        # A script that reports to a service must neither ask for an account, nor send two steps to one.
        "WANDB_MODE": "disabled",
        "COMET_MODE": "disabled",
        "NEPTUNE_MODE": "offline",
        "SWANLAB_MODE": "disabled",
        "CUDA_VISIBLE_DEVICES": "",
        **dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
        ),
        "VIRTUAL_ENV": str(venv.absolute()),
        **hub_variables,
    }


def _package_folder(run_folder: Path) -> Path:
    """A folder that contains only this package, so that other packages of the host stay out of the cell."""
    folder = run_folder / "source"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "tunematrix").symlink_to(Path(tunematrix.__file__).resolve().parent)
    return folder.resolve()
