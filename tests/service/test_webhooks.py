"""Webhooks: signed so that an independent library takes them, sent until they are taken, and to nobody whom
the service reaches and the customer does not."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest
from sqlalchemy import select, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from marketplace.accounts.balances import Balances
from marketplace.accounts.limits import Spending
from marketplace.accounts.top_ups import credit
from marketplace.chain import AccountView
from marketplace.store import tables
from marketplace.store.webhook_tables import webhook_deliveries, webhook_endpoints, webhook_messages
from marketplace.webhooks import destinations, sending
from marketplace.webhooks.accounts import AccountNews
from marketplace.webhooks.destinations import CheckedNetwork, RefusedAddress, require_url
from marketplace.webhooks.sending import WAITS, Sender
from prixfixe.errors import InvalidInput
from prixfixe.protocol.money import Money
from scheduler.messenger import Messenger
from tests.support.accounts import Person
from tests.support.finished import deliver, refuse
from tests.support.receiver import Receiver, receiving
from tests.support.service import CUSTOMER, DOLLAR, SEED, STRANGER, World

ADDRESS = SEED.signer(1).address


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def add(world: World, receiver: Receiver, **more: Any) -> tuple[str, str]:
    """Id and secret of a webhook of the customer's wallet."""
    answer = world.http.post(
        "/v1/webhooks", json={"url": receiver.url, **more}, headers=world.sign_in(CUSTOMER)
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["endpoint"]["id"], answer.json()["secret"]


def call(world: World, method: str, path: str, body: Any = None) -> Any:
    answer = world.http.request(method, f"/v1/webhooks/{path}", json=body, headers=world.sign_in(CUSTOMER))
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def send(world: World) -> float:
    sender = Sender(world.store, local=True, clock=world.clock)
    return sender.send_all(lambda: False)


def taken(receiver: Receiver, secret: str) -> list[dict[str, Any]]:
    """What came, each checked by the library of Standard Webhooks."""
    return [Webhook(secret).verify(body, headers) for headers, body in receiver.came]


def only_delivery(world: World) -> dict[str, Any]:
    with world.store.read() as connection:
        return dict(connection.execute(select(webhook_deliveries)).mappings().one())


def test_a_job_is_told_from_its_order_to_its_end_and_the_signature_is_what_the_standard_says(
    world: World, receiver: Receiver
) -> None:
    world.publish()
    _, secret = add(world, receiver)
    job = world.placed()
    deliver(world, job)
    send(world)
    said = taken(receiver, secret)
    assert sorted(each["type"] for each in said) == ["job.queued", "job.running", "job.settled"]
    (settled,) = [each for each in said if each["type"] == "job.settled"]
    assert settled["data"] == {"job": job.id, "state": "settled", "charged": "4000000", "reason": None}
    headers, body = receiver.came[0]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)
    send(world)
    assert len(receiver.came) == 3


def test_a_job_that_failed_is_told_with_its_reason(world: World, receiver: Receiver) -> None:
    world.publish()
    _, secret = add(world, receiver, events=["job.refunded"])
    refuse(world, world.placed())
    send(world)
    (said,) = taken(receiver, secret)
    assert (said["type"], said["data"]["charged"], said["data"]["reason"]["code"]) == (
        "job.refunded",
        "0",
        "no-column",
    )


def test_jobs_of_others_are_not_told(world: World, receiver: Receiver) -> None:
    world.publish()
    body = {"url": receiver.url}
    assert world.http.post("/v1/webhooks", json=body, headers=world.sign_in(STRANGER)).status_code == 201
    world.placed()
    send(world)
    assert receiver.came == []


def test_a_message_goes_out_again_until_it_is_taken(world: World, receiver: Receiver) -> None:
    endpoint, _ = add(world, receiver)
    receiver.answer = lambda number: 500 if number < 4 else 200
    call(world, "POST", f"{endpoint}/test")
    for tries, wait in enumerate(WAITS[:3], 1):
        send(world)
        assert len(receiver.came) == tries
        assert only_delivery(world)["attempts"] == tries
        world.clock.now += wait - 1
        send(world)
        assert len(receiver.came) == tries  # not before its time
        world.clock.now += wait * 0.1 + 2
    send(world)
    assert (only_delivery(world)["state"], only_delivery(world)["status"]) == ("delivered", 200)
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 1
    # The library bounds the age of a message: the last is of now.
    headers, body = receiver.came[-1]
    assert abs(int(headers["webhook-timestamp"]) - world.clock.now) < 5
    assert json.loads(body)["data"] == {"endpoint": endpoint}
    assert call(world, "GET", endpoint)["failing_since"] is None


