"""The auctioneer on a real chain: one price a batch, published, sent once, and recomputed by anyone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from marketplace.store import states, transitions
from marketplace.store.tables import attempts, batches, deals, open_batches
from prixfixe.chain.replay import replay
from prixfixe.keys import development_signer
from prixfixe.market.batch import Batch
from prixfixe.protocol.canonical import canonical_json, sha256_hex
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.money import Money
from prixfixe.protocol.wire import Reason
from tests.support.scheduling import Service, hurry

pytestmark = pytest.mark.chain

CANCELLED = Reason(code="cancelled", message="cancelled by its customer", fault="customer")


def money(text: str) -> Money:
    return Money.parse(text)


def publications(service: Service) -> Iterator[Batch]:
    for row in service.rows(batches, batches.c.position):
        content = service.blobs.find(row["digest"][2:]).read()
        assert "0x" + sha256_hex(content) == row["digest"]
        yield Batch.from_json(json.loads(content))


def pays(service: Service) -> list[int]:
    return [leg.pay for row in service.rows(deals) for leg in Deal.from_json(row["deal"]).legs]


def test_a_batch_is_one_price_for_all_is_published_and_is_honest_to_anyone_who_asks(service: Service) -> None:
    first = service.ready_worker(price=money("0.50"), slots=2)
    second = service.ready_worker(1, price=money("0.70"), name="w2")
    before = service.free(service.market.customer)
    jobs = [service.bid(price=money(price), nonce=at) for at, price in enumerate(("2.00", "1.50", "1.00"))]
    low = service.bid(price=money("0.10"), nonce=9)

    service.close_batch()

    (batch,) = publications(service)
    price = batch.cleared.price
    assert price == money("0.85").units  # of 1.00 and 0.70, the pair at the margin
    assert pays(service) == [price] * 3
    assert [service.lot(job)["state"] for job in jobs] == ["open"] * 3
    assert service.free(service.market.customer) == before - 3 * price
    assert service.lot(low)["waiting_reason"].startswith("the last batch cleared at $0.85")
    row = service.row(batches, number=1)
    assert (row["bids"], row["asks"], row["fills"]) == (4, 2, 3)
    assert row["cleared"]["transaction"] == service.outbox()[0]["hash"]

    found = replay(batch, service.client)
    assert found.faults == ()
    assert (found.opened, found.skipped, found.honest) == (3, (), True)

    workers = {first.address: first, second.address: second}
    for row in service.rows(attempts):
        service.report(workers[row["worker"]], attempt=row["id"])
    service.step()
    assert [service.job(job)["state"] for job in jobs] == ["settled"] * 3
    assert [service.job(job)["charged"] for job in jobs] == [price] * 3
    assert replay(batch, service.client).honest


def test_a_publication_that_was_tampered_with_is_caught(service: Service) -> None:
    service.ready_worker(price=money("0.50"))
    service.bid(price=money("1.00"))
    service.bid(price=money("0.90"), nonce=2)
    service.close_batch()
    (batch,) = publications(service)
    value = json.loads(canonical_json(batch.to_json()))
    value["bids"] = value["bids"][:1]
    value["seed"] = "0x" + "07" * 32
    found = replay(Batch.from_json(value), service.client)
    assert not found.honest
    assert any("never emitted its digest" in fault for fault in found.faults)
    assert any("the seed is" in fault for fault in found.faults)


def test_a_restart_does_not_put_off_the_close_and_a_batch_without_a_bid_is_over(service: Service) -> None:
    service.ready_worker()
    job = service.bid()
    service.indexer.run_once()
    service.auctioneer.run_once()
    (gathers,) = service.rows(open_batches)
    again = service.restarted()
    try:
        again.auctioneer.run_once()
        assert again.rows(open_batches) == [gathers]
        with again.store.write() as connection:
            transitions.lot_ended(connection, job, 0, CANCELLED, states.LOT_CANCELLED)
        again.auctioneer.run_once()
        assert again.rows(open_batches) == []
    finally:
        again.close()


@pytest.mark.parametrize("dies", ["before the tables", "before the transaction"])
def test_a_crash_loses_no_batch_and_makes_none_twice(
    service: Service, dies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.ready_worker(price=money("0.50"))
    job = service.bid()
    service.indexer.run_once()
    service.auctioneer.run_once()
    hurry(service.store)
    if dies == "before the tables":

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("marketplace.store.batches.batch_closed", crash)
            with pytest.raises(KeyboardInterrupt):
                service.auctioneer.run_once()
        assert service.lot(job)["state"] == "free"
    else:
        service.auctioneer.run_once()
        assert service.lot(job)["state"] == "matching"
    again = service.restarted()
    try:
        again.close_batch()
        assert again.lot(job)["state"] == "open"
        (batch,) = publications(again)
        assert replay(batch, again.client).honest
        assert len(again.rows(deals)) == 1
        assert [row["state"] for row in again.outbox()] == ["confirmed"]
    finally:
        again.close()


def test_an_order_that_leaves_while_the_batch_is_computed_is_not_in_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.ready_worker(price=money("0.50"), slots=2)
    wall = service.bid(price=money("1.90"))
    other = service.bid(price=money("0.60"), nonce=2)
    close = Batch.close

    def slow(**given: object) -> Batch:
        monkeypatch.setattr(Batch, "close", close)
        with service.store.write() as connection:
            transitions.lot_ended(connection, wall, 0, CANCELLED, states.LOT_CANCELLED)
        return close(**given)  # type: ignore[arg-type]

    service.indexer.run_once()
    monkeypatch.setattr(Batch, "close", slow)
    service.close_batch()
    service.close_batch()

    (batch,) = publications(service)
    assert [each.bid.price for each in batch.bids] == [money("0.60").units]
    assert batch.cleared.price is not None
    assert batch.cleared.price <= money("0.60").units
    assert service.lot(wall)["state"] == "ended"
    assert service.lot(other)["state"] == "open"
    assert replay(batch, service.client).honest


def test_what_the_contract_leaves_out_is_free_again_with_its_reason(service: Service) -> None:
    service.ready_worker(price=money("0.50"), slots=2)
    rich = service.bid()
    stranger = development_signer(8)
    client = service.client
    client.mint(service.market.admin, stranger.address, money("2"))
    client.deposit(stranger, money("2"))
    poor = service.bid(signer=stranger, nonce=2)
    service.indexer.run_once()
    service.auctioneer.run_once()
    hurry(service.store)
    service.auctioneer.run_once()
    client.withdraw(stranger, stranger.address, money("2"))
    service.relay()
    service.indexer.run_once()

    assert service.lot(rich)["state"] == "open"
    assert service.lot(poor)["state"] == "free"
    assert "MarketFundsShort" in service.lot(poor)["waiting_reason"]
    (batch,) = publications(service)
    found = replay(batch, client)
    assert found.honest
    assert (found.opened, len(found.skipped)) == (1, 1)


def test_a_bid_that_cannot_be_paid_leaves_the_book_and_is_back_when_it_is_funded(service: Service) -> None:
    service.ready_worker(price=money("0.50"), slots=2)
    stranger, client = development_signer(8), service.client
    poor = service.bid(signer=stranger)
    paid = service.bid(nonce=2)
    service.close_batch()
    assert service.lot(paid)["state"] == "open"
    assert service.lot(poor)["waiting_reason"] == "its customer's account cannot pay it"
    (batch,) = publications(service)
    assert [each.reason for each in batch.set_aside] == ["its customer's account cannot pay it"]

    client.mint(service.market.admin, stranger.address, money("5"))
    client.deposit(stranger, money("5"))
    service.close_batch()
    assert service.lot(poor)["state"] == "open"


def test_replicas_run_at_distinct_providers_and_a_small_lot_takes_part_in_order(service: Service) -> None:
    service.ready_worker(price=money("0.30"), slots=2)
    service.ready_worker(1, price=money("0.40"), name="w2", slots=2)
    service.ready_worker(2, price=money("0.50"), name="w3", slots=2)
    job = service.bid(price=money("2.00"), quorum=2, replicas=3, tasks=2)
    service.close_batch()
    opened = [Deal.from_json(row["deal"]) for row in service.rows(deals)]
    assert sorted(deal.lot for deal in opened) == [0, 1]
    assert all(len({leg.provider for leg in deal.legs}) == 3 for deal in opened)
    assert all(deal.price <= money("2.00").units for deal in opened)
    assert service.job(job)["state"] == "running"
    (batch,) = publications(service)
    assert replay(batch, service.client).honest


def test_a_newcomer_has_no_more_under_way_by_the_auction_than_its_cap(service: Service) -> None:
    service.ready_worker(price=money("1.20"), slots=18)
    job = service.bid(price=money("1.20"), tasks=18, lot=1)
    service.close_batch()
    (batch,) = publications(service)
    assert [each.slots for each in batch.asks] == [16], "of twenty dollars"
    assert [service.lot(job, lot)["state"] for lot in range(18)] == ["open"] * 16 + ["free"] * 2
    service.close_batch()
    assert service.lot(job, 16)["waiting_reason"].startswith("1 ask: 1 a newcomer with enough under way")
    assert len(list(publications(service))) == 1
    assert replay(batch, service.client).honest


def both_ways(service: Service) -> tuple[str, str]:
    """A bid and a flat order of which a newcomer's cap lets through one only; the batch is to close."""
    service.ready_worker(price=money("1.20"), slots=40)
    bid = service.bid(price=money("1.20"), tasks=16, lot=1)
    flat = service.order(tasks=10, lot=10, nonce=2)
    service.indexer.run_once()
    service.auctioneer.run_once()  # it gathers
    hurry(service.store)
    return bid, flat


