"""A real browser, and what it complained of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, FileChooser, Page, Request, expect, sync_playwright

from tests.support.accounts import PASSWORD
from tests.support.missing import absent
from tests.support.service import World
from tests.support.serving import served

ROOT = Path(__file__).parents[2]
expect.set_options(timeout=30_000)  # a machine that does other things needs more than the usual five seconds
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
# Chromium of the distribution as root in a container, with nothing of its own that calls home.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
EMAIL = "ada@example.com"


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A browser for the length of a block."""
    found = shutil.which("chromium")
    if found is None:
        absent("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(autouse=True)
def _database(database: str) -> None:
    """Every test here has a store."""


@contextmanager
def visited(folder: Path, **settings: Any) -> Iterator[tuple[World, str]]:
    """A service on a port, for the length of a block; itself and its address."""
    with served(folder / "service", **settings) as (world, url):
        world.http.close()
        # Over the port as well: the browser's driver has this thread's event loop.
        world.http = httpx.Client(base_url=url, timeout=60)
        yield world, url


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """The service that a test's pages are of."""
    with visited(tmp_path) as made:
        yield made


@pytest.fixture
def world(place: tuple[World, str]) -> World:
    return place[0]


@dataclass
class Visit:
    """A page of the service at one width, and everything about it that nobody should see."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self._complain(said.type == "error", f"console: {said.text}"))
        self.page.on("pageerror", lambda error: self._complain(True, f"script: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._requested)

    def _complain(self, bad: bool, text: str) -> None:
        if bad:
            self.complaints.append(text)

    def _failed(self, asked: Request) -> None:
        # Aborted: the page that wanted it was left.
        self._complain(asked.failure != "net::ERR_ABORTED", f"failed: {asked.url}: {asked.failure}")

    def _requested(self, asked: Request) -> None:
        outside = urlsplit(asked.url).netloc != urlsplit(self.url).netloc
        self._complain(outside, f"outside: {asked.url}")

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}", wait_until="load")

    def enter(self) -> None:
        """Open an account with the form of the page that is shown."""
        self.page.get_by_label("E-mail address").fill(EMAIL)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Open an account").click()

    def sign_up(self) -> None:
        """To the page of a new account."""
        self.open("/sign-up")
        self.enter()
        expect(self.page.get_by_text("Nothing was ordered yet.")).to_be_visible()

    def resize(self, width: str) -> None:
        """To one of WIDTHS."""
        across, down = WIDTHS[width]
        self.page.set_viewport_size({"width": across, "height": down})

    def faults(self, *rules: str) -> list[str]:
        """Complaints, what axe finds (by all of its rules, or by these), and whether the page is wider than
        the window."""
        # The page's own policy admits no script but the service's files: axe comes in from beside it.
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        found = self.page.evaluate(
            "rules => axe.run(rules.length ? { runOnly: rules } : {}).then(done => done.violations.map("
            "rule => rule.id + ': ' + rule.nodes.map(node => node.html).slice(0, 3).join(' | ')))",
            list(rules),
        )
        wide = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return [*self.complaints, *found, *([f"{wide} pixels too wide"] if wide > 0 else [])]

    def keep(self, name: str) -> None:
        """A screenshot, to be looked at: in PRIXFIXE_SCREENSHOTS, where that is named, with the width of the
        window in its name."""
        if folder := os.environ.get("PRIXFIXE_SCREENSHOTS"):
            width = self.page.evaluate("window.innerWidth")
            self.page.screenshot(path=str(Path(folder) / f"{width}-{name}.png"), full_page=True)


def chosen_by(page: Page, press: Callable[[], None]) -> FileChooser:
    """What the browser asks once `press` wants a file."""
    # The driver begins to stand in for the system's dialogue when somebody listens, and does not wait for the
    # page to have heard of it: a key that is pressed at once can be the faster one.
    page.on("filechooser", lambda _: None)
    page.evaluate("0")
    with page.expect_file_chooser() as asked:
        press()
    return asked.value


def counting_clicks(page: Page) -> Callable[[], int]:
    """How often this page was pressed since, whichever of the service's documents it showed."""
    page.add_init_script(
        "addEventListener('pointerdown', () => {"
        " sessionStorage.pressed = 1 + Number(sessionStorage.pressed || 0); }, true)"
    )
    return lambda: int(page.evaluate("Number(sessionStorage.pressed || 0)"))


@pytest.fixture(params=WIDTHS, ids=list(WIDTHS))
def visit(request: pytest.FixtureRequest, chromium: Browser, place: tuple[World, str]) -> Iterator[Visit]:
    width, height = WIDTHS[request.param]
    context = chromium.new_context(viewport={"width": width, "height": height}, locale="en-US")
    yield Visit(context.new_page(), place[1])
    context.close()
