"""The Hub that a run talks to.

``TUNEMATRIX_MODEL`` names the model, ``TUNEMATRIX_HUB`` the Hub; a host that runs cells sets both and
``HF_ENDPOINT``. Alone (``pytest -m integration``), an embedded Hub is started here.
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
def hub() -> Iterator[None]:
    """A Hub for the whole run: the host's, the real one, or an embedded one started here.

    Raises ``Skipped`` with the reason where none can be had.
    """
    chosen = os.environ.get("TUNEMATRIX_HUB", "embedded")
    if os.environ.get("TUNEMATRIX_CELL"):
        yield
    elif chosen == "embedded":
        with _embedded():
            yield
    else:
        if chosen == "huggingface" and not os.environ.get("HF_TOKEN"):
            raise Skipped("the real Hub needs HF_TOKEN; export it, or use TUNEMATRIX_HUB=embedded")
        if chosen != "huggingface":
            os.environ["HF_ENDPOINT"] = chosen
        _known_stack()
        yield


@contextmanager
def _embedded() -> Iterator[None]:
    _known_stack()
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
    with server.serving(root) as running:
        local = {"HF_ENDPOINT": running.url, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        tiny = os.pathsep.join(str(path) for path in models.tiny_folders())
        os.environ.update({**local, "TUNEMATRIX_REPO": model.repo, "TUNEMATRIX_TINY": tiny})
        yield


def _known_stack() -> None:
    """Outside a cell the stack may simply not be there; inside one that is a failure."""
    for package in ("torch", "transformers", "peft", "trl"):
        if importlib.util.find_spec(package) is None:
            raise Skipped(f"{package} is not installed here; 'nox -s e2e' installs the stack of each cell")


def own_hub() -> bool:
    """Whether the Hub is the embedded one: its troubles are failures, another's are reasons to skip."""
    return os.environ.get("TUNEMATRIX_HUB", "embedded") == "embedded"


def hub_trouble(work: Callable[[Trace], None]) -> Callable[[Trace], None]:
    """``work``, with trouble of a Hub that is not ours turned into a skip with its reason."""

    def careful(trace: Trace) -> None:
        try:
            work(trace)
        except HubError as error:
            if own_hub():
                raise
            raise Skipped(str(error)) from error

    return careful
