"""What calls return: types, keys, dtypes and shapes, and the class of the error for a wrong use."""

from __future__ import annotations

from typing import Final

from tunematrix.harness.measures.calls import adapters, data, models, training

ALL: Final = (*data.ALL, *models.ALL, *adapters.ALL, *training.ALL)
