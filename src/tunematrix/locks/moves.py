"""What moves between two files that list packages; also what is no release, such as an install from git."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from packaging.utils import canonicalize_name

from tunematrix.base.versions import exact_version
from tunematrix.locks import lock
from tunematrix.locks.package_files import PackageFile

STACK: Final = (*lock.WORKFLOW_PACKAGES, "torch")
# What the stack uses where it is installed, and does not require.
COMPANIONS: Final = re.compile(
    r"bitsandbytes|deepspeed|einops|flash-attn|hf-transfer|hf-xet|kernels|liger-kernel|mlflow|optimum|pillow"
    r"|protobuf|rich|scikit-learn|scipy|sentencepiece|swanlab|tensorboardx?|tiktoken|torch(audio|data|vision)"
    r"|trackio|triton|unsloth|vllm|wandb|xformers"
)
# Tools that no training script imports.
DEVELOPMENT: Final = re.compile(
    r"(ruff|black|isort|mypy(-extensions)?|pyright|pre-commit|nox|tox|coverage|codespell|bandit|pip|uv|build|twine"
    r"|mkdocs|sphinx|flake8|pylint|pytest|types|jupyter|ipython|tunematrix)(-.*)?"
)
NONE: Final = "(none)"
EGG: Final = re.compile(r"#(?:.*&)?egg=([\w.-]+)")
COMMIT: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28}\b")
Moves = dict[str, tuple[str, str]]


def entries(listed: PackageFile) -> dict[str, str]:
    """By package, what a file says of it: a version, a range, or where it comes from."""
    said: dict[str, list[str]] = {}
    for item in (*listed.requirements, *listed.constraints):
        text = exact_version(item) or str(item.specifier) or "any"
        said.setdefault(str(canonicalize_name(item.name)), []).append(text)
    return {name: ", ".join(sorted(texts)) for name, texts in said.items()} | sources(listed)


def sources(listed: PackageFile) -> dict[str, str]:
    """By package, where each comes from that is no release on an index."""
    return {name_of(other): _shown(listed.sources.get(other, other)) for other in listed.others}


def moved(before: PackageFile, after: PackageFile) -> Moves:
    """What one file says of a package and the other one does not."""
    old, new = entries(before), entries(after)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return {name: (old.get(name, NONE), new.get(name, NONE)) for name in names}


def unreleased(before: PackageFile, after: PackageFile) -> Moves:
    """The packages that move from or to what is no release on an index."""
    others = sources(before).keys() | sources(after).keys()
    return {name: pair for name, pair in moved(before, after).items() if name in others}


def matters(name: str, *, own_scripts: bool) -> bool:
    """Whether the work may import a package: ours is known, and a team's may import all but tools."""
    if own_scripts:
        return not DEVELOPMENT.fullmatch(name)
    return name in STACK or bool(COMPANIONS.fullmatch(name))


def lines(moves: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """``trl git+https://host/trl@abc -> git+https://host/trl@def``, a line each."""
    yield from (f"{name} {old} -> {new}" for name, (old, new) in moves.items())


def name_of(other: str) -> str:
    """The package that an entry is of: its name, that in its URL, or the last part of its path."""
    if egg := EGG.search(other):
        return str(canonicalize_name(egg[1]))
    if "/" not in other:
        return other
    last = other.partition("#")[0].rstrip("/").rpartition("/")[2].partition("@")[0]
    return str(canonicalize_name(last.removesuffix(".git"))) or other


def _shown(origin: str) -> str:
    """Where a package comes from, in a word; locks of other tools have tables for that."""
    if origin.startswith("{"):
        parts = json.loads(origin)
        parts = parts.get("vcs") or parts.get("archive") or parts
        url = next((str(parts[key]) for key in ("git", "url", "path") if key in parts), origin)
        keys = ("commit-id", "resolved_reference", "requested-revision", "reference")
        commit = next((str(parts[key]) for key in keys if key in parts), "")
        origin = f"{url}@{commit}" if commit else url
    return COMMIT.sub(r"\1", origin)