def test_a_receiver_that_never_takes_anything_is_given_up_and_comes_back(
    world: World, receiver: Receiver
) -> None:
    endpoint, _ = add(world, receiver)
    receiver.answer = lambda _: 503
    call(world, "POST", f"{endpoint}/test")
    for wait in (*WAITS, 0):
        send(world)
        world.clock.now += wait * 1.1 + 1
    assert len(receiver.came) == len(WAITS) + 1
    world._tokens.clear()  # sessions are over, too
    shown = call(world, "GET", endpoint)
    assert (shown["state"], shown["reason"]) == ("disabled", "no call went well; it answered 503")
    (failed,) = call(world, "GET", f"{endpoint}/deliveries")["items"]
    assert (failed["state"], failed["attempts"], failed["status"]) == ("failed", 11, 503)
    world.publish()
    world.placed()  # while it is disabled
    send(world)
    assert len(receiver.came) == len(WAITS) + 1
    receiver.answer = lambda _: 200
    call(world, "PATCH", endpoint, {"enabled": True})
    call(world, "POST", f"{endpoint}/replay", {"message": failed["message"]})
    send(world)
    assert {each["state"] for each in call(world, "GET", f"{endpoint}/deliveries")["items"]} == {"delivered"}


def test_a_receiver_that_is_gone_is_disabled_at_once(world: World, receiver: Receiver) -> None:
    endpoint, _ = add(world, receiver)
    receiver.answer = lambda _: 410
    call(world, "POST", f"{endpoint}/test")
    send(world)
    assert call(world, "GET", endpoint)["reason"] == "it answered 410 (gone)"
    refused = world.http.post(f"/v1/webhooks/{endpoint}/test", headers=world.sign_in(CUSTOMER))
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook-disabled")


def test_a_redirect_is_not_followed(world: World, receiver: Receiver) -> None:
    endpoint, _ = add(world, receiver)
    receiver.answer = lambda _: 307
    receiver.headers = {"location": receiver.url + "/elsewhere"}
    call(world, "POST", f"{endpoint}/test")
    send(world)
    assert (len(receiver.came), only_delivery(world)["error"]) == (1, "it answered 307")


def test_a_receiver_that_does_not_answer_holds_up_nobody_else(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "CALL_SECONDS", 2.0)
    with receiving() as silent:
        silent.answer = lambda _: None
        slow, _ = add(world, silent)
        quick, _ = add(world, receiver)
        call(world, "POST", f"{slow}/test")
        call(world, "POST", f"{quick}/test")
        receiver.answer = lambda _: 200 if silent.came and not silent.closing.is_set() else 500
        send(world)
        states = {
            each: call(world, "GET", f"{each}/deliveries")["items"][0]["error"] for each in (slow, quick)
        }
        assert states == {slow: "no answer within 2 s", quick: states[quick]}
        assert len(receiver.came) == 1