def between(service: Service, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """`act` happens once, after the next look at what is under way with newcomers."""
    look, acts = service.newcomers.under_way, [act]

    def under_way(*given: Any) -> dict[str, int]:
        found = look(*given)
        if acts:
            acts.pop()()
        return found

    monkeypatch.setattr(service.newcomers, "under_way", under_way)


def test_a_newcomer_keeps_its_cap_when_a_batch_closes_while_the_matcher_looks(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid, flat = both_ways(service)
    between(service, monkeypatch, service.auctioneer.run_once)
    service.matcher.run_once()
    assert [service.lot(bid, lot)["state"] for lot in range(16)] == ["matching"] * 16
    assert service.lot(flat)["state"] == "free"
    service.matcher.run_once()
    assert service.lot(flat)["waiting_reason"] == "1 ask: 1 a newcomer with enough under way"


def test_a_newcomer_keeps_its_cap_when_the_matcher_is_done_while_a_batch_closes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid, flat = both_ways(service)
    between(service, monkeypatch, service.matcher.run_once)
    service.auctioneer.run_once()
    assert service.lot(flat)["state"] == "matching"
    service.auctioneer.run_once()
    states_ = [service.lot(bid, lot)["state"] for lot in range(16)]
    assert states_ == ["matching"] * 6 + ["free"] * 10, "twelve dollars of twenty were under way"


def test_what_a_batch_gave_a_newcomer_counts_before_the_chain_has_opened_it(service: Service) -> None:
    service.ready_worker(price=money("1.20"), slots=18)
    job = service.bid(price=money("1.20"), tasks=18, lot=1)
    service.indexer.run_once()
    for _ in range(2):  # its `clear` waits in the outbox
        service.auctioneer.run_once()
        hurry(service.store)
        service.auctioneer.run_once()
    assert [service.lot(job, lot)["state"] for lot in range(18)] == ["matching"] * 16 + ["free"] * 2
    assert service.lot(job, 16)["waiting_reason"].startswith("1 ask: 1 a newcomer with enough under way")
    assert len(list(publications(service))) == 1
