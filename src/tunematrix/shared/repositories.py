"""What the copy of a team's repository in a cell leaves out, and so the host's hash over it."""

from __future__ import annotations

from typing import Final

# Folders of tools, and of results: no script reads them.
LEFT_OUT: Final = frozenset({
    ".git", ".hg", ".venv", "venv", ".nox", ".tox", ".tunematrix", "node_modules", "results", "__pycache__",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", "wandb", "mlruns",
})  # fmt: skip
