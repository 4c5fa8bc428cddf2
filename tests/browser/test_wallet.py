"""A wallet in the browser (EIP-1193), which this test writes by itself: it signs in, orders what it was
quoted, and takes its money out, on a real chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from playwright.sync_api import Browser, expect

from prixfixe.development_keys import ADDRESSES, development_key
from prixfixe.protocol.money import Money
from tests.browser.conftest import WIDTHS, Visit
from tests.support.devnet import Devnet, running_devnet

# What a wallet puts into a page: a provider that hands each request over, announced as EIP-6963 says.
INJECTED = """
(() => {
  const heard = {};
  const provider = {
    request: async ({ method, params }) => {
      const answer = await window.__wallet(method, params || []);
      if (answer.error) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
      return answer.result;
    },
    on: (name, act) => { heard[name] = act; },
  };
  window.__heard = heard;
  const info = { uuid: "1", name: "Test Wallet", icon: "data:,", rdns: "test.wallet" };
  const announce = () => window.dispatchEvent(
    new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  window.addEventListener("eip6963:requestProvider", announce);
  announce();
})();
"""


@dataclass
class Wallet:
    """Account 3 of a development chain. chain: where it says that it is. Writes addresses in lower case, as
    some wallets do."""

    rpc: str
    chain: int = 1
    declines: bool = False
    signed: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def __call__(self, method: str, params: list[Any]) -> dict[str, Any]:
        if self.declines and method in ("personal_sign", "eth_signTypedData_v4"):
            return {"error": {"code": 4001, "message": "User rejected the request."}}
        match method:
            case "eth_requestAccounts":
                return {"result": [ADDRESSES[3].lower()]}
            case "eth_chainId":
                return {"result": hex(self.chain)}
            case "wallet_switchEthereumChain":
                self.chain = int(params[0]["chainId"], 16)
                return {"result": None}
            case "personal_sign":
                text = bytes.fromhex(params[0][2:])
                self.messages.append(text.decode())
                return self._signed(encode_defunct(text))
            case "eth_signTypedData_v4":
                document = json.loads(params[1])
                self.signed.append(document)
                return self._signed(encode_typed_data(full_message=document))
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(self.rpc, json=question, timeout=30).json()
        return {name: answer[name] for name in ("result", "error") if name in answer}

    def _signed(self, message: Any) -> dict[str, Any]:
        found = Account.sign_message(message, development_key(3))
        return {"result": "0x" + bytes(found.signature).hex()}


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
    wallet = Wallet(devnet.state.rpc)
    context.expose_function("__wallet", wallet)
    context.add_init_script(INJECTED)
    yield Visit(context.new_page(), devnet.state.service), wallet
    context.close()
    expect.set_options(timeout=30_000)


def test_a_wallet_signs_in_orders_what_it_was_quoted_and_takes_its_money_out(
    place: tuple[Visit, Wallet], devnet: Devnet, tmp_path: Path
) -> None:
    visit, wallet = place
    page = visit.page
    width = page.viewport_size["width"] if page.viewport_size else 0
    visit.open("/wallet?bundle=probe")
    visit.keep(f"{width}-wallet-connect")
    assert visit.faults() == []

    # On another chain nothing is signed, until the wallet is switched.
    page.get_by_role("button", name="Connect Test Wallet").click()
    expect(page.get_by_role("alert")).to_contain_text("which is on chain 31337")
    visit.keep(f"{width}-wallet-chain")
    assert visit.faults() == []
    assert wallet.messages == []
    wallet.declines = True
    page.get_by_role("button", name="Switch the wallet to chain 31337").click()
    expect(page.get_by_role("alert")).to_contain_text("You declined in the wallet.")
    wallet.declines = False
    page.get_by_role("button", name="Connect Test Wallet").click()
    before = devnet.account().free
    expect(page.locator("#free")).to_have_text(str(before))
    assert f"URI: {visit.url}" in wallet.messages[0]

    # A price, and beside it every field that the wallet will show.
    page.get_by_label("Your file").set_input_files(devnet.table)
    page.get_by_label("Parameters").fill('{"mode": "ok", "number": 3}')
    page.get_by_role("button", name="Show the price").click()
    expect(page.locator("#price")).to_have_text("$2.00")
    visit.keep(f"{width}-wallet-price")
    assert visit.faults() == []
    page.get_by_role("button", name="Sign and order").click()
    expect(page.locator("#said")).to_contain_text("Ordered")
    (document,) = wallet.signed
    told = page.locator("#message dd").all_inner_texts()
    message = document["message"]
    assert [str(value) for value in message.values()] == [each.split(" (")[0] for each in told]
    assert (message["price"], message["tasks"], document["domain"]["chainId"]) == ("2000000", 1, 31337)

    # The job goes on by itself on the page, until its file can be taken.
    with devnet.client() as client:
        job = client.wait(client.jobs(1)[0].id)
        client.download(job, tmp_path / "own")
    file = page.locator("#jobs tr", has_text=job.id[:10]).get_by_role("button", name="result.txt")
    expect(file).to_be_visible()
    with page.expect_download() as taken:
        file.click()
    assert taken.value.path().read_bytes() == (tmp_path / "own" / "result.txt").read_bytes()
    expect(page.locator("#free")).to_have_text(str(before - Money.parse("2")))
    visit.keep(f"{width}-wallet-job")

    # Out again by a transaction of its own, and by one that somebody else may send.
    held = devnet.market.token_balance(ADDRESSES[3])
    page.get_by_label("Dollars to the wallet").fill("5.25")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator("#said")).to_contain_text("Withdrawn in 0x")
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