def test_many_names_whose_servers_are_silent_hold_up_nobody_else(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a pool has connections by default, and an event loop has threads on a small machine."""
    reached, waited, real = threading.Event(), [], socket.getaddrinfo

    def look_up(host: str, *args: Any, **more: Any) -> Any:
        if host != "silent.example":
            return real(host, *args, **more)
        waited.append(reached.wait(10))
        raise socket.gaierror("no server answers")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for _ in range(5):
        silent, _ = add(world, receiver)
        for _ in range(5):
            call(world, "POST", f"{silent}/test")
    with world.store.write() as connection:
        connection.execute(update(webhook_endpoints).values(url="https://silent.example/"))
    world.clock.now += 1  # the others are called first
    quick, _ = add(world, receiver)
    call(world, "POST", f"{quick}/test")

    def answer(_: int) -> int:
        reached.set()
        return 204

    receiver.answer = answer
    send(world)
    assert waited == [True] * 25
    assert len(receiver.came) == 1


def test_endpoints_that_fail_have_only_their_share_also_while_they_are_called(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_FAILING", 1)
    failing = {add(world, receiver)[0] for _ in range(2)}
    with world.store.write() as connection:
        connection.execute(update(webhook_endpoints).values(failing_since=int(world.clock.now)))
    well, _ = add(world, receiver)
    for each in (*failing, well):
        call(world, "POST", f"{each}/test")
    sender = Sender(world.store, local=True, clock=world.clock)
    first = {some[0].endpoint for some in sender._due(frozenset())}
    assert (well in first, len(first & failing)) == (True, 1)
    assert sender._due(frozenset(first)) == []


def test_what_a_killed_service_had_sent_and_not_noted_is_sent_again(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, secret = add(world, receiver)
    call(world, "POST", f"{endpoint}/test")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Sender, "_record", killed)
        with pytest.raises(KeyboardInterrupt):
            send(world)
    send(world)  # as a new process does
    first, second = taken(receiver, secret)
    assert first == second
    assert receiver.came[0][0]["webhook-id"] == receiver.came[1][0]["webhook-id"]


def test_for_a_day_both_secrets_sign(world: World, receiver: Receiver) -> None:
    endpoint, old = add(world, receiver)
    new = call(world, "POST", f"{endpoint}/rotate")["secret"]
    call(world, "POST", f"{endpoint}/test")
    send(world)
    assert taken(receiver, old) == taken(receiver, new)
    receiver.came.clear()
    with world.store.write() as connection:  # a day later; the library wants a message of now
        connection.execute(update(webhook_endpoints).values(old_until=int(world.clock.now)))
    call(world, "POST", f"{endpoint}/test")
    send(world)
    assert len(taken(receiver, new)) == 1
    with pytest.raises(WebhookVerificationError):
        taken(receiver, old)


def test_all_since_a_time_is_sent_again_also_to_a_later_endpoint(world: World, receiver: Receiver) -> None:
    world.publish()
    first, _ = add(world, receiver)
    world.placed()
    send(world)
    later, secret = add(world, receiver, events=["job.queued"])
    receiver.came.clear()
    assert call(world, "POST", f"{later}/replay", {"since": 0}) == {"count": 1}
    assert call(world, "POST", f"{first}/replay", {"since": 2**39}) == {"count": 0}
    send(world)
    assert [each["type"] for each in taken(receiver, secret)] == ["job.queued"]
    for wish in ({}, {"since": 0, "message": "msg_" + "0" * 32}):
        refused = world.http.post(f"/v1/webhooks/{first}/replay", json=wish, headers=world.sign_in(CUSTOMER))
        assert (refused.status_code, refused.json()["code"]) == (422, "bad-replay")


def test_deliveries_come_in_pages(world: World, receiver: Receiver) -> None:
    endpoint, _ = add(world, receiver)
    made = [call(world, "POST", f"{endpoint}/test")["message"] for _ in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = call(world, "GET", f"{endpoint}/deliveries?limit=2" + (cursor and f"&cursor={cursor}"))
        seen += [each["message"] for each in page["items"]]
        cursor = page["next"]
    assert sorted(seen) == sorted(made)


def test_old_messages_are_forgotten(world: World, receiver: Receiver) -> None:
    endpoint, _ = add(world, receiver)
    call(world, "POST", f"{endpoint}/test")
    sender = Sender(world.store, local=True, clock=world.clock)
    assert sender.forget_old() == 0
    world.clock.now += sending.KEPT_SECONDS + 10
    assert sender.forget_old() == 1
    with world.store.read() as connection:
        assert connection.execute(select(webhook_messages)).all() == []
        assert connection.execute(select(webhook_deliveries)).all() == []


def test_a_webhook_that_is_removed_hears_nothing_more(world: World, receiver: Receiver) -> None:
    endpoint, _ = add(world, receiver)
    call(world, "POST", f"{endpoint}/test")
    call(world, "DELETE", endpoint)
    send(world)
    assert receiver.came == []


def test_a_managed_account_is_told_of_money_that_came_and_of_money_that_runs_out(
    world: World, receiver: Receiver
) -> None:
    ada = Person(world, "ada@example.com")
    ada.sign_up()
    headers = ada.key("manage")
    world.chain.accounts[ADDRESS] = AccountView(100 * DOLLAR, 0, 2)
    made = world.http.post("/v1/webhooks", json={"url": receiver.url}, headers=headers)
    assert made.status_code == 201, made.text
    secret = made.json()["secret"]
    balances = Balances(world.store, world.chain, Spending(world.store), Money(5 * DOLLAR))
    news = AccountNews(world.store, balances, world.clock)
    messenger = Messenger(world.store, Sender(world.store, local=True, clock=world.clock), news)
    credit(world.store, ADDRESS, Money(7 * DOLLAR), "2026-017")
    messenger.run_once()
    assert receiver.came == []  # it is on its way
    with world.store.write() as connection:
        for state in ("sent", "confirmed"):
            connection.execute(update(tables.transactions).values(state=state, hashes=["0x" + "1" * 64]))
    world.chain.accounts[ADDRESS] = AccountView(9 * DOLLAR, 0, 2)
    for _ in range(2):  # what was told is not told again
        news.look()
    send(world)
    said = {each["type"]: each["data"] for each in taken(receiver, secret)}
    assert said == {
        "account.topped_up": {"account": ADDRESS, "invoice": "2026-017", "amount": "7000000"},
        "account.low_balance": {"account": ADDRESS, "spendable": "9000000", "warn_below": "10000000"},
    }
    assert len(receiver.came) == 2
    world.chain.accounts[ADDRESS] = AccountView(50 * DOLLAR, 0, 2)
    news.look()
    world.clock.now += 60
    world.chain.accounts[ADDRESS] = AccountView(1, 0, 2)
    news.look()
    send(world)
    assert len(receiver.came) == 3
    viewer = ada.key("read", "order")
    assert world.http.get("/v1/webhooks", headers=viewer).status_code == 403
    ada.close()


def test_an_account_has_so_many_webhooks_at_most(world: World, receiver: Receiver) -> None:
    for _ in range(10):
        add(world, receiver)
    refused = world.http.post("/v1/webhooks", json={"url": receiver.url}, headers=world.sign_in(CUSTOMER))
    assert (refused.status_code, refused.json()["code"]) == (409, "too-many-webhooks")
    assert len(world.services.webhooks.listed(CUSTOMER.address)) == 10


# ------------------------------------------------------------------------------------------ where it may go


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com/#here",
        "https://[::1/",
        "https:///nowhere",
        "https://" + "a" * 300 + ".example/",
    ],
)
def test_a_url_that_leads_inside_is_refused(url: str) -> None:
    if url == "https://127.1/":  # a name, as far as its text says: it is refused when it is called
        with pytest.raises(RefusedAddress):
            asyncio.run(CheckedNetwork(local=False).connect_tcp("127.1", 443))
        return
    with pytest.raises(InvalidInput) as refused:
        require_url(url, local=False)
    assert refused.value.code == "bad-webhook-url"


@pytest.mark.parametrize(
    "url", ["https://example.com/a?b=c", "https://example.com:8443/", "https://1.1.1.1/"]
)
def test_a_url_of_the_public_internet_is_taken(url: str) -> None:
    require_url(url, local=False)


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "https://10.0.0.1/", "http://example.com/"])
def test_a_local_chain_allows_this_machine_and_no_other(url: str) -> None:
    require_url("http://127.0.0.1:8080/", local=True)
    require_url("http://localhost/", local=True)
    with pytest.raises(InvalidInput):
        require_url(url, local=True)


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["169.254.169.254"], ["1.1.1.1", "10.0.0.1"], ["::ffff:127.0.0.1"], []]
)
def test_a_name_that_leads_inside_is_not_called(found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (each, 443)) for each in found]
    )
    with pytest.raises(RefusedAddress):
        asyncio.run(CheckedNetwork(local=False).connect_tcp("rebind.example", 443))


def test_a_name_that_changes_after_it_was_looked_at_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is connected to is the address that was checked, and not the name again."""
    answers = iter([["1.1.1.1", "1.0.0.1"], ["169.254.169.254"]])
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (each, 443)) for each in next(answers)]
    )
    called: list[str] = []

    async def connect(self: Any, host: str, *_: Any) -> Any:
        called.append(host)
        raise httpcore.ConnectError("nobody")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(httpcore.ConnectError):
        asyncio.run(CheckedNetwork(local=False).connect_tcp("rebind.example", 443))
    assert called == ["1.1.1.1", "1.0.0.1"]


def test_a_name_that_leads_inside_now_is_noted_and_tried_later(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, _ = add(world, receiver)
    with world.store.write() as connection:
        connection.execute(update(webhook_endpoints).values(url="https://rebind.example/"))
    call(world, "POST", f"{endpoint}/test")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("192.168.0.1", 443))])
    send(world)
    row = only_delivery(world)
    assert (row["state"], row["error"]) == (
        "pending",
        "its name is not at addresses of the public internet only",
    )
    assert destinations.CALL_SECONDS < 60
