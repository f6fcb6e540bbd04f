"""What a command records while it runs: calls adapted to the stack, and numbers to compare.

Kept in memory for the caller of the command; the command line prints the adapted calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Trace:
    """Facts of one command: ``call_sites`` for people who edit code, ``numbers`` for comparisons.

    ``warnings`` are deprecations that the stack announced; ``surface`` is its defaults, signatures and
    public names.
    """

    command: str = ""
    call_sites: list[dict[str, str]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    surface: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add_call_site(self, call: str, argument: str, use: str) -> None:
        """Record once that ``argument`` of ``call`` was replaced by ``use``, or dropped if that is empty."""
        if (site := {"call": call, "argument": argument, "use": use}) not in self.call_sites:
            self.call_sites.append(site)

    def add_number(self, name: str, value: Any) -> None:
        """Record a number, text or list as ``COMMAND.name``; JSON types only."""
        self.numbers[f"{self.command}.{name}"] = value


def watch_batches(model: Any, hashes: list[str]) -> Callable[[], None]:
    """Append a hash of every training batch's token ids to ``hashes``, in the order the model sees them.

    Uses a hook on the embedding, since every forward path of every release goes through it, and a hook is
    torch's public interface. Returns a function that removes the hook.
    """

    def hook(module: Any, inputs: tuple[Any, ...]) -> None:
        if module.training:
            ids = inputs[0].detach().cpu().contiguous()
            text = f"{tuple(ids.shape)}{ids.flatten().tolist()}"
            hashes.append(hashlib.sha256(text.encode()).hexdigest()[:12])

    handle = model.get_input_embeddings().register_forward_pre_hook(hook)
    return handle.remove  # type: ignore[no-any-return]  # torch is not installed where mypy runs
