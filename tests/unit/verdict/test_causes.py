"""Known changes: what explains a moved number, and what must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.verdict import causes
from tunematrix.verdict.diff import Change, Diff

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


def test_a_change_across_the_release_comes_with_its_cause(tmp_path: Path) -> None:
    table = load(tmp_path, ENTRY)

    for found in (diff(), diff(before="0.29.1", after="0.28.0"), diff(after="0.29.0")):
        [change] = causes.annotate(found, table).changes
        assert change.why == "the reference is a copy of the start adapter (trl 0.29.0)"
        assert change.link == "https://example.org/3906"
        assert (change.before, change.after) == (1.0, 2.0)


@pytest.mark.parametrize(
    "found",
    [
        diff(name="finetune.loss"),
        diff(before="0.29.0"),
        diff(before="0.27.0", after="0.28.0"),
        diff(before=None),
        Diff(verdict="changed", changes=diff().changes),
    ],
)
def test_nothing_else_is_explained_and_nothing_is_hidden(tmp_path: Path, found: Diff) -> None:
    assert causes.annotate(found, load(tmp_path, ENTRY)) == found


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
def test_a_wrong_entry_is_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / causes.FILE).write_text(f"schema = 1\n{ENTRY}".replace(old, new, 1))

    with pytest.raises(UsageError) as caught:
        causes.load(tmp_path)
    assert message in str(caught.value)


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert causes.load(tmp_path) == ()


def test_the_shipped_table_is_read() -> None:
    shipped = causes.load(Path(__file__).parents[3] / "constraints")

    assert len(shipped) > 40
    assert all(one.link.startswith("https://github.com/") for one in shipped if one.link)
