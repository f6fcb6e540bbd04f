"""Silent changes between real releases, from the records of real cells: each shows in the expected fields."""

from __future__ import annotations

import gzip
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tunematrix.base.record import from_dict, schema
from tunematrix.verdict import causes
from tunematrix.verdict.diff import compare

DATA = Path(__file__).parents[2] / "data/pairs"
CONSTRAINTS = Path(__file__).parents[3] / "constraints"
PAIRS = sorted(path.name.split(".")[0] for path in DATA.glob("*.json.gz"))


def load(name: str) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes())))


def test_there_are_eight_pairs() -> None:
    assert len(PAIRS) == 8


@pytest.mark.parametrize("name", PAIRS)
def test_the_change_shows_in_its_fields_and_a_record_equals_itself(name: str) -> None:
    pair = load(name)
    before, after = (from_dict(pair[side]) for side in ("before", "after"))
    names = [change.name for change in compare(before, after).changes]

    for pattern in pair["fields"]:
        assert any(fnmatchcase(name, pattern) for name in names), f"{pattern} is not among {names}"
    for record in (before, after):
        assert compare(record, record).changes == ()
    for side in ("before", "after"):
        jsonschema.validate(pair[side], schema())


@pytest.mark.parametrize("name", [name for name in PAIRS if not name.startswith("a23")])
def test_the_change_gets_its_cause(name: str) -> None:
    pair = load(name)
    before, after = (from_dict(pair[side]) for side in ("before", "after"))
    comparison = causes.annotate(compare(before, after), causes.load(CONSTRAINTS))

    matches = [change for change in comparison.changes if fnmatchcase(change.name, pair["fields"][0])]
    assert all(change.why for change in matches), [change.name for change in matches if not change.why]
