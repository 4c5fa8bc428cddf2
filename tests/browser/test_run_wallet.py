"""A file becomes an order that a wallet signs: the same way as with an account, on a page that stays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from marketplace.chain import AccountView
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.orders import Purchase
from prixfixe.protocol.wire import LogChunk
from tests.browser.conftest import Visit, visited
from tests.browser.test_run import EVIL, PARAMETERS, RESULT, TABLE, TABLES, chosen
from tests.support.finished import hand_in
from tests.support.looking import inspecting
from tests.support.service import CUSTOMER, DOLLAR, DOMAIN, STRANGER, World
from tests.support.wallets import Wallet


class Node:
    """A chain of which a wallet needs only what it deposits: $1 is there before."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.sent: list[str] = []
        self.mined = True
        self.questions: list[str] = []
        self._have(DOLLAR)

    def _have(self, free: int) -> None:
        self._world.chain.accounts[CUSTOMER.address] = AccountView(free, 0, 3)

    def __call__(self, method: str, params: list[Any]) -> dict[str, Any]:
        if method == "eth_sendTransaction":
            self.sent.append(params[0]["to"])
            if len(params[0]["data"]) == 74:  # one word: what was approved is deposited
                free = self._world.chain.accounts[CUSTOMER.address].free
                self._have(free + int(params[0]["data"][10:], 16))
            return {"result": "0x" + "ab" * 32}
        if method == "eth_call":
            account = self._world.chain.accounts[CUSTOMER.address]
            return {"result": f"0x{account.free:064x}" + "0" * 128}
        assert method == "eth_getTransactionReceipt", method
        self.questions.append(params[0])
        if not self.mined:
            return {"result": None}
        return {"result": {"status": "0x1"}}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """A service that keeps no accounts for others, whose inspector is at work."""
    with (
        visited(tmp_path, inspectors=(STRANGER.address,), seed=None) as made,
        inspecting(made[1], STRANGER, tmp_path / "inspector"),
    ):
        yield made


