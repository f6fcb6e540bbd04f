"""What the page answers by itself: two cells compared, requirements checked, the exchange; against Python."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from playwright.sync_api import Page

from tests.browser.conftest import RECORDS
from tests.browser.records import ROOT, record
from tunematrix.cli.main import cli
from tunematrix.verdict import diff

pytestmark = pytest.mark.integration

LOCKS = sorted((ROOT / "constraints").glob("*.txt"))
VERSIONS = (
    *("0.9", "1.0", "1.0.0", "1.0.1", "1.1", "1.10", "2", "1!0.5", "1.0a1", "1.0.alpha2", "1.0b1", "1.0rc1"),
    *("1.0c2", "1.0.dev1", "1.0a1.dev1", "1.0.post1", "1.0-1", "1.0.post1.dev2", "1.0rc1.post1", "1.0+cpu"),
    *("1.0+cpu.2", "1.0+cpu.10", "1.0+1", "1.0.1.post2", "2026.11.6", "4.57.6"),
)
OPERATORS = ("==", "!=", "<=", ">=", "<", ">")
SPECIFIERS = [
    *(f"{operator}{version}" for operator in OPERATORS for version in VERSIONS if "+" not in version),
    *("==1.0+cpu", "!=1.0+cpu", "===1.0", "==1.*", "==1.0.*", "!=1.0.*", "==1!0.*", "~=1.0", "~=1.0.1"),
    *("~=1.0rc1", ">=1.0,<2", "<1.1,!=1.0.*,>0.9", ""),
]


def test_versions_are_compared_as_python_does(page: Page) -> None:
    pairs = list(itertools.product(VERSIONS, SPECIFIERS))
    expected = [SpecifierSet(rule).contains(Version(version), prereleases=True) for version, rule in pairs]
    found = page.evaluate("pairs => pairs.map(([version, rule]) => meets(version, rule))", pairs)
    assert [pair for pair, one, other in zip(pairs, expected, found, strict=True) if one != other] == []
    order = page.evaluate(
        "pairs => pairs.map(([a, b]) => Math.sign(compareVersions(parseVersion(a), parseVersion(b))))",
        [pair for pair, _ in itertools.groupby(itertools.product(VERSIONS, VERSIONS))],
    )
    versions = [(Version(one), Version(other)) for one, other in itertools.product(VERSIONS, VERSIONS)]
    assert order == [(one > other) - (one < other) for one, other in versions]
    assert page.evaluate("meets('weird', '>=0')") is False
    assert page.evaluate("meets(' v1.0 ', '==1')") is True


@functools.cache
def checked(file: Path) -> list[tuple[str, str]]:
    result = CliRunner().invoke(cli, ["check", str(file), "--format", "json"], standalone_mode=False)
    assert result.exception is None
    return [
        (each["id"], f"{', '.join(each['stages'])}: {each['cause']}") for each in json.loads(result.output)
    ]


def check_on(page: Page, text: str) -> list[tuple[str, str]]:
    page.locator("#check-text").fill(text)
    page.locator("#check-run").click()
    items = page.locator("#check-problems > li").all()
    return [
        (
            each.get_attribute("data-id") or "",
            (each.text_content() or "").partition(" ")[2].partition("mend it:")[0],
        )
        for each in items
    ]


def test_the_page_names_what_the_command_names_for_every_shipped_lock(page: Page) -> None:
    for lock in LOCKS:
        assert check_on(page, lock.read_text()) == checked(lock), lock.name
    counts = [len(checked(lock)) for lock in LOCKS]
    assert 0 in counts
    assert max(counts) > 1


def test_it_knows_what_releases_broke(page: Page, tmp_path: Path) -> None:
    found = set()
    for trl, stack in itertools.product(
        ("0.28.0", "0.29.0", "1.15.0", "1.15.0.post1", "1.16.0"), ("4.46.0", "4.57.6", "5.22.2", "5.23.0")
    ):
        file = tmp_path / f"{trl}-{stack}.txt"
        file.write_text(f"trl == {trl}\ntransformers=={stack}\npeft[extra]==0.18.1  # why\ntorch==2.13.0\n")
        assert check_on(page, file.read_text()) == checked(file), file.name
        found |= {name for name, _ in checked(file)}
    assert "trl-1.15.0" in found


def test_a_line_that_is_not_checked_is_told(page: Page) -> None:
    lines = ["transformers==4.57.6", "numpy>=1", "-r other.txt", "-e .", "--index-url x", "what is this?"]
    lines += ["wheel @ https://example.com/wheel.whl", "tomli==2.0; python_version < '3.11'", "odd===weird"]
    check_on(page, "\n".join(lines) + "\nlong==1 \\\n    --hash=sha256:abc\n<img src=x onerror=alert(1)>")
    told = page.locator("#check-unread li").all_inner_texts()
    assert [line.partition(":")[0] for line in told] == [f"line {number}" for number in (*range(2, 10), 12)]
    assert "no exact version" in told[0]
    assert page.locator("#check-unread img").count() == 0
    assert page.locator("#check-answer").inner_text() == "No known problems in 3 pinned packages."


@pytest.mark.parametrize("text", ["", "peft==0.18.1", "transformers>=4", "transformers==4.57.6\ntrl>=1"])
def test_without_exact_versions_of_the_stack_it_does_not_answer(text: str, page: Page) -> None:
    check_on(page, text)
    assert page.locator("#check-answer").inner_text().startswith("No exact version of tr")


def compare_on(page: Page, before: str, after: str) -> None:
    page.locator("#compare-from").select_option(before)
    page.locator("#compare-to").select_option(after)


def compared_rows(page: Page, kind: str) -> dict[str, tuple[str, str]]:
    script = """kind => [...document.querySelectorAll("#compare-details details")]
      .filter((one) => one.querySelector(":scope > summary").textContent.startsWith(`${kind}: `))
      .flatMap((one) => [...one.querySelectorAll("tbody tr")])
      .map((row) => [...row.children].map((cell) => cell.textContent))"""
    return {name: (old, new) for name, old, new in page.evaluate(script, kind)}


def test_any_two_cells_differ_as_diff_says(page: Page) -> None:
    records = {cell: record(cell, name) for cell, name in RECORDS.items()}
    for before, after in itertools.combinations(RECORDS, 2):
        compare_on(page, before, after)
        expected = diff.compare(records[before], records[after])
        packages = {
            name: tuple(each or "(none)" for each in pair) for name, pair in expected.packages.items()
        }
        assert compared_rows(page, "Packages that differ") == packages
        numbers = set(compared_rows(page, "Numbers that differ"))
        assert numbers <= {change.name for change in expected.changes}, "nothing that diff finds the same"
        changed = {
            change.name
            for change in expected.changes
            if change.kind == "default" and diff.ABSENT not in (change.before, change.after)
        }
        shown = {
            f"{owner.removesuffix(diff.DECLARED_SUFFIX)}.{name.partition(' (')[0]}"
            for name in compared_rows(page, "Defaults that differ")
            for owner in name.partition(" (")[2][:-1].split(", ")
        }
        assert {name.removesuffix(diff.DECLARED_SUFFIX) for name in changed} <= shown
        assert page.locator("#compare-command").inner_text() == f"tunematrix diff {before} {after}"


def test_a_step_of_the_matrix_shows_its_judged_findings(page: Page) -> None:
    compare_on(page, "trl-0.26", "trl-0.26-peft-ahead")
    judged = page.locator("#compare-details .judged")
    assert "SAFE WITH EDITS" in judged.locator("summary").inner_text()
    assert judged.locator("li[data-severity=edit]").count() == 1
    page.locator("#compare-swap").click()
    assert page.locator("#compare-from").input_value() == "trl-0.26-peft-ahead"
    assert judged.count() == 0, "the way back is not judged"
    between = page.locator("#compare-details .between")
    assert "releases between the two moved something" in between.locator("summary").first.inner_text()
    assert {text.split("· ")[1].split()[0] for text in between.locator("li").all_text_contents()} == {"peft"}


def test_a_cell_is_not_compared_with_itself_and_the_command_can_be_copied(page: Page) -> None:
    compare_on(page, "latest", "latest")
    assert page.locator("#compare-answer").inner_text() == "Choose two different cells."
    compare_on(page, "latest", "trl-0.29")
    stages = compared_rows(page, "Stages that end otherwise")
    assert stages["align-resume"] == ("passed", "known")
    page.locator("#compare-details .copy").click()
    page.wait_for_function(
        "document.querySelector('#compare-details .copy').textContent === 'copied'"
        " || getSelection().toString() === 'tunematrix diff latest trl-0.29'"
    )


def test_the_exchange_is_a_grid_for_the_keyboard(page: Page) -> None:
    page.locator("#exchange-artifact").select_option("sft")
    assert page.locator("#exchange-count").inner_text() == (
        "an SFT checkpoint: of 100 readings 82 the same, 18 not read."
    )
    assert page.locator(".square[tabindex='0']").count() == 1
    page.locator(".square[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    detail = page.locator("#exchange-detail")
    assert detail.inner_text().startswith("trl-0.13 reads trl-0.17: not read: TypeError")
    findings = page.locator("#exchange-findings li")
    assert findings.first.inner_text().startswith("broken (known): sft, ")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert detail.inner_text().startswith("trl-0.13 reads trl-0.13: the same"), "it stops at the edge"
    page.keyboard.press("ArrowRight")
    assert detail.inner_text().startswith("trl-0.17 reads trl-0.13: the same")
    page.locator("#exchange-artifact").select_option("merged-bf16")
    page.locator(".square.known").first.click()
    assert "read otherwise: dtype" in detail.inner_text()
    assert page.locator(".square[tabindex='0']").count() == 1
