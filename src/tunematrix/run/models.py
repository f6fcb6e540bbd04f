"""Which model a run uses, and which Hub serves it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tunematrix.base.errors import InfrastructureError, UsageError, did_you_mean
from tunematrix.hub.models import MODELS, prepare, tiny_folders
from tunematrix.hub.server import serving


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A model, and the Hub to download it from: ``embedded``, ``huggingface`` or a URL."""

    name: str
    hub: str
    repo: str

    @property
    def embedded(self) -> bool:
        return self.hub == "embedded"


@dataclass(frozen=True, kw_only=True, slots=True)
class HubAccess:
    """How a cell reaches its Hub: the environment variables to set, and the revision of the model.

    The revision is ``main`` where only the download can resolve it to a commit.
    """

    variables: dict[str, str]
    revision: str


def choose(name: str) -> Choice:
    """Resolve ``--model`` and ``TUNEMATRIX_HUB``; a repository id implies the real Hub."""
    hub = os.environ.get("TUNEMATRIX_HUB") or "embedded"
    if hub not in ("embedded", "huggingface") and not hub.startswith(("http://", "https://")):
        raise UsageError(f"TUNEMATRIX_HUB={hub}: must be embedded, huggingface, or a URL")
    model = MODELS.get(name)
    if model and hub == "huggingface":
        if not model.upstream:
            raise UsageError(f"--model {name} exists on the embedded Hub only; unset TUNEMATRIX_HUB")
        return Choice(name=name, hub=hub, repo=model.upstream)
    if model:
        return Choice(name=name, hub=hub, repo=model.repo)
    if name.startswith(("tiny-", "smollm2")):
        raise UsageError(f"--model {name}: not a model of the embedded Hub{did_you_mean(name, MODELS)}")
    return Choice(name=name, hub="huggingface" if hub == "embedded" else hub, repo=name)


@contextmanager
def hub_for(choice: Choice, cell: str) -> Iterator[HubAccess]:
    """Access to the Hub of ``choice`` for one run of ``cell``.

    Serves the embedded Hub under a path prefix for the cell. Raises ``InfrastructureError`` when it cannot
    create the model.
    """
    common = {"TUNEMATRIX_MODEL": choice.name, "TUNEMATRIX_REPO": choice.repo, "TUNEMATRIX_HUB": choice.hub}
    common["TUNEMATRIX_TINY"] = os.pathsep.join(str(path) for path in tiny_folders())
    if not choice.embedded:
        endpoint = {} if choice.hub == "huggingface" else {"HF_ENDPOINT": choice.hub}
        yield HubAccess(variables={**common, **endpoint}, revision="main")
        return
    try:
        root = prepare(MODELS[choice.name])
    except OSError as error:
        raise InfrastructureError(f"cannot create the model {choice.name}: {error}") from error
    with serving(root) as server:
        no_proxy = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
        endpoint = {"HF_ENDPOINT": f"{server.url}/@{cell}", **no_proxy}
        yield HubAccess(variables={**common, **endpoint}, revision=server.repos[choice.repo].commit)
