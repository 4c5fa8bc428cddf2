"""From a file to its result in Simplified Chinese: every page of the way has no English sentence."""

from __future__ import annotations

import re
from contextlib import closing

from playwright.sync_api import Browser, Page, expect

from marketplace.chain import AccountView
from marketplace.console.languages import LANGUAGES
from tests.browser.conftest import EMAIL, WIDTHS, Visit
from tests.browser.test_run import PARAMETERS, RESULT, TABLE, TABLES, ordered, place
from tests.browser.test_run_wallet import Node
from tests.support.accounts import PASSWORD
from tests.support.finished import hand_in
from tests.support.service import DOLLAR, World
from tests.support.wallets import Wallet

__all__ = ["place"]

TEXT = LANGUAGES["zh"].text
ENGLISH_SENTENCE = re.compile(r"\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b")


def clean(visit: Visit, name: str) -> None:
    assert visit.page.locator("html").get_attribute("lang") == "zh-Hans"
    assert visit.faults() == []
    told = visit.page.locator("main").inner_text()
    # What was found in a file is said in the words of who looked at it.
    for guess in visit.page.locator("#guesses li").all_inner_texts():
        told = told.replace(guess, "")
    assert ENGLISH_SENTENCE.findall(told) == []
    visit.keep(f"chinese-{name}")


def priced(page: Page) -> None:
    field = page.locator("#file")
    expect(field).to_be_visible()
    expect(field).to_be_enabled()
    field.set_input_files({"name": "sales.csv", "mimeType": "text/csv", "buffer": TABLE.encode()})
    expect(page.get_by_role("status")).to_contain_text("sales.csv")
    expect(page.locator("#columns")).to_be_visible()


def test_the_way_from_a_file_to_its_result_is_chinese(chromium: Browser, place: tuple[World, str]) -> None:
    world, url = place
    world.publish(inputs=TABLES, parameters=PARAMETERS)
    width, height = WIDTHS["phone"]
    with closing(
        chromium.new_context(viewport={"width": width, "height": height}, locale="zh-CN")
    ) as context:
        wallet = Wallet(Node(world))
        wallet.into(context)
        visit = Visit(context.new_page(), url)
        page = visit.page
        visit.open("/sign-up")
        page.locator("input[name=email]").fill(EMAIL)
        page.locator("input[name=password]").fill(PASSWORD)
        page.get_by_role("button", name=str(TEXT("enter.sign_up"))).click()
        page.wait_for_url(lambda address: "/sign-up" not in address)
        visit.open("/bundles/echo/run")
        account = page.locator("#run").get_attribute("data-address")
        assert account is not None
        world.chain.accounts[account] = AccountView(100 * DOLLAR, 0, 3)
        priced(page)
        clean(visit, "columns")
        page.get_by_role("button", name=str(TEXT("run.see_price"))).click()
        expect(page.locator("#pay")).to_be_visible()
        clean(visit, "price")
        page.locator("#pay").click()
        page.wait_for_url("**/account/jobs/0x*")
        expect(page.locator("#job")).to_contain_text("等待机器")
        clean(visit, "waiting")
        job, _ = ordered(world, page)
        running = world.running(job)
        expect(page.locator("#job")).to_contain_text("上运行")
        hand_in(world, running, pivot_csv=RESULT.encode())
        expect(page.locator("#job")).to_contain_text("已完成并付款")
        expect(page.locator("#preview canvas")).to_be_visible()
        clean(visit, "result")
        page.locator("details", has=page.locator("select[name=days]")).locator("summary").click()
        page.get_by_role("button", name=str(TEXT("shared.new"))).click()
        link = page.locator("#link").input_value()
        clean(visit, "link")
        visit.open(link.removeprefix(url))
        expect(page.locator("#preview canvas")).to_be_visible()
        clean(visit, "shared")

        visit.open("/bundles/echo/run?wallet=yes")
        clean(visit, "wallet-connect")
        page.get_by_role("button", name=str(TEXT("wallet.connect", name="Test Wallet"))).click()
        priced(page)
        page.get_by_role("button", name=str(TEXT("run.see_price"))).click()
        expect(page.locator("#deposit")).to_be_visible()
        clean(visit, "wallet-price")
        page.locator("#deposit").click()
        page.locator("#pay").click()
        expect(page.locator("#job")).to_contain_text("等待机器")
        clean(visit, "wallet-waiting")
