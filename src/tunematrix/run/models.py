"""Which model a run uses, and where it comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tunematrix.base.errors import InfrastructureError, UsageError, nearest
from tunematrix.hub.models import MODELS, prepare, tiny_folders
from tunematrix.hub.server import serving


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A model, and the Hub it is taken from: ``embedded``, ``huggingface`` or a URL."""

    name: str
    hub: str
    repo: str

    @property
    def embedded(self) -> bool:
        return self.hub == "embedded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A Hub that answers: the variables a cell needs, and the revision it will get if known."""

    variables: dict[str, str]
    revision: str


def choose(name: str) -> Choice:
    """Resolve ``--model`` and ``TUNEMATRIX_HUB``; a repository id implies the real Hub."""
    hub = os.environ.get("TUNEMATRIX_HUB") or "embedded"
    if hub not in ("embedded", "huggingface") and not hub.startswith(("http://", "https://")):
        raise UsageError(f"TUNEMATRIX_HUB={hub}: must be embedded, huggingface, or a URL")
    known = MODELS.get(name)
    if known and hub == "huggingface":
        if not known.upstream:
            raise UsageError(f"--model {name} exists on the embedded Hub only; unset TUNEMATRIX_HUB")
        return Choice(name=name, hub=hub, repo=known.upstream)
    if known:
        return Choice(name=name, hub=hub, repo=known.repo)
    if name.startswith(("tiny-", "smollm2")):
        raise UsageError(f"--model {name}: not a model of the embedded Hub{nearest(name, MODELS)}")
    return Choice(name=name, hub="huggingface" if hub == "embedded" else hub, repo=name)


@contextmanager
def hub_for(choice: Choice, cell: str) -> Iterator[Served]:
    """A Hub for one cell's run, under a path prefix of the cell's own."""
    common = {"TUNEMATRIX_MODEL": choice.name, "TUNEMATRIX_REPO": choice.repo, "TUNEMATRIX_HUB": choice.hub}
    common["TUNEMATRIX_TINY"] = os.pathsep.join(str(path) for path in tiny_folders())
    if not choice.embedded:
        endpoint = {} if choice.hub == "huggingface" else {"HF_ENDPOINT": choice.hub}
        yield Served(variables={**common, **endpoint}, revision="main")
        return
    try:
        root = prepare(MODELS[choice.name])
    except OSError as error:
        raise InfrastructureError(f"the model {choice.name} cannot be made: {error}") from error
    with serving(root) as server:
        local = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
        endpoint = {"HF_ENDPOINT": f"{server.url}/@{cell}", **local}
        yield Served(variables={**common, **endpoint}, revision=server.repos[choice.repo].commit)
