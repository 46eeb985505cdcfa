"""A real browser without a window, and what a test may ask of a page in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.needed_programs import need_program

#: A page that does not get there in this time has failed, in milliseconds.
DEADLINE_MS = 10_000.0
WIDE: ViewportSize = {"width": 1280, "height": 800}
TABLET: ViewportSize = {"width": 768, "height": 1024}
PHONE: ViewportSize = {"width": 390, "height": 844}
#: What the browser says of a request that a test lets fail.
_OF_FAILED_REQUESTS = ("Failed to load resource", "net::ERR_")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; Playwright's own browsers are not needed."""
    path = need_program("chromium")
    with sync_playwright() as playwright:
        # Root has no user namespace sandbox; the pages are our own.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    address: str,
    size: ViewportSize = WIDE,
    dark: bool = False,
    may_fail: bool = False,
) -> Iterator[Page]:
    """The page in a profile of its own. Fails for whatever the console complains of."""
    context = browser.new_context(
        viewport=size, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    context.set_default_timeout(DEADLINE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    try:
        page.goto(address)
        yield page
        if may_fail:
            complaints = [
                c for c in complaints if not c.startswith(_OF_FAILED_REQUESTS)
            ]
        assert complaints == []
    finally:
        context.close()
