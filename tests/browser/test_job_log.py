"""A job's log on its page: live, bounded, and never anything but text, whatever an application wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from marketplace.store.events import add_event
from prixfixe.protocol.wire import Assignment, Job
from tests.browser.conftest import Visit, visited
from tests.browser.test_account import ordered
from tests.support.finished import hand_in
from tests.support.service import World

EVIL = "<img src=x onerror=alert(1)></pre><script>alert(2)</script>"
HOSTILE = (
    f"{EVIL}\n"
    "\x1b[31mred\x1b[0m \x1b]0;a title\x07\x1b[2Jafter\n"  # of these only the words
    "10%\r50%\r100%\r\n"  # as a terminal leaves it
    "\x00\x07\x7f\x85\u202elaer\ufeff\ufffd\n"
    f"{'w' * 20_000}\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """A service that keeps long logs."""
    with visited(tmp_path, max_log_bytes=1_000_000) as made:
        yield made


class Writing:
    """The application of a running job."""

    def __init__(self, world: World, job: Job) -> None:
        self._world = world
        self.assignment: Assignment = world.running(job)
        self._offset = 0

    def __call__(self, text: str) -> None:
        chunk = {"offset": self._offset, "text": text}
        assert self._world.worker_post(f"{self.assignment.attempt}/log", chunk).is_success
        self._offset += len(text.encode())


def begun(visit: Visit, world: World) -> tuple[Job, Writing]:
    """Somebody's job that runs, on its page."""
    world.publish()
    visit.sign_up()
    job = ordered(world)
    writing = Writing(world, job)
    visit.open(f"/account/jobs/{job.id}")
    return job, writing


def lines(page: Page) -> list[str]:
    return (page.get_by_role("log").text_content() or "").split("\n")


def test_a_hostile_log_is_shown_as_it_is_written_and_is_only_text(visit: Visit, world: World) -> None:
    job, writes = begun(visit, world)
    page, log = visit.page, visit.page.get_by_role("log")
    expect(page.locator("#log")).to_be_hidden()
    writes("first line\n")
    expect(log).to_have_text("first line")
    writes(HOSTILE)
    expect(log).to_contain_text("more characters")
    seen = lines(page)
    assert seen[1] == EVIL
    assert seen[2:4] == ["red after", "100%"]
    assert seen[4] == "^@^G\ufffd\ufffd\ufffdlaer\ufffd\ufffd"
    assert seen[5] == "w" * 1000 + " … (19000 more characters)"
    assert page.locator("#log img, #log script").count() == 0
    assert log.get_attribute("aria-live") == "off"
    assert page.locator("[aria-live=polite] [role=log]").count() == 0
    assert visit.faults() == []
    visit.keep("job-log")
    whole = page.get_by_role("link", name="The whole log").get_attribute("href")
    assert whole == f"/v1/jobs/{job.id}/log"
    hand_in(world, writes.assignment, out_csv=b"done")
    expect(page.locator("#job")).to_contain_text("delivered")
    page.reload()  # over, and its log is still there
    expect(log).to_contain_text("first line")
    assert lines(page) == seen
    assert visit.faults() == []


def test_the_page_holds_the_newest_lines_and_says_that_there_are_more(visit: Visit, world: World) -> None:
    _, writes = begun(visit, world)
    for at in range(5):
        writes("".join(f"line {at * 100 + each}\n" for each in range(100)))
    writes("half a ")
    page, log = visit.page, visit.page.get_by_role("log")
    expect(log).to_contain_text("half a ")
    assert lines(page) == [*(f"line {at}" for at in range(200, 500)), "half a "]
    expect(page.locator("#log")).to_contain_text("The newest 300 lines; the whole log has all.")
    writes("line\n")
    expect(log).to_contain_text("half a line")


def test_a_reader_pauses_and_goes_on_by_keyboard_or_by_scrolling_up(visit: Visit, world: World) -> None:
    _, writes = begun(visit, world)
    page, log = visit.page, visit.page.get_by_role("log")
    writes("".join(f"line {each}\n" for each in range(100)))
    expect(log).to_contain_text("line 99")
    assert log.evaluate("it => it.scrollTop + it.clientHeight >= it.scrollHeight - 8")
    pause, follow = (page.get_by_role("button", name=name) for name in ("Pause", "Follow"))
    pause.focus()
    page.keyboard.press("Enter")
    expect(follow).to_be_focused()
    writes("later\nstill later\n")
    expect(page.locator("#log")).to_contain_text("Paused; new lines: 2.")
    expect(log).not_to_contain_text("later")
    page.keyboard.press("Enter")
    expect(log).to_contain_text("still later")
    log.focus()
    page.keyboard.press("Home")
    expect(follow).to_be_visible()
    writes("last\n")
    expect(page.locator("#log")).to_contain_text("Paused; new lines: 1.")
    assert log.evaluate("it => it.scrollTop") == 0


def test_each_attempt_and_task_is_named_and_can_be_chosen(visit: Visit, world: World) -> None:
    job, writes = begun(visit, world)
    page, log = visit.page, visit.page.get_by_role("log")
    writes("of the first\n")
    expect(log).to_have_text("of the first")
    names = {}
    for task, attempt, text in ((0, "b" * 32, "of the second\n"), (7, "c" * 32, "of the seventh\n")):
        told = {"attempt": attempt, "task": task, "worker": EVIL, "offset": 0, "text": text}
        with world.store.write() as connection:
            add_event(connection, job.id, "log", told)
        names[task] = f"task {task} on {EVIL}, attempt {attempt[:8]}"
    # Another attempt at the same task goes on with it; another task waits to be chosen.
    expect(log).to_have_text("of the second")
    choice = page.get_by_label("Shown:")
    expect(choice.locator("option")).to_have_count(3)
    assert choice.locator("option:checked").text_content() == names[0]
    choice.select_option(label=names[7])
    expect(log).to_have_text("of the seventh")
    whole = page.get_by_role("link", name="The whole log").get_attribute("href")
    assert whole == f"/v1/jobs/{job.id}/log?task=7"
    writes("of the first again\n")
    expect(log).to_have_text("of the seventh")
    assert visit.faults() == []
