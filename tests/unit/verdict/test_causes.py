"""Known changes: which entries explain a moved number, and which must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.verdict import causes
from tunematrix.verdict.diff import Change, Diff, compare

ENTRY = """
[[change]]
fields = ["align.*", "DPOConfig.beta"]
package = "trl"
since = "0.29.0"
cause = "the reference is a copy of the start adapter"
link = "https://example.org/3906"
"""


def load(folder: Path, text: str) -> tuple[causes.KnownChange, ...]:
    (folder / causes.FILE).write_text(f"schema = 1\n{text}")
    return causes.load(folder)


def diff(name: str = "align.loss", before: str | None = "0.28.0", after: str | None = "0.29.1") -> Diff:
    change = Change(kind="fingerprint", name=name, before=1.0, after=2.0)
    return Diff(verdict="changed", changes=(change,), packages={"trl": (before, after)})


def test_a_change_across_the_release_gets_its_cause(tmp_path: Path) -> None:
    known_changes = load(tmp_path, ENTRY)

    for comparison in (diff(), diff(before="0.29.1", after="0.28.0"), diff(after="0.29.0")):
        [change] = causes.annotate(comparison, known_changes).changes
        assert change.why == "the reference is a copy of the start adapter (trl 0.29.0)"
        assert change.link == "https://example.org/3906"
        assert (change.before, change.after) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("field", "explained"),
    [("pairs.loss", True), ("pairs-resume.loss", False), ("pair.loss", False), ("chat.loss", False)],
)
def test_a_stage_of_a_team_is_the_stage_of_ours_with_its_trainer(
    field: str, explained: bool, tmp_path: Path
) -> None:
    known = load(tmp_path, ENTRY)
    before, after = (
        Record(
            cell="a",
            outcome="passed",
            environment={"packages": {"trl": version}},
            fingerprint={field: number, "pairs.trainer": "DPOTrainer"},
        )
        for version, number in (("0.28.0", 1.0), ("0.29.1", 2.0))
    )
    (change,) = causes.annotate(compare(before, after), known).changes
    assert bool(change.why) == explained
    assert compare(before, after).names_of("pairs-resume.x") == ("pairs-resume.x", "align-resume.x")


@pytest.mark.parametrize(
    "comparison",
    [
        diff(name="finetune.loss"),
        diff(before="0.29.0"),
        diff(before="0.27.0", after="0.28.0"),
        diff(before=None),
        Diff(verdict="changed", changes=diff().changes),
    ],
)
def test_a_change_outside_the_entry_stays_unexplained(tmp_path: Path, comparison: Diff) -> None:
    assert causes.annotate(comparison, load(tmp_path, ENTRY)) == comparison


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('package = "trl"', 'packag = "trl"', "did you mean 'package'?"),
        ('"0.29.0"', '"soon"', "'soon' is not a version"),
        ('cause = "the reference is a copy of the start adapter"\n', "", "needs cause"),
        ("schema = 1", "schema = 3", "reads schema = 1"),
        ("[[change]]", "[[change", "not TOML"),
    ],
)
def test_an_invalid_entry_is_an_error(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / causes.FILE).write_text(f"schema = 1\n{ENTRY}".replace(old, new, 1))

    with pytest.raises(UsageError) as caught:
        causes.load(tmp_path)
    assert message in str(caught.value)


def test_without_a_file_there_are_no_known_changes(tmp_path: Path) -> None:
    assert causes.load(tmp_path) == ()


def test_the_shipped_file_is_valid() -> None:
    shipped = causes.load(Path(__file__).parents[3] / "constraints")

    assert len(shipped) > 40
    assert all(change.link.startswith("https://github.com/") for change in shipped if change.link)
