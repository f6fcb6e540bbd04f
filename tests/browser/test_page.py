"""The page in Debian's Chromium: no errors, each control, phone and desktop, both themes, and axe-core."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tunematrix.base.history import History
from tunematrix.base.record import Record, from_dict
from tunematrix.base.store import Entry
from tunematrix.locks import table
from tunematrix.report import summary as view
from tunematrix.report.page.render import render
from tunematrix.report.remember import remember
from tunematrix.report.rows import rows
from tunematrix.verdict import releases
from tunematrix.verdict.answer import Knowledge
from tunematrix.verdict.past import pasts

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
# Real records of SmolLM2, as if they were those of these cells.
RECORDS = {
    "trl-0.26": "trl-0.26",
    "trl-0.29": "trl-0.29.1",
    "trl-1.0": "transformers-5.1.0",
    "trl-1.12": "trl-1.16.0",
    "latest": "against-latest",
    "trl-0.26-peft-ahead": "peft-0.21.2",
}
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
VIOLATIONS = ("moderate", "serious", "critical")


def record(cell: str, name: str) -> Record:
    content: dict[str, Any] = json.loads(
        gzip.decompress((ROOT / "tests/data/upgrades" / f"{name}.json.gz").read_bytes())
    )["record"]
    for stage in content["stages"]:
        if stage.get("error"):
            stage["error"]["traceback"] = "Traceback (most recent call last):\n  in align"
    return from_dict({**content, "cell": cell, "lock": {}})


@pytest.fixture(name="file", scope="module")
def _file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    matrix = table.load(ROOT / "constraints")
    knowledge = Knowledge.load(matrix.folder, today=datetime.date.min)
    entries = {cell: Entry(record=record(cell, name)) for cell, name in RECORDS.items()}
    summary = view.Summary(
        model="smollm2-135m", rows=rows(matrix, entries, knowledge), ledger=knowledge.ledger
    )
    locks = {cell.name: matrix.lock_path(cell).read_text() for cell in matrix.cells}
    path = tmp_path_factory.mktemp("page") / "summary.html"
    history = History(path.parent)
    assert remember(history, summary.rows, entries) == ""
    past = pasts(*history.read(summary.model), [cell.name for cell in matrix.cells])
    summary = dataclasses.replace(summary, history=tuple(past))
    path.write_text(render(summary, locks, releases.load()), encoding="utf-8")
    return path


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(name="page")
def _page(browser: Browser, file: Path) -> Iterator[Page]:
    with browser.new_context() as context:
        page = context.new_page()
        errors: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        yield page
        assert not errors
        assert [url for url in requests if not url.startswith(("file:", "data:"))] == [], (
            "it needs no network"
        )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_reads_on_phone_and_desktop_in_both_themes(
    size: str, theme: str, browser: Browser, file: Path, tmp_path: Path
) -> None:
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    page.goto(file.as_uri())
    page.screenshot(path=tmp_path / f"{size}-{theme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width, "only the table scrolls sideways"
    assert page.locator(".answer").inner_text().startswith("3 of 6 combinations pass every stage")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in VIOLATIONS] == []
    page.close()


def test_a_cell_of_the_matrix_opens_with_its_error(page: Page) -> None:
    cell = page.locator("#cell-trl-1\\.0")
    assert cell.get_attribute("open") is None
    page.locator("#matrix ~ .scroll a", has_text="trl-1.0").first.click()
    assert cell.get_attribute("open") is not None
    assert "'LlamaForCausalLM' object has no attribute 'warnings_issued'" in cell.inner_text()
    cell.locator("summary", has_text="traceback").click()
    assert "Traceback" in cell.locator("pre").first.inner_text()


def test_what_to_pin_follows_what_is_needed(page: Page) -> None:
    names = page.locator(".pins li:visible a")
    assert names.all_inner_texts() == ["latest", "trl-0.26-peft-ahead", "trl-0.26"]
    page.locator(".need[value=align-resume]").uncheck()
    assert names.all_inner_texts() == ["latest", "trl-0.26-peft-ahead", "trl-1.12", "trl-0.29", "trl-0.26"]
    assert not page.locator(".none-left").is_visible()


def test_a_lock_is_copied_or_shown_selected(page: Page) -> None:
    page.locator(".pins li:visible .copy").first.click()
    page.wait_for_function(
        "document.querySelector('.copy').textContent === 'copied' || getSelection().toString().length > 100"
    )


def test_findings_are_filtered_by_severity_and_package(page: Page) -> None:
    items = page.locator(".a-step li:not([hidden])")
    everything = items.count()
    assert everything > 5
    page.locator(".severity[value=edit]").uncheck()
    assert 0 < items.count() < everything
    assert page.locator(".a-step li[data-severity=edit]:not([hidden])").count() == 0
    page.locator(".package").select_option("trl")
    packages = {item.get_attribute("data-package") for item in items.all()}
    assert packages == {"trl"}


def test_it_works_by_keyboard(page: Page) -> None:
    page.locator(".a-step summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".a-step").first.get_attribute("open") is not None
