"""Chromium without its window, for the tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from tests.patience import PATIENCE


def has_chromium() -> bool:
    """Whether this machine has Chromium and the library that drives it."""
    return shutil.which("chromium") is not None and find_spec("playwright") is not None


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium, which must be there, and end it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def watched(browser: Any, address: str, console: bool = True) -> Iterator[Any]:
    """Open a page; at the end, it has asked for nothing but its own parts, and no script has failed.

    Args:
        browser: Chromium.
        address: The page's address, with which those of its parts begin.
        console: Whether errors in the console are failures too, such as those of the page's policy.
    """
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(1000 * PATIENCE)
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    if console:
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(address)
    yield page
    page.close()
    assert asked
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []
    assert errors == []
