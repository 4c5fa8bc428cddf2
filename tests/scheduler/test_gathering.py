"""Rows that wait at the same time leave as one transaction, and each still ends by itself."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from marketplace.store.tables import attempts, deals
from marketplace.store.transitions import OrderTerms
from prixfixe.chain import transactions as sending
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.money import Money
from scheduler.gathering import Company, gather
from scheduler.relayer import RelayerSettings
from tests.support.market import OFFER, PRICE
from tests.support.scheduling import Service, mining_by_hand

TOGETHER = Company(most_items=3, gather_seconds=1.0)


def rows(*calls: str, at: float = 100.0) -> list[Any]:
    return [{"id": number, "call": call, "created_at": at} for number, call in enumerate(calls)]


def ids(groups: list[list[Any]]) -> list[list[int]]:
    return [[row["id"] for row in group] for group in groups]


def test_rows_of_one_kind_leave_together_in_the_order_of_the_first_of_each() -> None:
    given = rows("match", "settle", "hasten", "match", "clear", "settle", "expire")
    groups, wait = gather(given, 200.0, TOGETHER)
    assert ids(groups) == [[0, 3], [1, 5], [2], [4], [6]]
    assert wait is None


def test_a_young_row_waits_for_company_until_it_is_old_or_the_transaction_is_full() -> None:
    assert gather(rows("match", "match"), 100.25, TOGETHER) == ([], 0.75)
    groups, wait = gather(rows("match", "match", "match", "match"), 100.25, TOGETHER)
    assert (ids(groups), wait) == ([[0, 1, 2]], 0.75)
    groups, wait = gather(rows("match", "match"), 101.0, TOGETHER)
    assert (ids(groups), wait) == ([[0, 1]], None)


def test_by_default_and_for_what_the_contract_takes_only_alone_nothing_waits() -> None:
    assert ids(gather(rows("match"), 100.0, Company())[0]) == [[0]]
    assert ids(gather(rows("hasten", "hasten"), 100.0, TOGETHER)[0]) == [[0], [1]]


@pytest.mark.chain
def test_lots_are_matched_settled_and_expired_in_one_transaction_each(service: Service) -> None:
    """Four of one order: three settle, one is never run and expires with a second order's."""
    worker = service.ready_worker(slots=5)
    job = service.order(tasks=4, lot=1)
    other = service.order(nonce=2)
    service.step()
    matched = service.outbox()
    assert [row["state"] for row in matched] == ["confirmed"] * 5
    assert len({row["hash"] for row in matched}) == 1
    receipt = sending.find_receipt(service.client.rpc, matched[0]["hash"])
    assert receipt is not None
    assert sum(row["gas_used"] for row in matched) == receipt.gas_used
    assert max(row["gas_used"] for row in matched) < 110_000, "alone a match costs more"

    open_attempts = service.rows(attempts, attempts.c.lot)
    for row in [row for row in open_attempts if row["job"] == job][:3]:
        service.report(worker, attempt=row["id"])
    service.step()
    settled = service.outbox()[5:]
    assert [(row["call"], row["state"]) for row in settled] == [("settle", "confirmed")] * 3
    assert len({row["hash"] for row in settled}) == 1
    settled_deals = [row for row in service.rows(deals) if row["state"] == "settled"]
    assert [len(row["signatures"]) for row in settled_deals] == [1, 1, 1]

    service.market.chain.advance(3600)
    service.step()
    service.step()
    expired = service.outbox()[8:10]
    assert [(row["call"], row["state"]) for row in expired] == [("expire", "confirmed")] * 2
    assert len({row["hash"] for row in expired}) == 1
    assert service.lot(job, 3)["state"] in ("free", "ended")
    assert service.lot(other)["state"] in ("free", "ended")
    assert service.free(service.market.customer) == Money.parse("100").units - 3 * PRICE.units


