"""Take a screenshot of a page of the dashboard, for the documentation."""

import shutil
from pathlib import Path
from threading import Thread

from lossbench.bench.dashboard.serving import address, open_server
from lossbench.bench.errors import UsageError, writing

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium refuses to start as root with a sandbox, so it runs without one.
FLAGS = ("--no-sandbox",)


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
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise UsageError("a picture of the dashboard needs playwright: pip install it") from None
    executable = chromium()
    if executable is None:
        raise UsageError(
            f"a picture of the dashboard needs Chromium: expected one of {', '.join(CHROMIUMS)}"
        )
    with open_server(site, 0) as server, sync_playwright() as driver:
        Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=executable, args=list(FLAGS))
        view = browser.new_page(viewport={"width": 1280, "height": 820})
        view.goto(f"{address(server)}#{page}", wait_until="networkidle")
        drawn = view.screenshot()
        browser.close()
        server.shutdown()
    with writing(picture):
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(drawn)
