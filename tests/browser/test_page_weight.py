"""What a browser that was never here fetches to draw a page: markup, scripts, styles, fonts and pictures, as
they are sent, and before any data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, CDPSession, Page

from marketplace.api.app import _PAGES
from marketplace.console import documents
from marketplace.console.languages import LANGUAGES
from tests.browser.conftest import WIDTHS, Visit, visited
from tests.browser.test_account import ordered
from tests.browser.test_job_log import Writing
from tests.service.test_console import busy
from tests.service.test_trades import PRODUCT
from tests.support.finished import hand_in
from tests.support.service import PROVIDER, STRANGER, World

MOST: Final = 200_000  # bytes
# Of a page itself. What its scripts ask for later (fetch, events) is data.
_DRAWN: Final = {"Document", "Stylesheet", "Script", "Font", "Image", "Manifest", "Other"}
# Routes that answer no page: files, parts of pages, and what leads elsewhere.
_NO_PAGES: Final = {
    "/assets/{name}",
    "/language/{code}",
    "/prices",
    "/bundles/{bundle}/sample",
    "/wallet/jobs/{job}",
    "/wallet/jobs/{job}/parameters",
    "/shared/{token}/outputs/{path:path}",
}
__all__ = ["busy"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """A service that takes files from pages."""
    with visited(tmp_path, inspectors=(STRANGER.address,), max_log_bytes=1_000_000) as made:
        yield made


class Scale:
    """Weighs a page: every byte that came over the line for it, heads of the answers included."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("Network.enable")
        self._session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        self._kinds: dict[str, str] = {}
        self._bytes: dict[str, int] = {}
        self._session.on("Network.responseReceived", self._answered)
        self._session.on("Network.loadingFinished", self._loaded)

    def _answered(self, told: dict[str, Any]) -> None:
        self._kinds[told["requestId"]] = told["type"]

    def _loaded(self, told: dict[str, Any]) -> None:
        self._bytes[told["requestId"]] = int(told["encodedDataLength"])

    def weigh(self, url: str) -> int:
        self._kinds.clear()
        self._bytes.clear()
        answer = self._page.goto(url, wait_until="load")
        assert answer is not None
        assert answer.status == 200, url
        assert self._page.url == url, "led elsewhere"
        return sum(size for id, size in self._bytes.items() if self._kinds.get(id) in _DRAWN)


def addresses(job: str, shared: str) -> dict[str, list[str]]:
    """Of every route that answers a page."""
    found = {
        path: [path]
        for path in (
            route.path for module in _PAGES for route in module.router.routes if "GET" in route.methods
        )
        if path not in _NO_PAGES
    }
    given = {
        "/bundles/{bundle}": ["/bundles/echo"],
        "/bundles/{bundle}/run": ["/bundles/echo/run", "/bundles/echo/run?wallet=yes"],
        "/market/{product:path}": [f"/market/{PRODUCT.name}"],
        "/providers/{provider}": [f"/providers/{PROVIDER.address}"],
        "/docs/{name:path}": [f"/docs/{name}" for name in documents.documents()],
        "/account/jobs/{job}": [f"/account/jobs/{job}"],
        "/shared/{token}": [shared],
    }
    assert given.keys() <= found.keys()
    found |= given
    assert not [each for urls in found.values() for each in urls if "{" in each], "a page without an address"
    return found


def shared(visit: Visit, world: World) -> tuple[str, str]:
    """Somebody signed up, with a job that is delivered: its id, and the path of a link to its files."""
    page = visit.page
    visit.sign_up()
    job = ordered(world)
    writes = Writing(world, job)
    writes("a line\n" * 1000)
    hand_in(world, writes.assignment, out_csv=b"a,b\n1,2\n")
    visit.open(f"/account/jobs/{job.id}")
    page.get_by_text("Share the result by a link").click()
    page.get_by_role("button", name="Make a link").click()
    return job.id, page.locator("#link").input_value().removeprefix(visit.url)


def test_every_page_is_light_for_who_was_never_here(
    chromium: Browser, place: tuple[World, str], busy: World
) -> None:
    context = chromium.new_context(
        viewport={"width": WIDTHS["desktop"][0], "height": WIDTHS["desktop"][1]}, locale="en-US"
    )
    visit = Visit(context.new_page(), place[1])
    scale, weights = Scale(visit.page), dict[str, int]()
    for path in (
        "/",
        "/sign-up",
        "/sign-in",
        "/bundles/echo",
        "/market",
        "/providers",
        "/pricing",
        "/wallet",
    ):
        weights[f"{path} (signed out)"] = scale.weigh(visit.url + path)
    found = addresses(*shared(visit, busy))
    for code in LANGUAGES:
        visit.open(f"/language/{code}?back=/docs")
        for route, paths in found.items():
            if route == "/docs/{name:path}" and code != "en":
                continue  # the documents are in English
            for path in paths:
                weights[f"{path} ({code})"] = scale.weigh(visit.url + path)
    context.close()
    heaviest = sorted(weights.items(), key=lambda each: -each[1])
    print(*(f"{size:,} bytes: {path}" for path, size in heaviest[:12]), sep="\n")
    assert [each for each in heaviest if each[1] >= MOST] == []
    # The scale weighs: nothing is lighter than the style that all have.
    assert heaviest[-1][1] > 2_000
