"""Deprecation warnings: in which release the thing goes."""

from __future__ import annotations

import re
from typing import Final

REMOVAL_RELEASE: Final = re.compile(
    r"(?:in|from|of|after|until|before|with)\s+(?:the\s+)?(?:`?(?P<package>[A-Za-z_]+)`?\s+)?"
    r"(?:version\s+|release\s+)?v?(?P<version>\d+(?:\.\d+)*)",
    re.IGNORECASE,
)


def removed_in(message: str) -> str | None:
    """The release in which a deprecation warning announces removal, such as ``0.29.0``; None without one."""
    for sentence in re.split(r"(?<=[a-z`])\. ", message):
        if re.search(r"remov|drop|no longer|error", sentence, re.IGNORECASE) and (
            match := REMOVAL_RELEASE.search(sentence)
        ):
            return match["version"]
    return None
