"""The Hub that a run uses.

``TUNEMATRIX_MODEL`` names the model, ``TUNEMATRIX_HUB`` the Hub; a host that runs cells sets both and
``HF_ENDPOINT``. Without a host (``pytest -m integration``), an embedded Hub is started here.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tunematrix.harness.isolate import Skipped
from tunematrix.pipeline.errors import HubError
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.stages import DEFAULT_MODEL


@contextmanager
def provide_hub() -> Iterator[None]:
    """Provide a Hub for the whole run: the host's, a real one, or an embedded one started here.

    Raises ``Skipped`` with the reason if there is none.
    """
    hub = os.environ.get("TUNEMATRIX_HUB", "embedded")
    if os.environ.get("TUNEMATRIX_CELL"):
        yield
    elif hub == "embedded":
        with _start_embedded_hub():
            yield
    else:
        if hub == "huggingface" and not os.environ.get("HF_TOKEN", "").strip():
            raise Skipped("the real Hub needs HF_TOKEN; export it, or use TUNEMATRIX_HUB=embedded")
        if hub != "huggingface":
            os.environ["HF_ENDPOINT"] = hub
        _require_stack()
        yield


@contextmanager
def _start_embedded_hub() -> Iterator[None]:
    _require_stack()
    try:
        models = importlib.import_module("tunematrix.hub.models")
        server = importlib.import_module("tunematrix.hub.server")
    except ImportError as error:
        raise Skipped(f"the embedded Hub needs {error.name}: pip install -e .") from None
    model = models.MODELS.get(os.environ.get("TUNEMATRIX_MODEL", DEFAULT_MODEL))
    if model is None:
        raise Skipped(f"the embedded Hub has no such model; it has {', '.join(models.MODELS)}")
    try:
        root = models.prepare(model)
    except OSError as error:
        raise Skipped(str(error)) from None
    with server.serving(root) as hub:
        local = {"HF_ENDPOINT": hub.url, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        tiny = os.pathsep.join(str(path) for path in models.tiny_folders())
        folders = {"TUNEMATRIX_TINY": tiny, "TUNEMATRIX_FORMATS": str(models.formats_folder())}
        os.environ.update({**local, **folders, "TUNEMATRIX_REPO": model.repo})
        yield


def _require_stack() -> None:
    """Skip if the stack is not installed; only called outside of a cell, where that is not a failure."""
    for package in ("torch", "transformers", "peft", "trl"):
        if importlib.util.find_spec(package) is None:
            raise Skipped(f"{package} is not installed here; 'nox -s e2e' installs the stack of each cell")


def uses_embedded_hub() -> bool:
    """Whether the Hub is the embedded one: its errors are failures, those of another Hub are skips."""
    return os.environ.get("TUNEMATRIX_HUB", "embedded") == "embedded"


def skip_on_hub_error(work: Callable[[Trace], None]) -> Callable[[Trace], None]:
    """``work`` that raises ``Skipped`` instead of ``HubError``, unless the Hub is the embedded one."""

    def work_or_skip(trace: Trace) -> None:
        try:
            work(trace)
        except HubError as error:
            if uses_embedded_hub():
                raise
            raise Skipped(str(error)) from error

    return work_or_skip
