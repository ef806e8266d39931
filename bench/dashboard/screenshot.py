"""Take a screenshot of a page of the dashboard or of a report, for the documentation."""

import shutil
from pathlib import Path
from threading import Thread
from typing import Any

from lossbench.bench.dashboard.serving import address, open_server
from lossbench.bench.errors import UsageError, writing

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium refuses to start as root with a sandbox, so it runs without one.
FLAGS = ("--no-sandbox",)


SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 820}},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
    "dark": {"viewport": {"width": 1280, "height": 820}, "color_scheme": "dark"},
}
"""The screens to take pictures of, with the options of playwright's page."""
PATIENCE_SECONDS = 180
"""The time that a busy machine may take to draw a page."""


def chromium() -> str | None:
    """Return the path of the system's Chromium, or None if it is not installed."""
    return next(filter(None, map(shutil.which, CHROMIUMS)), None)


def take_screenshot(site: Path, page: str, picture: Path) -> None:
    """Render a page in a headless Chromium and write it as a PNG of 1280 by 820 pixels.

    Args:
        site: folder of the published site.
        page: part of the page's address after the #; "" is the first page.
        picture: PNG file to write.

    Raises:
        UsageError: if Chromium or playwright is missing, or the picture cannot be written.
    """
    with open_server(site, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        drawn = photograph(f"{address(server)}#{page}", "desktop")
        server.shutdown()
    with writing(picture):
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(drawn)


def photograph(url: str, screen: str, part: str = "") -> bytes:
    """Return the first screen of a page as a PNG.

    Args:
        url: address of the page.
        screen: key of ``SCREENS``.
        part: id of an element to scroll to first; empty for the top of the page.

    Raises:
        UsageError: if Chromium or playwright is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise UsageError("a picture of a page needs playwright: pip install it") from None
    executable = chromium()
    if executable is None:
        raise UsageError(
            f"a picture of a page needs Chromium: expected one of {', '.join(CHROMIUMS)}"
        )
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=list(FLAGS))
        view = browser.new_page(**SCREENS[screen])
        view.set_default_timeout(1000 * PATIENCE_SECONDS)
        view.goto(url, wait_until="networkidle")
        if part:
            view.evaluate("id => document.getElementById(id).scrollIntoView()", part)
            # What is drawn when it comes into view is drawn after the next frames.
            view.wait_for_timeout(1000)
        drawn: bytes = view.screenshot()
        browser.close()
    return drawn
