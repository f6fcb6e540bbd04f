"""A history with any bytes in it is read, or refused with one message, and what is refused stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.test_records import changed_records, is_readable

from tunematrix.base.errors import TunematrixError, UsageError
from tunematrix.base.history import History
from tunematrix.base.runs import Noted, Part, Run, Step, read_run
from tunematrix.base.store import read_record
from tunematrix.report import history as view
from tunematrix.verdict.past import pasts, sightings

RUN: Final = Run(
    model="tiny",
    cell="new",
    started="2026-01-01T10:00:00Z",
    key="k",
    lock="",
    outcome="failed",
    parts=(Part(name="align", outcome="failed", error="KeyError"),),
)
RUNS: Final = [replace(RUN, started=f"2026-01-{day:02}T10:00:00Z") for day in range(1, 29)]
NOTED: Final = Noted(id="trl-9", severity="wrong", title="a title")
STEP: Final = Step(run=RUN, before=replace(RUN, cell="old"), answer="BREAKS", findings=(NOTED,))


@pytest.fixture(name="valid", scope="module")
def _valid(tmp_path_factory: pytest.TempPathFactory) -> History:
    history = History(tmp_path_factory.mktemp("valid"))
    history.append(RUNS, [STEP])
    return history


def use(history: History) -> None:
    """Read all, render it, and add a run."""
    runs, steps = history.read("tiny")
    cells = pasts(runs, steps, ["old"])
    list(view.table(cells))
    view.to_json("tiny", cells)
    sightings("trl-9", steps, ["new"])
    history.models()
    history.append([replace(RUN, cell="other")])


@given(data=st.data())
def test_a_damaged_history(tmp_path: Path, valid: History, data: st.DataObject) -> None:
    content = bytearray(valid.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        # The first page has the schema; most of a page is empty.
        start = data.draw(st.integers(0, 200) | st.integers(0, len(content)))
        junk = data.draw(st.binary(max_size=40))
        content[start : start + len(junk)] = junk
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    history = History(tmp_path)
    history.path.write_bytes(content)
    try:
        use(history)
    except TunematrixError as error:
        message = str(error)
    else:
        return
    assert message.startswith(str(history.path))
    try:
        history.append([RUN])
    except UsageError:
        assert history.path.read_bytes() == content


@given(content=changed_records())
def test_any_record_that_can_be_read_is_remembered(tmp_path: Path, content: bytes) -> None:
    path, history = tmp_path / "new.json", History(tmp_path)
    path.write_bytes(content)
    if not is_readable(path) or (record := read_record(path)).cell != "new" or not record.model.get("name"):
        return
    run = read_run(path, "new")
    history.append([run])
    assert run in history.read(run.model)[0]
