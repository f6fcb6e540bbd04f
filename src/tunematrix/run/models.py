"""Which model a run uses, and which Hub serves it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.hub.models import MODELS, Model, formats_folder, prepare, tiny_folders
from tunematrix.hub.server import serving
from tunematrix.shared.repos import RULE, TINY, is_repo_id
from tunematrix.shared.secrets import clean_token, mask
from tunematrix.shared.suggest import did_you_mean

# What a tiny model needs of a folder, and of what its tokenizer consists.
CONFIGURATION: Final = (".json", ".txt", ".model", ".jinja")
TOKENIZERS: Final = ("tokenizer", "vocab", "spiece")
MAX_FILE: Final = 100_000_000  # bytes; of a larger one nobody makes a tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A model, and the Hub to download it from: ``embedded``, ``huggingface`` or a URL.

    ``hub`` is shown and recorded; ``url`` may have credentials and is only for requests. Of a ``tiny`` one
    the cell makes the weights; ``own`` is a team's folder that the embedded Hub serves.
    """

    name: str
    hub: str
    repo: str
    url: str = field(default="", repr=False)
    tiny: bool = False
    own: Model | None = None

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
    """Resolve ``--model`` and ``TUNEMATRIX_HUB``; a repository id implies the real Hub.

    Raises ``UsageError`` for a wrong name, URL or token.
    """
    of_tiny = name.removeprefix(TINY)
    if name.startswith(TINY) and of_tiny.startswith((".", "/", "~")):
        own = _own_model(name, Path(of_tiny).expanduser())
        return Choice(name=name, hub="embedded", repo=own.repo, tiny=True, own=own)
    hub = os.environ.get("TUNEMATRIX_HUB", "").strip() or "embedded"
    url = "" if hub in ("embedded", "huggingface") else _check_url(hub)
    model = MODELS.get(name)
    if model is None:
        _check_repo(name)
        hub = "huggingface" if hub == "embedded" else hub
    elif hub == "huggingface" and not model.upstream:
        raise UsageError(f"--model {name} exists on the embedded Hub only; unset TUNEMATRIX_HUB")
    if hub != "embedded":
        _token_variables()
    repo = of_tiny if model is None else (model.upstream or "") if hub == "huggingface" else model.repo
    return Choice(name=name, hub=mask(hub), repo=repo, url=url, tiny=name != of_tiny)


def _check_repo(name: str) -> None:
    if name.startswith(("tiny-", "smollm2")):
        raise UsageError(f"--model {name}: not a model of the embedded Hub{did_you_mean(name, MODELS)}")
    if not is_repo_id(name.removeprefix(TINY)):
        of_folder = f"; of a folder, {TINY}./FOLDER makes a tiny model" if Path(name).is_dir() else ""
        raise UsageError(f"--model {name!r}: not a repository id of the Hub: {RULE}{of_folder}")


def _own_model(name: str, folder: Path) -> Model:
    """A folder with ``config.json`` and a tokenizer as a model of the embedded Hub, without its weights.

    Raises ``UsageError`` for one that lacks them.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(f"--model {name}: there is no {folder / 'config.json'}")
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in CONFIGURATION
        and not path.name.endswith(".index.json")
        and path.is_file()
        and path.stat().st_size <= MAX_FILE
    ]
    if not any(path.name.startswith(TOKENIZERS) for path in files):
        raise UsageError(f"--model {name}: {folder} has no tokenizer; save one there with save_pretrained")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return Model(name=f"own-{digest.hexdigest()[:16]}", make=partial(_copy, files), version=1)


def _copy(files: list[Path], folder: Path) -> None:
    for path in files:
        shutil.copyfile(path, folder / path.name)


def _check_url(url: str) -> str:
    """``url`` if it is one; the message does not show it, because it may have credentials."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or half an IPv6 address
        valid = False
    if not valid or not all("!" <= character <= "~" for character in url):
        raise UsageError(
            "TUNEMATRIX_HUB: must be embedded, huggingface, or a URL such as https://hub.example.org"
        )
    return url


def _token_variables() -> dict[str, str]:
    """``HF_TOKEN`` for a cell, if it is set; raises ``UsageError`` for a token that no request can carry."""
    try:
        token = clean_token(os.environ.get("HF_TOKEN", ""))
    except ValueError as error:
        raise UsageError(f"HF_TOKEN: {error}") from None
    return {"HF_TOKEN": token} if token else {}


@contextmanager
def hub_for(choice: Choice, cell: str) -> Iterator[HubAccess]:
    """Access to the Hub of ``choice`` for one run of ``cell``.

    Serves the embedded Hub under a path prefix for the cell. Only another Hub gets the token. Raises
    ``InfrastructureError`` when it cannot create the model.
    """
    common = {"TUNEMATRIX_MODEL": choice.name, "TUNEMATRIX_REPO": choice.repo, "TUNEMATRIX_HUB": choice.hub}
    common["TUNEMATRIX_TINY"] = os.pathsep.join(str(path) for path in tiny_folders())
    common["TUNEMATRIX_FORMATS"] = str(formats_folder())
    common["TUNEMATRIX_SHRINK"] = str(int(choice.tiny))
    if not choice.embedded:
        endpoint = {"HF_ENDPOINT": choice.url} if choice.url else {}
        yield HubAccess(variables={**common, **endpoint, **_token_variables()}, revision="main")
        return
    try:
        root = prepare(choice.own or MODELS[choice.name])
    except OSError as error:
        raise InfrastructureError(f"cannot create the model {choice.name}: {error}") from error
    with serving(root) as server:
        no_proxy = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
        endpoint = {"HF_ENDPOINT": f"{server.url}/@{cell}", **no_proxy}
        yield HubAccess(variables={**common, **endpoint}, revision=server.repos[choice.repo].commit)
