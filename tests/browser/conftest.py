"""The tests of the page need a browser's driver, which only the session ``browser`` installs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.records import ROOT, record, write_page
from tunematrix.locks import table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# That session cannot pass without them: pytest exits 5 if it collects nothing.
collect_ignore = [] if importlib.util.find_spec("playwright") else ["test_page.py", "test_questions.py"]
# Real records of SmolLM2, as if they were those of these cells.
RECORDS = {
    "trl-0.26": "trl-0.26",
    "trl-0.29": "trl-0.29.1",
    "trl-1.0": "transformers-5.1.0",
    "trl-1.12": "trl-1.16.0",
    "latest": "against-latest",
    "trl-0.26-peft-ahead": "peft-0.21.2",
}


@pytest.fixture(name="file", scope="session")
def _file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = {cell: record(cell, name) for cell, name in RECORDS.items()}
    return write_page(tmp_path_factory.mktemp("page"), table.load(ROOT / "constraints"), records)


@pytest.fixture(name="browser", scope="session")
def _browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

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
