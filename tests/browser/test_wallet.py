"""A wallet in the browser (EIP-1193), which this test writes by itself: it signs in, orders what it was
quoted, and takes its money out, on a real chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from prixfixe.development_keys import ADDRESSES
from prixfixe.protocol.money import Money
from tests.browser.conftest import WIDTHS, Visit
from tests.support.devnet import Devnet, running_devnet
from tests.support.wallets import Wallet, node_at


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with running_devnet(tmp_path_factory.mktemp("wallet"), workers=1) as made:
        yield made


@pytest.fixture(params=WIDTHS, ids=list(WIDTHS))
def place(
    request: pytest.FixtureRequest, chromium: Browser, devnet: Devnet
) -> Iterator[tuple[Visit, Wallet]]:
    """A browser with a wallet, at the market's address."""
    width, height = WIDTHS[request.param]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, locale="en-US", accept_downloads=True
    )
    context.set_default_timeout(90_000)
    expect.set_options(timeout=90_000)
    wallet = Wallet(node_at(devnet.state.rpc), chain=1)
    wallet.into(context)
    yield Visit(context.new_page(), devnet.state.service), wallet
    context.close()
    expect.set_options(timeout=30_000)


@dataclass
class Stumbles:
    """A node that cannot be read once, right after it took a transaction in."""

    node: Callable[[str, list[Any]], dict[str, Any]]
    count: int = 0
    sent: bool = False

    def __call__(self, method: str, params: list[Any]) -> dict[str, Any]:
        self.sent |= method == "eth_sendTransaction"
        if self.sent and method == "eth_call" and not self.count:
            self.count += 1
            return {"error": {"code": -32603, "message": "arithmetic underflow"}}
        return self.node(method, params)


def test_a_wallet_signs_in_orders_what_it_was_quoted_and_takes_its_money_out(
    place: tuple[Visit, Wallet], devnet: Devnet, tmp_path: Path
) -> None:
    visit, wallet = place
    page = visit.page
    visit.open("/wallet?bundle=probe")
    assert page.url == f"{visit.url}/bundles/probe/run?wallet=yes"

    # On another chain nothing is signed, until the wallet is switched.
    page.get_by_role("button", name="Connect Test Wallet").click()
    expect(page.get_by_role("alert")).to_contain_text("which is on chain 31337")
    visit.keep("wallet-chain")
    assert visit.faults() == []
    assert wallet.messages == []
    wallet.declines = True
    page.get_by_role("button", name="Switch the wallet to chain 31337").click()
    expect(page.get_by_role("alert")).to_contain_text("You declined in the wallet.")
    wallet.declines = False
    page.get_by_role("button", name="Connect Test Wallet").click()
    field = page.get_by_label("Choose a file")
    expect(field).to_be_visible()
    assert f"URI: {visit.url}" in wallet.messages[0]

    # A price, and beside it every field that the wallet will show.
    before = devnet.account().free
    field.set_input_files(devnet.table)
    page.get_by_label("number").fill("3")
    page.get_by_role("button", name="See the price").click()
    pay = page.get_by_role("button", name="Sign and order for $2.00")
    expect(pay).to_be_visible()
    assert visit.faults() == []
    told = page.locator("#message dd").all_inner_texts()
    pay.click()
    expect(page.locator("#job")).to_be_visible()
    (document,) = wallet.signed
    message = document["message"]
    assert [str(value) for value in message.values()] == [each.split(" (")[0] for each in told]
    assert (message["price"], message["tasks"], document["domain"]["chainId"]) == ("2000000", 1, 31337)

    # The job goes on by itself on the page, until its file can be taken.
    with devnet.client() as client:
        job = client.wait(client.jobs(1)[0].id)
        client.download(job, tmp_path / "own")
    file = page.locator("#job").get_by_role("link", name="result.txt")
    with page.expect_download() as taken:
        file.click()
    assert taken.value.path().read_bytes() == (tmp_path / "own" / "result.txt").read_bytes()
    visit.keep("wallet-job")

    # The wallet's own page has all of its jobs, and its money.
    visit.open("/wallet")
    page.get_by_role("button", name="Connect Test Wallet").click()
    expect(page.locator("#free")).to_have_text(str(before - Money.parse("2")))
    page.get_by_role("button", name=job.id[:10]).click()
    expect(page.locator("#job").get_by_role("link", name="result.txt")).to_be_visible()
    assert visit.faults() == []
    visit.keep("wallet")

    # Out again by a transaction of its own, and by one that somebody else may send.
    held = devnet.market.token_balance(ADDRESSES[3])
    page.get_by_label("Dollars to the wallet").fill("5.25")
    stumbles = Stumbles(wallet.node)
    wallet.node = stumbles
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator("#said")).to_contain_text("Withdrawn in 0x")
    expect(page.locator("#free")).to_have_text(str(before - Money.parse("7.25")))
    assert stumbles.count == 1
    assert devnet.market.token_balance(ADDRESSES[3]) == held + Money.parse("5.25")
    page.get_by_text("No coin of the chain for gas?").click()
    page.get_by_label("Fee for the sender").fill("0.5")
    with page.expect_download() as handed:
        page.get_by_role("button", name="Sign it and save the file").click()
    call = tmp_path / "withdrawal.json"
    handed.value.save_as(call)
    devnet.types("chain", "send", str(call), "--key", "dev:9", "--yes")
    assert devnet.market.token_balance(ADDRESSES[3]) == held + Money.parse("10.5")
    assert visit.faults() == []

    # What another page could not take over: nothing is left in the browser once it is loaded anew.
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    page.reload()
    expect(page.get_by_role("button", name="Connect Test Wallet")).to_be_visible()
    expect(page.locator("#inside")).to_be_hidden()
