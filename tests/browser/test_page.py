"""The page in Debian's Chromium: no errors, each control, phone and desktop, both themes, and axe-core."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.integration

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
VIOLATIONS = ("moderate", "serious", "critical")


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