@pytest.mark.chain
@pytest.mark.parametrize("rehearses", [True, False])
def test_a_node_runs_a_company_once_and_each_of_it_alone_only_if_it_cannot_tell(
    service: Service, monkeypatch: pytest.MonkeyPatch, rehearses: bool
) -> None:
    service.ready_worker(slots=5)
    rpc = service.client.rpc
    really, asked = rpc.outcomes, Counter[str]()

    def asking(calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        asked.update(method for method, _ in calls)
        known = "eth_simulateV1" if rehearses else "eth_other"
        return really([(method.replace("eth_simulateV1", known), given) for method, given in calls])

    for nonce in (1, 2):
        service.order(tasks=2, lot=1, nonce=nonce)
        service.matcher.run_once()
        with monkeypatch.context() as patched:
            patched.setattr(rpc, "outcomes", asking)
            service.relay()
    assert [row["state"] for row in service.outbox()] == ["confirmed"] * 4
    assert len({row["hash"] for row in service.outbox()}) == 2
    once = {"eth_simulateV1": 2, "eth_call": 0, "eth_createAccessList": 0}
    each = {"eth_simulateV1": 1, "eth_call": 4, "eth_createAccessList": 2}
    assert {method: asked[method] for method in once} == (once if rehearses else each)


@pytest.mark.chain
def test_what_would_fail_is_left_at_home_and_the_others_go(service: Service) -> None:
    """Two customers; the money of one goes after the matcher saw it."""
    market = service.market
    service.ready_worker(slots=3)
    rich = service.order(nonce=1)
    poor = service.order(
        market.bid(customer=market.stranger.address), OrderTerms("flat", OFFER.product), market.stranger
    )
    market.client.mint(market.admin, market.stranger.address, PRICE)
    market.client.deposit(market.stranger, PRICE)
    service.matcher.run_once()
    assert len(service.outbox()) == 2
    market.client.withdraw(market.stranger, market.stranger.address, PRICE)

    service.relay()
    service.indexer.run_once()

    by_job = {row["arguments"]["job"]: row for row in service.outbox()}
    assert by_job[rich]["state"] == "confirmed"
    assert by_job[poor]["state"] == "failed"
    assert by_job[poor]["error"]["revert"] == "MarketFundsShort"
    assert by_job[poor]["hash"] is None, "it was not sent"
    assert service.lot(poor)["state"] == "free"


@pytest.mark.chain
def test_a_deal_that_somebody_else_settles_meanwhile_is_left_out_and_the_others_are_paid(
    service: Service,
) -> None:
    """Between estimate and block its worker settles one by itself: that is noticed, not fought."""
    market, chain = service.market, service.market.chain
    worker = service.ready_worker(slots=3)
    job = service.order(tasks=3, lot=1)
    service.step()
    for row in service.rows(attempts):
        service.report(worker, attempt=row["id"])
    queued = service.outbox()[3:]
    assert len(queued) == 3
    with mining_by_hand(chain):
        service.relayer.run_once()
        theirs = queued[1]
        deal = service.row(deals, id=theirs["arguments"]["deal"])
        data = market.client.encode_call(
            "settle",
            Deal.from_json(deal["deal"]),
            deal["due"],
            bytes.fromhex(theirs["arguments"]["root"][2:]),
            1,
            [bytes.fromhex(theirs["arguments"]["signatures"][0][2:])],
        )
        prepared = sending.prepare(
            chain.rpc,
            chain_id=market.client.chain_id,
            sender=worker.address,
            to=market.client.contract,
            data=data,
            gas=500_000,
        )
        sooner = replace(prepared, priority_fee=prepared.max_fee * 10, max_fee=prepared.max_fee * 20)
        sending.broadcast(chain.rpc, sooner.sign(worker))
    service.relay()
    service.step()

    states = {row["id"]: row for row in service.outbox()[3:]}
    assert states[queued[0]["id"]]["state"] == "confirmed"
    assert states[queued[2]["id"]]["state"] == "confirmed"
    left = states[queued[1]["id"]]
    assert (left["state"], left["error"]["revert"]) == ("failed", "MarketNotOpen")
    assert service.job(job)["state"] == "settled"
    assert service.job(job)["charged"] == 3 * PRICE.units
    assert len(service.outbox()) == 6, "nothing was sent for it again"


@pytest.mark.chain
def test_a_company_that_the_node_dropped_is_signed_anew_by_another_process_without_what_is_moot(
    service: Service,
) -> None:
    market = service.market
    service.ready_worker(slots=2)
    kept = service.order(nonce=1)
    gone = market.purchase(nonce=2)
    ended = service.order(gone)
    service.matcher.run_once()
    with mining_by_hand(market.chain):
        service.relayer.run_once()
        sent = service.outbox()
        assert len({row["hash"] for row in sent}) == 1
        market.chain.rpc.call("anvil_dropTransaction", sent[0]["hash"])
    market.client.cancel(market.customer, gone, 0)
    again = service.restarted()
    again.indexer.run_once()
    assert again.job(ended)["state"] == "refunded"
    again.relay()
    again.indexer.run_once()

    rows_now = again.outbox()
    assert [row["state"] for row in rows_now] == ["confirmed", "failed"]
    assert rows_now[0]["nonce"] == sent[0]["nonce"]
    assert again.lot(kept)["state"] == "open"
    again.close()


@pytest.mark.chain
def test_a_company_that_stays_unmined_gets_higher_fees_as_one(service: Service) -> None:
    hasty = Service(service.market, service.data, replace(service.relayer_settings, bump_seconds=0.0))
    hasty.ready_worker(slots=3)
    job = hasty.order(tasks=3, lot=1)
    hasty.matcher.run_once()
    with mining_by_hand(service.market.chain):
        hasty.relayer.run_once()
        hasty.relayer.run_once()
        bumped = hasty.outbox()
        assert {len(row["hashes"]) for row in bumped} == {2}
        assert len({row["nonce"] for row in bumped}) == 1
        assert len({row["hash"] for row in bumped}) == 1
    hasty.step()
    assert [row["state"] for row in hasty.outbox()] == ["confirmed"] * 3
    assert [hasty.lot(job, lot)["state"] for lot in range(3)] == ["open"] * 3
    hasty.close()


@pytest.mark.chain
@pytest.mark.parametrize("limit", [{"most_bytes": 4000}, {"most_gas": 400_000}])
def test_more_than_a_transaction_can_hold_goes_out_as_several(
    service: Service, limit: dict[str, int]
) -> None:
    small = Service(
        service.market, service.data, RelayerSettings(poll_seconds=0.02, company=Company(**limit))
    )
    small.ready_worker(slots=6)
    job = small.order(tasks=6, lot=1)
    small.matcher.run_once()
    small.relay()
    small.indexer.run_once()
    sent = small.outbox()
    assert [row["state"] for row in sent] == ["confirmed"] * 6
    assert 1 < len({row["hash"] for row in sent}) < 6
    assert [small.lot(job, lot)["state"] for lot in range(6)] == ["open"] * 6
    small.close()


@pytest.mark.chain
def test_a_company_that_the_chain_took_back_goes_out_again_and_ends_once(service: Service) -> None:
    chain = service.market.chain
    worker = service.ready_worker(slots=3)
    job = service.order(tasks=3, lot=1)
    service.step()
    snapshot = chain.rpc.call("evm_snapshot")
    for row in service.rows(attempts):
        service.report(worker, attempt=row["id"])
    service.step()
    assert service.job(job)["state"] == "settled"
    paid = service.free(service.market.customer)

    chain.rpc.call("evm_revert", snapshot)
    chain.rpc.call("evm_mine")
    for _ in range(3):
        service.step()

    assert service.job(job)["state"] == "settled"
    assert service.free(service.market.customer) == paid
    assert [row["state"] for row in service.rows(deals)] == ["settled"] * 3


@pytest.mark.chain
def test_gas_money_that_runs_low_is_said_before_it_is_empty(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    chain, operator = service.market.chain, service.market.scheduler.address
    service = Service(service.market, service.data, replace(service.relayer_settings, funds_seconds=0.0))
    service.relayer.run_once()
    assert service.relayer.health().warning is None
    chain.rpc.call("anvil_setBalance", operator, hex(10**15))
    with caplog.at_level(logging.WARNING):
        service.relayer.run_once()
        service.relayer.run_once()
    warning = service.relayer.health().warning
    assert warning is not None
    assert operator in warning
    assert caplog.text.count("more transactions") == 1, "the log says it once"
    chain.rpc.call("anvil_setBalance", operator, hex(10**20))
    service.relayer.run_once()
    assert service.relayer.health().warning is None
    service.close()
