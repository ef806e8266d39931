"""Fixtures of a headless Chromium without a network: a ``page``, its requests and its errors.

A page may load only from 127.0.0.1 and ``file://``. Any other request is refused and recorded, and
fails the test, even if the page works without it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from lossbench.bench.dashboard.screenshot import CHROMIUMS, FLAGS, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request, Route

# A prefetch or a socket cannot be intercepted, so no host name is resolved.
_NO_HOSTS = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
_HERE_SCHEMES = ("file", "data", "blob", "about")


def is_local(url: str) -> bool:
    """Return whether a URL needs only this machine."""
    parts = urlsplit(url)
    return parts.scheme in _HERE_SCHEMES or parts.hostname == "127.0.0.1"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Return the system's Chromium, headless; skip if there is none, or no playwright.

    While it is open, asyncio thinks that a loop runs, so it is closed after each module.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = chromium()
    if executable is None:
        pytest.skip(f"no Chromium is installed: none of {', '.join(CHROMIUMS)} is on the PATH")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=executable, args=[*FLAGS, _NO_HOSTS])
        yield launched
        launched.close()


@pytest.fixture
def requests_abroad() -> list[str]:
    """Return the URLs outside this machine that ``page`` asked for, in order."""
    return []


@pytest.fixture
def console_errors() -> list[str]:
    """Return the errors in the console of ``page`` and its uncaught exceptions, in order."""
    return []


@pytest.fixture
def page(
    browser: "Browser", requests_abroad: list[str], console_errors: list[str]
) -> Iterator["Page"]:
    """Return a fresh page; the test fails if it asks for anything outside this machine."""

    def refuse(route: "Route", request: "Request") -> None:
        if is_local(request.url):
            route.continue_()
        else:
            requests_abroad.append(request.url)
            route.abort()

    context = browser.new_context(viewport={"width": 1280, "height": 900}, service_workers="block")
    context.route("**/*", refuse)
    page = context.new_page()
    page.on(
        "console",
        lambda message: console_errors.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: console_errors.append(str(error)))
    yield page
    context.close()
    if requests_abroad:
        pytest.fail(f"the page asked beyond this machine: {', '.join(requests_abroad)}")
