"""The chain in memory answers as anvil with the deployed contract does, and does what only it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from prixfixe.chain.client import PurchaseMatch, Settlement
from prixfixe.chain.events import DealOpened, MarketEvent, Settled
from prixfixe.chain.transactions import prepare
from prixfixe.errors import ChainError, Unavailable
from prixfixe.keys import sign_typed
from prixfixe.protocol.deals import Fact, refusal_root
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Cancel, Result, Withdraw
from prixfixe.testing.chain import MemoryChain
from tests.support.market import OFFER, LocalMarket, memory_market

ROOT = b"\x01" * 32


def story(market: LocalMarket) -> list[Any]:
    """Lots are matched, settled, refused, hastened, returned and closed, alone and in batches; money moves,
    and calls are refused. What one sees of it, but for what depends on the chain's own time and hashes."""
    client = market.client
    seen: list[Any] = []

    def did(outcome: Any) -> None:
        seen.extend(_told(event) for event in outcome.events)

    def refused(call: Callable[[], Any]) -> None:
        with pytest.raises(ChainError) as error:
            call()
        seen.append(error.value.revert)

    order = market.purchase(tasks=6, lot=1)
    signature, ask = market.sign(order), market.ask(slots=2)
    opened = client.match_purchase(market.scheduler, order, signature, OFFER, 0, [ask])
    did(opened)
    deal = opened.one(DealOpened)
    refused(lambda: client.match_purchase(market.scheduler, order, signature, OFFER, 0, [ask]))
    refused(lambda: client.match_purchase(market.stranger, order, signature, OFFER, 1, [ask]))
    refused(lambda: client.match_purchase(market.scheduler, order, bytes(64) + b"\x1b", OFFER, 1, [ask]))
    refused(lambda: client.expire(market.stranger, deal.data, deal.due))
    word = sign_typed(market.worker, Result(deal.deal, ROOT, 1), client.domain)
    did(client.settle(market.stranger, deal.data, deal.due, ROOT, 1, [word]))
    refused(lambda: client.settle(market.stranger, deal.data, deal.due, ROOT, 1, [word]))

    many = [PurchaseMatch(order, signature, OFFER, lot, (ask,)) for lot in (0, 1, 2, 3)]
    batch = client.match_many(market.scheduler, many)
    did(batch)
    second, third, fourth = (event for event in batch.events if isinstance(event, DealOpened))
    no = refusal_root(second.due)
    signed = (sign_typed(market.worker, Result(second.deal, no, 0), client.domain),)
    paid = (sign_typed(market.worker, Result(third.deal, ROOT, 1), client.domain),)
    did(
        client.settle_many(
            market.scheduler,
            [
                Settlement(second.data, second.due, no, 0, signed),
                Settlement(third.data, third.due, ROOT, 1, signed),
                Settlement(third.data, third.due, ROOT, 1, paid),
            ],
        )
    )
    did(client.hasten(market.scheduler, fourth.data, fourth.due))
    cancel = sign_typed(market.customer, Cancel(deal.order, 5), client.domain)
    did(client.cancel_by_signature(market.stranger, order, 5, cancel))
    refused(lambda: client.cancel(market.stranger, order, 4))
    did(client.cancel(market.customer, order, 4))
    bid = market.bid()
    did(client.match_bid(market.scheduler, bid, market.sign(bid), 0, [ask]))
    did(client.withdraw(market.provider, market.provider.address, Money(1_000_000)))
    out = Withdraw(market.customer.address, market.customer.address, 5, 1, 7, market.chain.time + 600)
    spent = sign_typed(market.customer, out, client.domain)
    did(client.withdraw_by_signature(market.stranger, out, spent))
    refused(lambda: client.withdraw_by_signature(market.stranger, out, spent))
    seen += [client.lot(deal.order, lot) != bytes(32) for lot in range(6)]
    for owner in (market.customer, market.provider):
        seen += [client.account(owner.address), client.token_balance(owner.address)]
    seen += [client.config().held, client.token_balance(client.contract), client.policy()]
    seen += [
        client.bundle(OFFER.id).float_,
        client.worker_until(market.provider.address, market.scheduler.address),
    ]
    return seen


def _told(event: MarketEvent) -> tuple[str, dict[str, Any]]:
    """An event without what depends on when and where it happened."""
    own = {"at", "due", "fact", "deal", "order", "data", "digest"}
    told = {field.name: getattr(event, field.name) for field in fields(event) if field.name not in own}
    if isinstance(event, Settled):
        fact = Fact.unpack(event.fact)
        told |= {"done": fact.done, "signed": fact.signed}
    return type(event).__name__, told


@pytest.mark.chain
def test_it_tells_the_same_story_as_the_deployed_contract(market: LocalMarket) -> None:
    in_memory = story(memory_market(market.chain.time))
    assert in_memory == story(market)
    assert {each[0] for each in in_memory if isinstance(each, tuple)} == {
        *("DealOpened", "Settled", "Refused", "Hastened", "Skipped", "Cancelled", "Withdrawn", "Spent")
    }


@pytest.fixture
def memory() -> tuple[LocalMarket, MemoryChain]:
    market = memory_market(1_900_000_000)
    assert isinstance(market.chain, MemoryChain)
    return market, market.chain


def test_a_reorganisation_takes_back_what_the_blocks_held(memory: tuple[LocalMarket, MemoryChain]) -> None:
    market, chain = memory
    before, head = market.client.account(market.customer.address), market.client.block()
    order = market.purchase()
    opened = market.client.match_purchase(
        market.scheduler, order, market.sign(order), OFFER, 0, [market.ask()]
    ).one(DealOpened)
    assert market.client.account(market.customer.address).free == before.free - Money(OFFER.price)
    chain.reorganise(1)
    assert market.client.account(market.customer.address) == before
    assert market.client.events(head.number + 1) == []
    assert market.client.block().number == opened.at.block_number
    assert market.client.block().hash != opened.at.block_hash


def test_what_waits_is_mined_when_the_test_says_so_or_is_lost(
    memory: tuple[LocalMarket, MemoryChain],
) -> None:
    market, chain = memory
    chain.dials.automine = False
    raw = _signed_transfer(market)
    name = chain.call("eth_sendRawTransaction", raw)
    with pytest.raises(ChainError, match="already known"):
        chain.call("eth_sendRawTransaction", raw)
    assert chain.call("eth_getTransactionReceipt", name) is None
    assert chain.lose_waiting() == 1
    assert chain.call("eth_getTransactionByHash", name) is None
    chain.call("eth_sendRawTransaction", raw)
    chain.mine()
    assert int(chain.call("eth_getTransactionReceipt", name)["status"], 16) == 1
    with pytest.raises(ChainError, match="known"):
        chain.call("eth_sendRawTransaction", raw)


def test_a_chain_that_is_away_answers_nobody(memory: tuple[LocalMarket, MemoryChain]) -> None:
    market, chain = memory
    with chain.away(), pytest.raises(Unavailable):
        market.client.block()
    assert market.client.block().time == chain.time
    assert chain.advance(60) == 1_900_000_060
    assert market.client.time() == 1_900_000_060


def _signed_transfer(market: LocalMarket) -> str:
    unsigned = prepare(
        market.chain.rpc,
        chain_id=31337,
        sender=market.stranger.address,
        to=market.customer.address,
        data=b"",
        gas=21_000,
    )
    return "0x" + unsigned.sign(market.stranger).raw.hex()