def test_a_file_becomes_an_order_that_the_wallet_signs(visit: Visit, world: World) -> None:
    world.publish(inputs=TABLES, parameters=PARAMETERS)
    page, node = visit.page, Node(world)
    wallet = Wallet(node)
    wallet.into(page.context)
    visit.open("/bundles/echo")
    page.get_by_role("link", name="Run it on a file").click()
    expect(page.get_by_label("Choose a file")).to_be_hidden()
    assert visit.faults() == []
    visit.keep("run-wallet-connect")
    page.get_by_role("button", name="Connect Test Wallet").click()
    expect(page.get_by_label("Choose a file")).to_be_visible()
    chosen(page, TABLE)
    expect(page.get_by_role("status")).to_contain_text("2 rows, 4 columns")
    page.get_by_label("Use of account").select_option("")
    page.get_by_label("Use of region").select_option("rows")
    page.get_by_role("button", name="See the price").click()

    # Too little: what is missing is deposited, and no more.
    pay = page.get_by_role("button", name="Sign and order for $4.00")
    page.get_by_role("button", name="Deposit $3.00").click()
    expect(pay).to_be_visible()
    assert len(node.sent) == 2
    expect(page.get_by_role("button", name="Deposit")).to_be_hidden()
    expect(page.locator("#spendable")).to_have_text("You can spend $4.00.")
    assert visit.faults() == []
    visit.keep("run-wallet-price")

    # Nothing is ordered that was declined; what is signed is what was shown.
    wallet.declines = True
    pay.click()
    expect(page.get_by_role("alert")).to_have_text("You declined in the wallet. Nothing was signed.")
    wallet.declines = False
    told = [each.split(" (")[0] for each in page.locator("#message dd").all_inner_texts()]
    pay.click()
    expect(page.locator("#job")).to_contain_text("waiting")
    (document,) = wallet.signed
    assert [str(value) for value in document["message"].values()] == told
    (job,), _ = world.services.jobs.page(CUSTOMER.address, None, 10, None)
    assignment = world.running(job)
    assert assignment.manifest.inputs[0].sha256 == sha256_hex(TABLE.encode())
    assert assignment.manifest.parameters["rows"] == ["region"]
    order = Purchase.from_json(document["message"])
    hashes = [order.digest(DOMAIN), order.struct_hash(), DOMAIN.separator]
    assert [page.locator(f"#hash-{name}").text_content() for name in ("digest", "message", "domain")] == [
        "0x" + each.hex() for each in hashes
    ]
    assert job.id == "0x" + hashes[0].hex()

    # The job and its log go on here, to its result, which is taken with the wallet's session.
    chunk = LogChunk(offset=0, text=f"adding up {EVIL}\n").model_dump(mode="json")
    assert world.worker_post(f"{assignment.attempt}/log", chunk).is_success
    expect(page.get_by_role("log")).to_have_text(f"adding up {EVIL}")
    hand_in(world, assignment, pivot_csv=b"1", **{f"{EVIL}.csv": RESULT.encode()})
    expect(page.locator("#preview")).to_contain_text(f"The first 3 rows of {EVIL}.csv")
    expect(page.locator("#preview table")).to_contain_text(EVIL)
    expect(page.locator("#preview canvas")).to_be_visible()
    assert visit.faults() == []
    visit.keep("run-wallet-result")
    for link, name, begins in (
        (f"{EVIL}.csv", "_img src=x onerror=alert(1)_.csv", RESULT.encode()),
        ("pivot.csv", "pivot.csv", b"1"),
        ("Certificate", "certificate.pdf", b"%PDF-"),
        ("Certificate (JSON)", "certificate.json", b'{"'),
        ("Receipt", "receipt.json", b'{"'),
        ("The whole log", "log.txt", b"adding up"),
    ):
        with page.expect_download() as taken:
            page.locator("#ordered").get_by_role("link", name=link).first.click()
        assert taken.value.suggested_filename == name
        assert taken.value.path().read_bytes().startswith(begins)
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]

    page.get_by_text("Share the result by a link").click()
    page.get_by_role("button", name="Make a link").click()
    expect(page.get_by_label("The link, shown this once")).to_be_focused()
    link = page.get_by_label("The link, shown this once").input_value()
    assert httpx.get(f"{link}/outputs/pivot.csv").content == b"1"
    assert visit.faults() == []
    page.get_by_role("button", name="Take all back").click()
    expect(page.get_by_label("The link, shown this once")).to_have_count(0)
    assert httpx.get(link).status_code == 404

    # Another file takes the settings over, and is for who is signed in only.
    chosen(page, TABLE, "next.csv")
    expect(page.get_by_label("Use of region")).to_have_value("rows")
    expect(page.get_by_label("Use of account")).to_have_value("")
    with page.expect_response(f"{visit.url}/v1/sessions") as ended:
        page.get_by_role("button", name="Sign out").click()
    assert (ended.value.request.method, ended.value.status) == ("DELETE", 204)
    expect(page.get_by_label("Choose a file")).to_be_hidden()
    expect(page.locator("#columns")).to_be_hidden()
    expect(page.locator("#job")).to_be_hidden()

    # So it is when the wallet changes to another account.
    page.get_by_role("button", name="Connect Test Wallet").click()
    expect(page.get_by_label("Choose a file")).to_be_visible()
    page.evaluate("window.__heard.accountsChanged(['0x' + '11'.repeat(20)])")
    expect(page.get_by_label("Choose a file")).to_be_hidden()

    # Later, on another page: its settings are taken over when it is its wallet that connects.
    visit.open("/wallet")
    page.get_by_role("button", name="Connect Test Wallet").click()
    page.get_by_role("button", name=job.id[:10]).click()
    page.get_by_role("link", name="Run again on a new file").click()
    with page.expect_response(f"**/wallet/jobs/{job.id}/parameters"):
        page.get_by_role("button", name="Connect Test Wallet").click()
    expect(page.get_by_label("Choose a file")).to_be_visible()
    chosen(page, TABLE)
    expect(page.get_by_label("Use of region")).to_have_value("rows")
    expect(page.get_by_label("Use of account")).to_have_value("")
    assert visit.faults() == []


def priced(visit: Visit, world: World, node: Node) -> None:
    """A wallet at this node asks what a run of its file costs."""
    world.publish(inputs=TABLES, parameters=PARAMETERS)
    page = visit.page
    Wallet(node).into(page.context)
    visit.open("/bundles/echo/run")
    page.get_by_role("button", name="Connect Test Wallet").click()
    expect(page.get_by_label("Choose a file")).to_be_visible()
    chosen(page, TABLE)
    page.get_by_role("button", name="See the price").click()


def test_what_came_meanwhile_is_not_deposited_again(visit: Visit, world: World) -> None:
    page, node = visit.page, Node(world)
    priced(visit, world, node)
    for free, missing in ((1, 3), (2, 2)):
        deposit = page.get_by_role("button", name=f"Deposit ${missing}.00")
        expect(deposit).to_be_enabled()
        world.chain.accounts[CUSTOMER.address] = AccountView(2 * free * DOLLAR, 0, 3)
        deposit.click()
    expect(page.get_by_role("button", name="Sign and order for $4.00")).to_be_enabled()
    assert node.sent == []


