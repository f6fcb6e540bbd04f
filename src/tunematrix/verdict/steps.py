"""Between which releases a finding of an exchange begins or ends, in data and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

WRITER: Final = "writer"
READER: Final = "reader"
MAX_STEPS: Final = 2  # in a sentence


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A release of ``package`` with which it ``begins``, or ends, for the writers or the readers.

    It is later than ``after`` and not later than ``upto``, which both were tried. ``releases`` are the
    candidates, the oldest first: a single one is the release, of ISO date ``date``; empty if not all releases
    between the two are known. ``beside`` are further packages that moved too, and may have done it instead.
    """

    side: str
    begins: bool
    package: str
    after: str
    upto: str
    releases: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    date: str = ""

    @property
    def release(self) -> str:
        """The release; empty if several may be it."""
        return self.releases[0] if len(self.releases) == 1 and not self.beside else ""

    @property
    def when(self) -> str:
        """``since transformers 5.0.0``, or ``before a peft between 0.14.0 and 0.17.0 (5 candidates)``.

        Of other packages: ``since a peft between 0.13.2 and 0.14.0 (1 candidate) or trl beside it``.
        """
        word = "since" if self.begins else "before"
        if self.release:
            return f"{word} {self.package} {self.release}"
        many = "s" if len(self.releases) > 1 else ""
        count = f" ({len(self.releases)} candidate{many})" if self.releases else ""
        others = f" or {', '.join(self.beside)} beside it" if self.beside else ""
        return f"{word} a {self.package} between {self.after} and {self.upto}{count}{others}"


def sentence(steps: Sequence[Step]) -> str:
    """``writers since transformers 5.0.0; readers before transformers 5.0.0``; empty without steps."""
    return "; ".join(_of_sides(steps))


def _of_sides(steps: Sequence[Step]) -> Iterator[str]:
    for side in (WRITER, READER):
        own = [step.when for step in steps if step.side == side]
        if own:
            more = f" and {len(own) - MAX_STEPS} more" if own[MAX_STEPS:] else ""
            yield f"{side}s {' and '.join(own[:MAX_STEPS])}{more}"
