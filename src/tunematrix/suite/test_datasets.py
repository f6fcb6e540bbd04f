"""``datasets`` apart from the workflow: the formats that training code uses."""

from __future__ import annotations

import pytest

from tunematrix.harness.workflow import run_probe
from tunematrix.pipeline.trace import Trace

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_dataset_format() -> None:
    """Rows as numpy arrays, as a collator or a metric reads them."""

    def work(_: Trace) -> None:
        import datasets

        rows = datasets.Dataset.from_dict({"input_ids": [[1, 2, 3], [4, 5, 6]]}).with_format("numpy")
        assert rows[1]["input_ids"].tolist() == [4, 5, 6]

    run_probe(work)
