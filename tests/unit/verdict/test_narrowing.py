"""Between which releases a finding of an exchange begins and ends: from pairs, the ladder, and the ledger."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.verdict.test_exchange import ENTRY, MIDDLE, NEW, OLD, SIDES, UNKNOWN_KEY, off, pair
from tunematrix.report.summary import finding_json
from tunematrix.verdict import exchange, ledger, releases
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.pairs import Pair, Side
from tunematrix.verdict.releases import Rung

ROOT = Path(__file__).parents[3]
DIAGONAL = ROOT / "tests/data/diagonal.json.gz"
NOTHING = ledger.Ledger(path=Path("known-issues.toml"))


def rung(before: str, after: str, package: str = "peft", **fields: Any) -> Rung:
    return Rung(day="2025-01-01", package=package, before=before, after=after, **fields)


def find(
    *pairs: Pair, rungs: tuple[Rung, ...] = (), issues: ledger.Ledger = NOTHING, sides: Any = SIDES
) -> list[Finding]:
    return list(exchange.find(pairs, sides, issues, rungs))


def when(finding: Finding) -> list[str]:
    return [f"{step.side} {step.when}" for step in finding.steps]


UNREAD = (pair(MIDDLE, OLD, error=UNKNOWN_KEY), pair(OLD, OLD), pair(MIDDLE, MIDDLE))


def test_the_release_is_named_if_only_one_lies_between() -> None:
    [found] = find(*UNREAD, rungs=(rung("0.13.2", "0.18.1"), rung("0.18.1", "0.21.2")))
    assert when(found) == ["writer since peft 0.18.1", "reader before peft 0.18.1"]
    assert found.cause is not None
    assert (found.cause.package, found.cause.release, found.cause.date) == ("peft", "0.18.1", "2025-01-01")
    steps = "writers since peft 0.18.1; readers before peft 0.18.1"
    assert f"({steps}; peft 0.18.1 by 0.13.2): TypeError" in found.title


def test_several_releases_are_counted_and_none_is_named() -> None:
    [found] = find(*UNREAD, rungs=(rung("0.13.2", "0.14.0"), rung("0.14.0", "0.18.1")))
    assert when(found)[0] == "writer since a peft between 0.13.2 and 0.18.1 (2 candidates)"
    assert found.cause is None
    assert found.steps[0].releases == ("0.14.0", "0.18.1")


@pytest.mark.parametrize("known", [(rung("0.14.0", "0.18.1"),), (rung("0.13.2", "0.14.0"),), ()])
def test_a_ladder_with_gaps_counts_and_names_nothing(known: tuple[Rung, ...]) -> None:
    assert when(find(*UNREAD, rungs=known)[0])[0] == "writer since a peft between 0.13.2 and 0.18.1"


def test_the_narrowest_neighbours_count() -> None:
    pairs = [pair(NEW, OLD, error=UNKNOWN_KEY), pair(OLD, OLD), pair(NEW, MIDDLE), pair(NEW, NEW)]
    steps = find(*pairs)[0].steps
    assert [(step.side, step.after, step.upto) for step in steps] == [
        ("writer", "0.13.2", "0.21.2"),
        ("reader", "0.13.2", "0.18.1"),
    ]


def test_it_may_begin_and_end_with_the_reader() -> None:
    pairs = [pair(OLD, OLD, "lora"), pair(OLD, MIDDLE, error=UNKNOWN_KEY), pair(OLD, NEW)]
    steps = find(*pairs)[0].steps
    assert [(step.begins, step.after, step.upto) for step in steps] == [
        (True, "0.13.2", "0.18.1"),
        (False, "0.18.1", "0.21.2"),
    ]


def test_an_artifact_that_stays_broken_ends_nothing() -> None:
    both = [pair(writer, MIDDLE, name, error=UNKNOWN_KEY) for writer in (NEW,) for name in ("lora", "dora")]
    pairs = [*both, pair(NEW, OLD, "dora", error=UNKNOWN_KEY), pair(NEW, OLD, "lora"), pair(NEW, NEW)]
    assert [step.when for step in find(*pairs)[0].steps if step.side == "reader" and step.begins] == []


def test_another_failure_says_nothing_about_this_one() -> None:
    other = {**UNKNOWN_KEY, "message": "a full disk"}
    pairs = [pair(OLD, OLD), pair(MIDDLE, OLD, error=other), pair(NEW, OLD, error=UNKNOWN_KEY)]
    [steps] = [each.steps for each in find(*pairs) if "alora" in each.title]
    assert [(step.after, step.upto) for step in steps if step.side == "writer"] == [("0.13.2", "0.21.2")]


def test_two_stacks_alone_name_what_lies_between_them() -> None:
    [found] = find(pair(OLD, NEW, "full", difference=off()))
    [step] = found.steps
    assert (step.side, step.package, step.after, step.upto) == ("reader", "transformers", "4.46.3", "5.23.0")
    assert step.beside == ("peft", "trl"), "nobody can tell which of the packages did it"
    assert step.when.endswith("between 4.46.3 and 5.23.0 or peft, trl beside it")


def test_no_newer_release_is_to_blame_where_the_older_stack_fails_by_itself() -> None:
    found = find(pair(NEW, OLD, error=UNKNOWN_KEY), pair(OLD, OLD, error=UNKNOWN_KEY))
    assert [each.steps for each in found] == [(), ()]


DPO = (pair(MIDDLE, MIDDLE, "dpo"), pair(NEW, MIDDLE, "dpo", difference=off("weights")))
TRL = rung("0.26.2", "0.29.0", "trl", stages={"align-resume": ("passed", "failed: Mismatch")})


def test_the_ladder_names_the_release_in_which_the_stage_moved() -> None:
    others = (rung("0.29.0", "1.16.0", "trl"), rung("0.18.1", "0.21.2"))
    [found] = find(*DPO, rungs=(TRL, *others))
    assert when(found) == ["writer since trl 0.29.0"]
    assert found.cause is not None
    assert (found.cause.release, found.cause.date) == ("0.29.0", "2025-01-01")


@pytest.mark.parametrize(
    "moved", [("failed: Mismatch", "passed"), ("passed", "failed: KeyError"), ("passed", "passed")]
)
def test_a_stage_that_moved_otherwise_is_no_evidence(moved: tuple[str, str]) -> None:
    other = rung("0.26.2", "0.29.0", "trl", stages={"align-resume": moved})
    assert not find(*DPO, rungs=(other,))[0].steps[0].release


def test_a_release_outside_the_step_is_never_named() -> None:
    late = rung("1.16.0", "1.17.0", "trl", stages={"align-resume": ("passed", "failed: Mismatch")})
    assert not find(*DPO, rungs=(late,))[0].steps[0].release


def test_the_ledger_names_a_release_in_the_step(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_text(ENTRY)
    issues = ledger.load(tmp_path)
    [found] = find(*UNREAD, issues=issues)
    assert when(found) == ["writer since peft 0.18.0", "reader before peft 0.14.0"]
    between = (rung("0.13.2", "0.14.1"), rung("0.14.1", "0.18.1"))
    assert when(find(*UNREAD, issues=issues, rungs=between)[0])[1] == "reader before peft 0.14.1", (
        "the first release there is"
    )
    (tmp_path / ledger.FILE).write_text(ENTRY.replace("peft<0.14", "peft<0.20"))
    assert "between 0.13.2" in when(find(*UNREAD, issues=ledger.load(tmp_path))[0])[1]


def test_json_has_the_steps_of_an_exchange_alone() -> None:
    content = finding_json(find(*UNREAD)[0])
    assert content["steps"][0] == {
        "side": "writer",
        "begins": True,
        "package": "peft",
        "after": "0.13.2",
        "upto": "0.18.1",
        "releases": (),
        "beside": (),
        "date": "",
    }
    assert "steps" not in finding_json(Finding(id="other", severity="info", title="other", fields=()))


def diagonal() -> tuple[list[Pair], list[Side]]:
    """A real exchange of the ten cells of the diagonal."""
    content = json.loads(gzip.decompress(DIAGONAL.read_bytes()))
    pairs = [Pair(model="tiny-llama", **each) for each in content["pairs"]]
    return pairs, [Side(**each) for each in content["sides"]]


# An entry of the ledger, and the releases that were found by installing them one by one.
REAL = (
    ("exchange-rope-base", {"writer since transformers 5.0.0", "reader before transformers 5.0.0"}),
    ("exchange-dpo-loses-adapter", {"writer since trl 0.29.0", "reader before transformers 5.23.0"}),
    (
        "exchange-checkpoint-with-unknown-state",
        {"writer since transformers 4.50.0", "reader before transformers 4.50.0"},
    ),
    ("exchange-extra-tokens-lost", {"reader since transformers 5.1.0", "reader before transformers 5.18.0"}),
    ("exchange-chat-template-file", {"reader before transformers 4.47.0"}),
    ("exchange-adapter-with-unknown-keys", {"writer since peft 0.14.0", "reader before peft 0.14.0"}),
)


@pytest.mark.parametrize(("issue", "expected"), REAL)
def test_what_the_real_stacks_show(issue: str, expected: set[str]) -> None:
    pairs, sides = diagonal()
    found = exchange.find(pairs, sides, ledger.load(ROOT / "constraints"), releases.load())
    steps = [set(when(each)) for each in found if each.accepted == f"known: {issue}"]
    assert any(expected <= each for each in steps), steps


def test_every_finding_of_the_real_stacks_names_its_releases() -> None:
    pairs, sides = diagonal()
    for each in exchange.find(pairs, sides, ledger.load(ROOT / "constraints"), releases.load()):
        assert each.steps, each.title
        for step in each.steps:
            assert step.when in each.title or " more" in each.title


def test_the_pairs_in_the_documentation_are_those_of_the_real_stacks() -> None:
    pairs, _ = diagonal()
    outcomes = {(pair.writer, pair.reader, pair.artifact): pair.outcome for pair in pairs}
    text = (ROOT / "docs/exchange.md").read_text().partition("## What a team must know")[2]
    rows = re.findall(r"(?m)^\| .*\. \| (.*) \|$", text.partition("\n## ")[0])
    assert len(rows) == 10, "ten sentences"
    for told in "; ".join(rows).split("; "):
        writer, reader, artifact, outcome = told.split(", ")
        assert outcomes[writer, reader, artifact] == outcome, told
