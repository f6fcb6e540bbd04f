"""What a run tells about itself: adaptations made for the stack, and the numbers that came out.

Kept in memory and read by whoever called the command; the command line prints the adaptations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Trace:
    """Facts of one command: ``call_sites`` for people who edit code, ``numbers`` for comparisons.

    ``warnings`` are deprecations that the stack announced; ``surface`` is what it offers and assumes.
    """

    command: str = ""
    call_sites: list[dict[str, str]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    surface: dict[str, dict[str, Any]] = field(default_factory=dict)

    def call_site(self, call: str, argument: str, use: str) -> None:
        """Announce that ``argument`` of ``call`` had to become ``use`` (empty: was dropped), once."""
        if (row := {"call": call, "argument": argument, "use": use}) not in self.call_sites:
            self.call_sites.append(row)

    def number(self, name: str, value: Any) -> None:
        """Keep a number, text or list as ``COMMAND.name``; JSON types only."""
        self.numbers[f"{self.command}.{name}"] = value


def watch_batches(model: Any, seen: list[str]) -> Callable[[], None]:
    """Append a hash of every training batch's token ids, in the order the model sees them.

    A hook on the embedding, since every forward path of every release goes through it, and a hook is
    torch's public interface. Returns a function that ends the watch.
    """

    def hook(module: Any, inputs: tuple[Any, ...]) -> None:
        if module.training:
            ids = inputs[0].detach().cpu().contiguous()
            text = f"{tuple(ids.shape)}{ids.flatten().tolist()}"
            seen.append(hashlib.sha256(text.encode()).hexdigest()[:12])

    handle = model.get_input_embeddings().register_forward_pre_hook(hook)
    return handle.remove  # type: ignore[no-any-return]  # torch is not installed where mypy runs
