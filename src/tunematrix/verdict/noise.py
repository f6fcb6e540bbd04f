"""The numbers of a team's scripts, compared with how far two runs of the same script are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tunematrix.verdict import effects

NOISE_OF: Final = ".noise"  # the field of a script's stage with how far two runs of it are apart
NOISE: Final = 3  # how much further than two runs of the same two stacks may be apart


def is_noise(name: str, old: Any, new: Any, fingerprints: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a script's number differs by no more than it does when the script runs twice.

    Also texts that two runs of the same disagree in, such as batches in the order of a set; but never that
    there are more or fewer of them.
    """
    stage, _, own = name.partition(".")
    measured = f"{stage.removesuffix('-resume')}{NOISE_OF}"
    noises = [noise[own] for side in fingerprints if own in (noise := side.get(measured, {}))]
    pair = [value if isinstance(value, list) else [value] for value in (old, new)]
    if not noises or len(pair[0]) != len(pair[1]):
        return False
    numbers = [effects.is_number(item) for side in pair for item in side]
    if None in noises:
        return not any(numbers)
    return all(numbers) and max(abs(a - b) for a, b in zip(*pair, strict=True)) <= NOISE * max(noises)
