"""How the record words what an option does; the cell writes these words, and the host compares them."""

from __future__ import annotations

from typing import Final

NO_EFFECT: Final = "no effect"
RAISES: Final = "raises "  # and the error's type
NOT_TRIED: Final = "not tried: "  # and why
