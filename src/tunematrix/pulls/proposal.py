"""Propose files as a pull request: one commit on a branch of its own, which each proposal replaces."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.pulls.api import Api, again
from tunematrix.pulls.pins import git

BRANCH: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")
NAME: Final = "tunematrix"
EMAIL: Final = "tunematrix@users.noreply.github.com"


def commit(branch: str, title: str, paths: Sequence[Path]) -> bool:
    """Push what changed below ``paths`` as one commit on ``branch``; false if nothing did.

    Raises ``UsageError`` for a name that is no branch of a proposal, and if git refuses.
    """
    if not BRANCH.fullmatch(branch) or branch == os.environ.get("GITHUB_REF_NAME"):
        raise UsageError(
            f"--branch {branch[:80]!r}: name a branch of its own, such as 'latest'; it is replaced"
        )
    git("add", "--all", "--", *map(str, paths))
    if not git("diff", "--cached", "--name-only"):
        return False
    git("switch", "--quiet", "--force-create", branch)
    git("-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}", "commit", "--quiet", "--message", title)
    git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
    return True


def propose(api: Api, branch: str, title: str, body: str) -> str:
    """Open the pull request of ``branch`` to the branch of this run, or update it; returns what was done."""
    base = os.environ.get("GITHUB_REF_NAME", "")
    if not base:
        raise UsageError("GITHUB_REF_NAME is not set; GitHub sets it in every job")
    owner = api.root.split("/")[-2]

    def write() -> str:
        for pull in api.pages("pulls", state="open", head=f"{owner}:{branch}"):
            if not isinstance(pull.get("number"), int):
                raise InfrastructureError("the API's pulls have another form than documented")
            api.patch(f"pulls/{pull['number']}", {"title": title, "body": body})
            return f"#{pull['number']} updated"
        api.post("pulls", {"title": title, "head": branch, "base": base, "body": body})
        return "opened"

    return again(write)