def test_a_wallet_that_was_left_says_and_sends_nothing_more(visit: Visit, world: World) -> None:
    page, node = visit.page, Node(world)
    connect, field = (
        page.get_by_role("button", name="Connect Test Wallet"),
        page.get_by_label("Choose a file"),
    )
    priced(visit, world, node)
    node.mined = False
    page.get_by_role("button", name="Deposit $3.00").click()
    expect(page.locator("#doing")).to_contain_text("Sent, waiting for the chain")
    page.evaluate("window.__first = window.__heard.accountsChanged; window.__first([])")
    expect(field).to_be_hidden()
    connect.click()
    expect(field).to_be_visible()
    node.mined = True
    node.questions.clear()  # what was begun before asks once more
    for _ in range(300):
        if node.questions:
            break
        page.wait_for_timeout(100)
    assert node.questions
    page.evaluate("window.__first([])")
    page.get_by_role("button", name="Sign out").click()
    expect(field).to_be_hidden()
    connect.click()
    expect(field).to_be_visible()
    page.evaluate("window.__first([])")
    chosen(page, TABLE)
    page.get_by_role("button", name="See the price").click()
    page.get_by_role("button", name="Deposit $3.00").click()
    expect(page.get_by_role("button", name="Sign and order for $4.00")).to_be_enabled()
    assert len(node.sent) == 3  # one before, and two of who came after


def test_nothing_else_begins_while_an_order_is_sent(visit: Visit, world: World) -> None:
    page, node = visit.page, Node(world)
    world.chain.accounts[CUSTOMER.address] = AccountView(5 * DOLLAR, 0, 3)
    priced(visit, world, node)
    held: list[Route] = []
    page.route("**/v1/jobs", lambda route: held.append(route), times=1)
    with page.expect_request("**/v1/jobs"):
        page.get_by_role("button", name="Sign and order for $4.00").click()
    expect(page.get_by_label("Choose a file")).to_be_disabled()
    assert page.locator("#form").evaluate("form => form.inert")
    page.locator("#drop").evaluate(
        """drop => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(["a"], "dropped.csv"));
          drop.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
        }"""
    )
    held[0].continue_()
    expect(page.locator("#job")).to_contain_text("waiting")
    expect(page.get_by_label("Choose a file")).to_be_enabled()
    expect(page.locator("#columns")).to_be_hidden()
    assert visit.faults() == []


def twice(price: str) -> str:
    return str(2 * int(price))


LIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "units": lambda quote: {"units": quote["units"] + 1},
    "parameters": lambda quote: {
        "manifest": {**quote["manifest"], "parameters": {**quote["manifest"]["parameters"], "rows": ["x"]}}
    },
    "parameters, job": lambda quote: {  # one that the page left as it was
        "manifest": {**quote["manifest"], "parameters": {**quote["manifest"]["parameters"], "top": 7}}
    },
    "version": lambda quote: {
        "manifest": {**quote["manifest"], "bundle": {**quote["manifest"]["bundle"], "version": "9.9.9"}}
    },
    "tier": lambda quote: {
        "manifest": {**quote["manifest"], "bundle": {**quote["manifest"]["bundle"], "tier": "large"}}
    },
    "replicas": lambda quote: {"offer": {**quote["offer"], "quorum": 2}},
    "tasks": lambda _: {"lot": 2},
    "inputs": lambda quote: {"manifest": {**quote["manifest"], "inputs": []}},
    "job": lambda _: {"job": "0x" + "11" * 32},
    "offer": lambda quote: {"offer": {**quote["offer"], "disputable": not quote["offer"]["disputable"]}},
    "price": lambda quote: {"price": twice(quote["price"])},
    "customer": lambda _: {"customer": STRANGER.address},
}


def lying(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Route], None]:
    """A service between the page and the real one."""

    def answered(route: Route) -> None:
        answer = route.fetch()
        said = answer.json()
        route.fulfill(response=answer, json={**said, **change(said)})

    return answered


def test_what_the_service_changed_is_not_signed(chromium: Browser, place: tuple[World, str]) -> None:
    world, url = place
    world.publish(inputs=TABLES, parameters=PARAMETERS)
    with closing(chromium.new_context(locale="en-US")) as context:
        wallet = Wallet(Node(world))
        wallet.into(context)
        visit = Visit(context.new_page(), url)
        page = visit.page
        visit.open("/bundles/echo/run")
        page.get_by_role("button", name="Connect Test Wallet").click()
        expect(page.get_by_label("Choose a file")).to_be_visible()
        chosen(page, TABLE)
        expect(page.get_by_role("status")).to_contain_text("2 rows, 4 columns")
        for lie, change in LIES.items():
            page.route("**/v1/quotes", lying(change), times=1)
            page.get_by_role("button", name="See the price").click()
            expect(page.get_by_role("alert")).to_contain_text(
                re.compile(rf"is not what was asked for: ([a-z]+, )*{lie}\b")
            )
            expect(page.locator("#pay")).to_be_hidden()
        assert wallet.signed == []

        # The job that is made of the order has the order's digest as its number.
        world.chain.accounts[CUSTOMER.address] = AccountView(5 * DOLLAR, 0, 3)
        page.route("**/v1/jobs", lying(lambda _: {"id": "0x" + "22" * 32}), times=1)
        page.get_by_role("button", name="See the price").click()
        page.get_by_role("button", name="Sign and order for $4.00").click()
        expect(page.get_by_role("alert")).to_contain_text("made another job of this order: 0x2222")
