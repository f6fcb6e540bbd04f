"""Which commit a model's main branch is at, on a Hub that is not ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

UNRESOLVED: Final = "main"
COMMIT: Final = re.compile(r"[0-9A-Za-z._-]{1,100}")
SECONDS: Final = 10
DEFAULT_ENDPOINT: Final = "https://huggingface.co"


def current(repo: str, hub_variables: Mapping[str, str]) -> str:
    """The commit of ``repo``; ``UNRESOLVED`` if the Hub does not report it.

    ``hub_variables`` are those with which the cell's client finds the Hub. Every answer about a file has the
    commit in a header, also one that redirects to the file or denies it.
    """
    import requests  # slow to import, and the embedded Hub does without it

    endpoint = hub_variables.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/")
    token = hub_variables.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = requests.head(
            f"{endpoint}/{repo}/resolve/main/config.json",
            headers=headers,
            timeout=SECONDS,
            allow_redirects=False,
        )
    except (OSError, ValueError):  # the errors of requests are OSErrors
        return UNRESOLVED
    commit = answer.headers.get("X-Repo-Commit", "")
    return commit if COMMIT.fullmatch(commit) else UNRESOLVED
