"""The money of an order, read from a real chain and given back without the service."""

from __future__ import annotations

import pytest

from prixfixe.chain.events import DealOpened
from prixfixe.client import Client, Context
from prixfixe.client.onchain_reader import NodeEvidence
from prixfixe.client.refund import expire_late, lot_states
from prixfixe.errors import ChainError, ConfigurationError
from prixfixe.keys import sign_typed
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Purchase, Result
from tests.support.market import OFFER, PRICE, LocalMarket

pytestmark = pytest.mark.chain

ROOT = b"\x0c" * 32


def opened(market: LocalMarket, purchase: Purchase, lot: int = 0) -> DealOpened:
    """The scheduler matches a lot."""
    outcome = market.client.match_purchase(
        market.scheduler, purchase, market.sign(purchase), OFFER, lot, [market.ask()]
    )
    (event,) = (event for event in outcome.events if isinstance(event, DealOpened))
    return event


def evidence(market: LocalMarket) -> NodeEvidence:
    return NodeEvidence(market.client.rpc, market.deployment.market, from_block=market.deployment.block)


def test_an_order_that_nobody_took_holds_nothing(market: LocalMarket) -> None:
    purchase = market.purchase(tasks=2, lot=1)
    order = purchase.digest(market.client.domain)
    assert lot_states(evidence(market), order) == ()
    states = lot_states(evidence(market), order, purchase.lots)
    assert [state.state for state in states] == ["free", "free"]


def test_each_lot_is_told_as_the_contract_has_it(market: LocalMarket) -> None:
    purchase = market.purchase(tasks=3, lot=1)
    order = purchase.digest(market.client.domain)
    first, _ = opened(market, purchase, 0), opened(market, purchase, 1)
    market.client.cancel(market.customer, purchase, 2)
    result = Result(first.deal, ROOT, 1)
    signature = sign_typed(market.worker, result, market.client.domain)
    market.client.settle(market.worker, first.data, first.due, ROOT, 1, [signature])
    settled, running, cancelled = lot_states(evidence(market), order, purchase.lots)
    assert (settled.state, settled.charged) == ("settled", PRICE)
    assert (running.state, running.held, running.charged) == ("open", PRICE, Money(0))
    assert cancelled.state == "cancelled"
    assert not running.can_expire(market.chain.time)


def test_a_late_deal_gives_its_whole_price_back_to_who_asks(market: LocalMarket) -> None:
    purchase = market.purchase()
    order = purchase.digest(market.client.domain)
    before = market.client.account(market.customer.address).free
    opened(market, purchase)
    (early,) = lot_states(evidence(market), order)
    assert early.deal is not None
    assert early.due is not None
    with pytest.raises(ChainError, match="has not passed"):
        market.client.expire(market.customer, early.deal, early.due)
    assert early.deadline is not None
    market.chain.advance(early.deadline - market.chain.time + 1)
    (late,) = lot_states(evidence(market), order)
    assert late.can_expire(evidence(market).now())
    market.client.expire(market.customer, early.deal, early.due)
    assert market.client.account(market.customer.address).free == before
    assert [state.state for state in lot_states(evidence(market), order, 1)] == ["free"]


def test_a_deal_that_was_hastened_is_found_by_its_new_deadline(market: LocalMarket) -> None:
    purchase = market.purchase()
    deal = opened(market, purchase)
    market.client.hasten(market.scheduler, deal.data, deal.due)
    (state,) = lot_states(evidence(market), purchase.digest(market.client.domain))
    assert state.due is not None
    assert state.due != deal.due
    market.chain.advance(60)
    assert state.can_expire(market.chain.time)
    market.client.expire(market.stranger, deal.data, state.due)


def test_events_of_a_transaction_are_only_the_markets_own(market: LocalMarket) -> None:
    chain = evidence(market)
    deal = opened(market, market.purchase())
    (event,) = chain.events_in(deal.at.transaction_hash)
    assert (event.kind, event.deal, event.due) == ("opened", deal.data, deal.due)
    assert event.time == market.client.block(event.block).time
    assert chain.events_in("0x" + "00" * 32) == ()
    assert chain.operator() == market.scheduler.address
    assert chain.offer_until(OFFER.id) > chain.now()


def test_a_client_gets_late_money_back_without_its_service(market: LocalMarket) -> None:
    context = Context(
        "chain",
        "http://127.0.0.1:1",  # nobody listens there
        market.client.chain_id,
        market.deployment.market,
        rpc=market.client.rpc.url,
        key="dev:3",
    )
    purchase = market.purchase()
    job = "0x" + purchase.digest(market.client.domain).hex()
    before = market.client.account(market.customer.address).free
    opened(market, purchase)
    with Client(context) as client:
        assert client.refund(job) == ()
        market.chain.advance(3600)
        (returned,) = client.refund(job)
        assert (returned.lot, returned.amount) == (0, PRICE)
        assert client.refund(job) == ()
    assert market.client.account(market.customer.address).free == before


def test_a_client_without_a_node_says_what_it_lacks(market: LocalMarket) -> None:
    context = Context("nodeless", "http://h", market.client.chain_id, market.deployment.market, key="dev:3")
    with Client(context) as client, pytest.raises(ConfigurationError, match="names no chain node"):
        client.refund("0x" + "00" * 32)


def test_somebody_else_may_be_faster(market: LocalMarket) -> None:
    purchase = market.purchase()
    deal = opened(market, purchase)
    market.chain.advance(3600)
    chain = evidence(market)
    states = lot_states(chain, purchase.digest(market.client.domain))
    market.client.expire(market.stranger, deal.data, deal.due)
    assert expire_late(market.client, market.customer, states, chain.now()) == ()
