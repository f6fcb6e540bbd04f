"""The exchange for people: a screen, a heat map, Markdown, JSON, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.verdict.test_exchange import (
    ENTRY,
    MIDDLE,
    NEW,
    NOTHING,
    OLD,
    SIDES,
    UNKNOWN_KEY,
    off,
    pair,
)
from tunematrix.questions.exchange import ALL, Exchange
from tunematrix.report import exchange as view
from tunematrix.verdict import exchange, ledger
from tunematrix.verdict.pairs import ARTIFACTS, FAILS, UNAVAILABLE, Pair, Side

HEIGHT = 50


def outcome(*pairs: Pair, absent: dict[str, str] | None = None) -> Exchange:
    return Exchange(sides=SIDES, pairs=pairs, absent=absent or {})


FAILING = (pair(NEW, OLD, error=UNKNOWN_KEY), pair(OLD, NEW), pair(OLD, OLD), pair(OLD, OLD, "dora"))


def test_the_screen_counts_by_direction_and_names_what_is_the_same() -> None:
    found = exchange.find(FAILING, SIDES, NOTHING)
    lines = list(view.lines(outcome(*FAILING), found))
    assert lines[0].split() == ["read", "by", "the", "same", "stack", "newer", "stacks", "older", "stacks"]
    assert lines[1].split() == ["lora", "1", "ok", "1", "ok", "1", "FAIL"]
    assert lines[2] == "the same everywhere: dora"
    assert lines[-1] == "3 of 4 readings are the same; 1 findings"


def test_artifacts_with_the_same_outcomes_share_a_row() -> None:
    pairs = [pair(NEW, OLD, name, error=UNKNOWN_KEY) for name in ("lora", "dora", "rslora")]
    lines = list(view.lines(outcome(*pairs), ()))
    assert lines[1].startswith("lora, dora, rslora ")


def test_ten_cells_of_which_everything_fails_fit_on_a_screen() -> None:
    sides = [Side(name=f"cell-{n}", packages={"transformers": f"5.{n}.0"}) for n in range(10)]
    pairs = [
        Pair(
            writer=writer.name,
            reader=reader.name,
            model="m",
            artifact=name,
            outcome=FAILS,
            error={"type": f"Error{place}", "message": "no"},
        )
        for place, name in enumerate(ARTIFACTS)
        for writer in sides
        for reader in sides
    ]
    found = exchange.find(pairs, sides, NOTHING)
    lines = list(view.lines(Exchange(sides=tuple(sides), pairs=tuple(pairs), absent={}), found))
    assert len(lines) <= HEIGHT


def test_the_heat_map_has_the_worst_of_several_models() -> None:
    second = Pair(writer="new", reader="old", model="other", artifact="lora", outcome="same")
    pairs = (second, *FAILING)
    assert view.grid(outcome(*pairs), "lora")[2][0] == FAILS
    lines = list(view.lines(outcome(*pairs), (), "lora"))
    assert lines[1].split() == ["old", "middle", "new"]
    assert lines[4].split() == ["new", "FAIL", "-", "-"]


def test_one_model_that_is_not_to_be_had_hides_nothing() -> None:
    pairs = (pair(NEW, OLD, outcome=UNAVAILABLE), pair(NEW, OLD, difference=off()))
    assert view.grid(outcome(*pairs), "lora")[2][0] == "differs"


def test_exit_codes() -> None:
    found = exchange.find(FAILING, SIDES, NOTHING)
    assert view.exit_code(outcome(*FAILING), found) == 1
    assert view.exit_code(outcome(FAILING[1]), ()) == 0
    assert view.exit_code(outcome(absent={"old": "cannot be installed"}), ()) == 3


def test_markdown_has_a_map_for_each_artifact_and_escapes_errors() -> None:
    error = {"type": "Error", "message": "<script>alert(1)</script> | [x](http://example.org)"}
    pairs = (pair(NEW, OLD, error=error), pair(OLD, NEW, "merged"))
    text = view.markdown(outcome(*pairs), exchange.find(pairs, SIDES, NOTHING))
    assert "### lora: a LoRA adapter" in text
    assert "### merged: a merged model" in text
    assert "<script>" not in text
    assert r"\[x\](http" in text


def test_json_has_every_pair_with_its_direction() -> None:
    absent = pair(MIDDLE, NEW, ALL, outcome=UNAVAILABLE, detail="cannot be installed")
    content = json.loads(json.dumps(view.to_json(outcome(*FAILING, absent), ())))
    assert content["pairs"][0] == {
        "writer": "new",
        "reader": "old",
        "direction": "downgrade",
        "model": "tiny-llama",
        "artifact": "lora",
        "outcome": "fails",
        "reason": "TypeError: LoraConfig got an unexpected keyword argument 'alora'",
        "size": None,
        "error": {**UNKNOWN_KEY, "cause": ""},
    }
    assert content["pairs"][-1]["reason"] == "cannot be installed"
    assert [cell["cell"] for cell in content["cells"]] == ["old", "middle", "new"]


def test_what_is_known_is_a_line_for_each_cause(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_text(ENTRY)
    pairs = tuple(pair(NEW, OLD, name, error=UNKNOWN_KEY) for name in ("lora", "dora", "rslora"))
    found = exchange.find(pairs, SIDES, ledger.load(tmp_path))
    *_, known, last = view.lines(outcome(*pairs), found)
    cause = "peft before 0.14 refuses keys that it doe..."
    assert known == f"known        lora, dora +1 (writers since peft 0.18.0): {cause}"
    assert last == "0 of 3 readings are the same; nothing unexpected; 1 known"
    assert view.exit_code(outcome(*pairs), found) == 0
    assert "known        lora" not in "\n".join(view.lines(outcome(*pairs), found, "merged"))


FROZEN = Side(name="old (frozen)", packages=OLD.packages, reads=False)


def test_a_frozen_set_has_a_row_and_no_column() -> None:
    pairs = (pair(FROZEN, NEW), pair(NEW, NEW), pair(OLD, NEW))
    exchanged = Exchange(sides=(FROZEN, OLD, NEW), pairs=pairs, absent={})
    lines = list(view.lines(exchanged, (), "lora"))
    assert lines[1].split() == ["old", "new"]
    assert lines[2].split() == ["old", "(frozen)", "-", "ok"]
    text = view.markdown(exchanged, ())
    assert "| old (frozen) | - | ok |" in text.replace("\\", "")
    assert "|  | old | new |" in text
    content = view.to_json(exchanged, ())
    assert [each.get("frozen", False) for each in content["cells"]] == [True, False, False]
    assert content["pairs"][0]["direction"] == "upgrade"


def test_numbered_columns_are_those_of_the_readers() -> None:
    readers = [Side(name=f"cell-{n}", packages={}) for n in range(9)]
    exchanged = Exchange(sides=(FROZEN, *readers), pairs=(pair(FROZEN, readers[0]),), absent={})
    lines = list(view.lines(exchanged, (), "lora"))
    assert lines[1].split() == [str(number) for number in range(1, 10)]
    assert lines[2].split()[:3] == ["old", "(frozen)", "ok"]
    assert lines[3].split()[:2] == ["1", "cell-0"]
