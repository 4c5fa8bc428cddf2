"""The pages of a managed account: in by e-mail and password, nobody else's, and out again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import update

from marketplace.services import Services
from marketplace.store.account_tables import members
from prixfixe.errors import ConfigurationError
from tests.service.test_console import PERSON, Seen
from tests.support.accounts import PASSWORD, Person
from tests.support.service import CUSTOMER, HOST, OPERATOR, InProcess, World

EVIL = "<img src=x onerror=alert(1)>"


class Browser:
    """Keeps cookies, and fills forms in."""

    def __init__(self, world: World) -> None:
        self.http = httpx.Client(transport=InProcess(world.app), base_url=f"http://{HOST}", headers=PERSON)

    def open(self, path: str, status: int = 200) -> Seen:
        answer = self.http.get(path)
        assert answer.status_code == status, answer.text
        return Seen(answer.text)

    def send(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        return self.http.post(path, data={"page": "1", **fields}, headers=headers)

    def sign_up(self, email: str = "ada@example.com", **more: str) -> httpx.Response:
        return self.send("/sign-up", {"email": email, "password": PASSWORD, **more})

    def csrf(self) -> str:
        fields = [values for tag, values in self.open("/account").tags if tag == "input"]
        return next(str(values["value"]) for values in fields if values["name"] == "csrf")


def fields_of(seen: Seen) -> dict[str, str]:
    """What the form with which an account is opened sends unseen."""
    inputs = [values for tag, values in seen.tags if tag == "input" and values.get("type") == "hidden"]
    return {str(values["name"]): str(values["value"] or "") for values in inputs}


@pytest.fixture
def browser(world: World) -> Iterator[Browser]:
    made = Browser(world)
    yield made
    made.http.close()


def test_signing_up_leads_to_the_account_and_out_again(world: World, browser: Browser) -> None:
    assert "Sign in" in browser.open("/").text
    answer = browser.sign_up(name="Ada & Co")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    seen = browser.open("/account")
    for told in ("Ada & Co", "ada@example.com", "an owner", "$0.00", "Nothing was ordered yet."):
        assert told in seen.text, told
    assert "Your account" in browser.open("/").text
    out = browser.send("/sign-out", {"csrf": browser.csrf()})
    assert (out.status_code, out.headers["location"]) == (303, "/")
    assert browser.http.get("/account").headers["location"] == "/sign-in?next=/account"


def test_who_names_an_address_is_handed_what_brings_the_money_there(world: World, browser: Browser) -> None:
    assert browser.sign_up(withdraw_to=CUSTOMER.address).status_code == 303
    links = [values for tag, values in browser.open("/account/withdrawals").tags if tag == "a"]
    (standing,) = [values["href"] for values in links if "standing" in str(values["href"])]
    answer = browser.http.get(str(standing))
    assert (answer.status_code, answer.json()["to"]) == (200, CUSTOMER.address)
    browser.http.cookies.clear()
    browser.sign_up("eve@example.com")
    assert "standing" not in browser.http.get("/account/withdrawals").text


def test_signing_in_goes_on_to_where_one_wanted_to_be_and_nowhere_else(
    world: World, browser: Browser
) -> None:
    browser.sign_up()
    known = {"email": "ada@example.com", "password": PASSWORD}
    for place, leads in (("/account?cursor=1", "/account?cursor=1"), ("//elsewhere.example", "/")):
        browser.http.cookies.clear()
        answer = browser.send("/sign-in", {**known, "next": place})
        assert (answer.status_code, answer.headers["location"]) == (303, leads)


def test_signing_up_goes_on_to_where_one_wanted_to_be_and_nowhere_else(
    world: World, browser: Browser
) -> None:
    world.publish()
    seen = browser.open("/bundles/echo?channel=fair-2026")  # nobody is signed in: the form is there
    hidden = fields_of(seen)
    assert hidden["next"] == "/bundles/echo"
    refused = Seen(browser.send("/sign-up", {**hidden, "email": "ada"}).text)
    assert fields_of(refused) == hidden, "a mistake loses nothing"
    answer = browser.send("/sign-up", {**hidden, "email": "ada@example.com", "password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "/bundles/echo")
    flow = [values for tag, values in browser.open("/bundles/echo").tags if values.get("id") == "run"]
    assert flow, "a file goes in on this very page"
    for at, place in enumerate(("//elsewhere.example", "https://elsewhere.example/", "/\\elsewhere.example")):
        browser.http.cookies.clear()
        assert fields_of(browser.open(f"/sign-up?next={quote(place, safe='')}"))["next"] == "/"
        answer = browser.sign_up(f"eve{at}@example.com", next=place)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
    links = [values["href"] for tag, values in browser.open("/sign-in?next=/bundles/echo").tags if tag == "a"]
    assert {"/sign-up?next=/bundles/echo", "/bundles/echo/run?wallet=yes"} <= set(links)


@pytest.mark.parametrize(
    ("link", "kept"), [("fair-2026", "fair-2026"), ("%3Cimg+src%3Dx%3E", ""), ("a" * 65, ""), ("", "")]
)
def test_an_account_keeps_by_which_link_its_person_came(
    world: World, browser: Browser, link: str, kept: str
) -> None:
    world.publish()
    entries = [values["href"] for tag, values in browser.open(f"/?channel={link}").tags if tag == "a"]
    assert f"/bundles/echo?channel={kept}" in entries if kept else "/bundles/echo" in entries
    for path in (f"/bundles/echo?channel={link}", f"/sign-up?channel={link}"):
        hidden = fields_of(browser.open(path))
        assert hidden["channel"] == kept
    browser.send("/sign-up", {**hidden, "email": "ada@example.com", "password": PASSWORD})
    assert browser.http.get("/v1/account").json()["channel"] == kept


def test_a_viewer_is_shown_no_way_to_order(world: World, browser: Browser) -> None:
    world.publish()
    browser.sign_up()
    with world.store.write() as connection:
        connection.execute(update(members).values(role="viewer"))
    assert browser.http.get("/v1/account").json()["scopes"] == ["read"]
    seen = browser.open("/bundles/echo")
    assert "Run it on a file" not in seen.text
    assert "/sign-up" not in seen.text


def test_a_new_account_of_a_local_market_is_given_play_money_once(tmp_path: Path) -> None:
    world = World(tmp_path, play_money_units=100_000_000)
    browser = Browser(world)
    try:
        assert "is given $100.00" in browser.open("/sign-up").text
        browser.sign_up()
        (given,) = browser.http.get("/v1/account/top-ups").json()["items"]
        assert (given["invoice"], given["amount"], given["state"]) == ("play-money-1", "100000000", "pending")
        assert browser.sign_up().status_code == 409
        assert len(browser.http.get("/v1/account/top-ups").json()["items"]) == 1
    finally:
        browser.http.close()
        world.close()


def test_no_play_money_is_given_where_tokens_are_worth_something(world: World) -> None:
    settings = replace(world.services.settings, play_money_units=1)
    market = world.services.market.model_copy(update={"chain_id": 8453})
    with pytest.raises(ConfigurationError, match="worth something"):
        Services.build(settings, market, world.store, world.chain, OPERATOR)
    with pytest.raises(ConfigurationError, match="below zero"):
        replace(settings, play_money_units=-1)


def test_a_wrong_password_and_an_unknown_address_are_told_in_the_same_words(
    world: World, browser: Browser
) -> None:
    browser.sign_up()
    browser.http.cookies.clear()
    told = [
        browser.send("/sign-in", {"email": email, "password": "wrong horse battery"})
        for email in ("ada@example.com", "eve@example.com")
    ]
    assert {answer.status_code for answer in told} == {401}
    texts = {answer.text.replace("ada@", "eve@") for answer in told}
    assert len(texts) == 1
    assert "wrong horse battery" not in texts.pop()
    assert not browser.http.cookies


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"email": "ada@example.com"},
        {"email": "no address", "password": PASSWORD},
        {"email": EVIL, "password": PASSWORD},
        {"email": "ada@example.com", "password": "short"},
        {"email": "ada@example.com", "password": PASSWORD, "withdraw_to": "0x123"},
    ],
)
def test_a_form_with_a_mistake_comes_back_with_it(
    world: World, browser: Browser, fields: dict[str, str]
) -> None:
    answer = browser.send("/sign-up", fields)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert PASSWORD not in answer.text
    assert "<img" not in answer.text
    assert not browser.http.cookies


def test_no_other_site_signs_anybody_in_up_or_out(world: World, browser: Browser) -> None:
    for path in ("/sign-up", "/sign-in", "/sign-out"):
        fields = {"email": "ada@example.com", "password": PASSWORD}
        answer = browser.send(path, fields, **{"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
        assert not browser.http.cookies
    browser.sign_up()
    for csrf in ({}, {"csrf": "0" * 64}):
        assert browser.send("/sign-out", csrf).status_code == 403
    assert browser.open("/account")


def test_what_is_no_form_is_refused(world: World, browser: Browser) -> None:
    for kind, body in (
        ("application/json", b"{}"),
        ("application/x-www-form-urlencoded", "email=é".encode()),
        ("application/x-www-form-urlencoded", b"&".join(b"a=%d" % at for at in range(50))),
    ):
        answer = browser.http.post("/sign-in", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422, body


def test_a_job_is_shown_to_its_account_and_to_nobody_else(world: World, browser: Browser) -> None:
    world.publish()
    strangers = world.placed()
    browser.sign_up()
    for path in (f"/account/jobs/{strangers.id}", "/account/jobs/0x" + "0" * 64):
        seen = browser.open(path, 404)
        assert "$4.00" not in seen.text
    answer = browser.send(f"/account/jobs/{strangers.id}/cancel", {"csrf": browser.csrf()})
    assert answer.status_code == 404
    assert browser.open("/account/jobs/nothing", 422)
    browser.http.cookies.clear()
    assert browser.http.get(f"/account/jobs/{strangers.id}").status_code == 303


def test_ones_own_job_is_listed_shown_and_cancelled(world: World, browser: Browser) -> None:
    world.publish()
    browser.sign_up()
    ada = Person(world, "ada@example.com")
    account = ada.sign_in().account
    world.chain.accounts[account] = world.chain.accounts[next(iter(world.chain.accounts))]
    key = ada.key("read", "order")
    content = b"a,b\n"
    name = world.quote(content).manifest.inputs[0].sha256
    assert world.http.put(f"/v1/blobs/{name}", content=content, headers=key).status_code in (200, 201)
    request = {name: value for name, value in world.quote_request(content).items() if name != "customer"}
    ordered = world.http.post(
        "/v1/account/orders", json={"request": request}, headers={**key, "Idempotency-Key": "once"}
    )
    assert ordered.status_code == 201, ordered.text
    job = ordered.json()["job"]["id"]
    assert job[:10] in browser.open("/account").text
    seen = browser.open(f"/account/jobs/{job}")
    assert "waiting" in seen.text
    assert "Cancel what has not begun" in seen.text
    (followed,) = [values["data-events"] for _, values in seen.tags if "data-events" in values]
    assert followed == f"/v1/jobs/{job}/events?after=1"
    assert browser.send(f"/account/jobs/{job}/cancel", {}).status_code == 403
    assert browser.send(f"/account/jobs/{job}/cancel", {"csrf": browser.csrf()}).status_code == 303
    seen = browser.open(f"/account/jobs/{job}")
    assert "money back" in seen.text
    assert not any("data-events" in values for _, values in seen.tags)  # over, without a log
    ada.close()
