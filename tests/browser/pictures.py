"""``nox -s pictures``: the pictures of the page in ``docs/images``, from real records and a real exchange.

Each is of one size, light and dark, in few colours. Fonts are those of the machine.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.browser.records import ROOT, record, write_page
from tunematrix.locks import lock
from tunematrix.locks.table import CORE, Cell, Matrix

FOLDER: Final = ROOT / "docs/images"
WIDTH: Final = 1280
HEIGHTS: Final = {"matrix": 800, "steps": 520, "compare": 640, "check": 560, "exchange": 660, "releases": 440}
COLOURS: Final = 160
MAX_BYTES: Final = 200_000
# The records of the tests of `upgrade`, each under what was run: the baseline, and what moved in it.
RECORDS: Final = (
    "trl-0.26",
    "trl-0.29.1",
    "trl-1.16.0",
    "transformers-5.1.0",
    "peft-0.21.2",
    "against-latest",
)
NAMES: Final = {"against-latest": "latest"}


def page_of(folder: Path) -> Path:
    records = {NAMES.get(name, name): record(NAMES.get(name, name), name) for name in RECORDS}
    cells = tuple(
        Cell(
            name=name,
            pins={package: each.packages[package] for package in CORE},
            rule="latest" if name == "latest" else None,
            tags=() if name in ("trl-0.26", "latest") else ("skew",),
            compare=None if name == "trl-0.26" else "trl-0.26",
        )
        for name, each in records.items()
    )
    matrix = Matrix(folder=folder, cells=cells, baseline="trl-0.26")
    for cell in cells:
        pins = records[cell.name].packages
        path = matrix.lock_path(cell)
        path.write_text(lock.sealed("", "".join(f"{name}=={pins[name]}\n" for name in sorted(pins))))
    return write_page(folder, matrix, records)


def choose(page: Page) -> None:
    """What a picture shows of the parts that answer."""
    page.locator("#compare-from").select_option("trl-0.26")
    page.locator("#compare-to").select_option("trl-0.29.1")
    page.locator("#check-text").fill(
        "transformers==4.57.6\ntrl==0.29.1\npeft==0.18.1\ntorch==2.13.0\nnumpy>=2\n"
    )
    page.locator("#check-run").click()
    page.locator("#exchange-artifact").select_option("tokenizer")
    page.locator(".square.bad").first.click()
    page.locator(".timeline details").nth(0).evaluate("(one) => { one.open = true; }")


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    too_large = []
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        address = page_of(Path(scratch)).as_uri()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme=theme)
            page.goto(address)
            choose(page)
            for name, height in HEIGHTS.items():
                top = page.evaluate(
                    "id => document.getElementById(id).getBoundingClientRect().top + scrollY", name
                )
                clip = {"x": 0, "y": 0 if name == "matrix" else top - 12, "width": WIDTH, "height": height}
                picture = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
                path = FOLDER / f"{name}-{theme}.png"
                picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")
                too_large += [path.name] if path.stat().st_size > MAX_BYTES else []
        browser.close()
    return len(too_large)


if __name__ == "__main__":
    sys.exit(main())
