"""What the service reads of a real contract on a real chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from marketplace.chain import MarketReader
from prixfixe.chain.rpc import Rpc
from prixfixe.errors import ChainError, Unavailable
from prixfixe.protocol.money import Money
from tests.support.market import OFFER, LocalMarket

pytestmark = pytest.mark.chain


def test_one_look_answers_all_that_a_decision_needs(market: LocalMarket) -> None:
    reader = MarketReader(market.chain.rpc, market.deployment.market)
    customer, provider = market.customer.address, market.provider.address
    pair, stranger = (provider, market.worker.address), (provider, market.stranger.address)
    view = reader.look(
        accounts=(customer, market.stranger.address), offers=(OFFER.id, b"\1" * 32), workers=(pair, stranger)
    )
    assert view.accounts[customer].free == Money.parse("100").units
    assert (view.accounts[customer].held, view.accounts[customer].era) == (0, 0)
    assert view.accounts[market.stranger.address].free == 0
    assert view.offers[OFFER.id] > view.time
    assert view.offers[b"\1" * 32] == 0
    assert view.workers[pair] > view.time
    assert view.workers[stranger] == 0
    assert view.block > 0
    assert reader.look().block == view.block


def test_the_pricing_role_is_the_contracts(market: LocalMarket) -> None:
    reader = MarketReader(market.chain.rpc, market.deployment.market)
    assert reader.may_price(market.pricing.address) is True
    assert reader.may_price(market.customer.address) is False


def test_time_is_the_one_of_the_block_to_come(market: LocalMarket) -> None:
    reader = MarketReader(market.chain.rpc, market.deployment.market)
    before = reader.look().time
    market.chain.rpc.call("evm_increaseTime", 3600)
    # No block was made since: an order is nevertheless decided on the time that its match will see.
    assert reader.look().time >= before + 3600


def test_a_node_that_answers_of_two_blocks_at_once_is_asked_again(
    market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """anvil does while it takes in a block: accounts of the new one, in the time of the one before."""
    batch, left = Rpc.batch, [ChainError("panic: arithmetic underflow or overflow (0x11)")]

    def torn(rpc: Rpc, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if left:
            raise left.pop()
        return batch(rpc, calls)

    monkeypatch.setattr(Rpc, "batch", torn)
    reader = MarketReader(market.chain.rpc, market.deployment.market)
    assert reader.look(accounts=(market.customer.address,)).block > 0
    assert left == []
    left += [ChainError("there is no such contract")] * 9
    with pytest.raises(ChainError):
        reader.look()


def test_a_node_that_has_no_contract_for_a_moment_is_asked_again(
    market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that goes back to an earlier block empties its state first, and fills it after."""
    batch, left = Rpc.batch, 1

    def emptied(rpc: Rpc, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        nonlocal left
        if left == 0:
            return batch(rpc, calls)
        left -= 1
        return ["0x" if each[0] == "eth_call" else batch(rpc, [each])[0] for each in calls]

    monkeypatch.setattr(Rpc, "batch", emptied)
    reader, customer = MarketReader(market.chain.rpc, market.deployment.market), market.customer.address
    assert reader.look(accounts=(customer,)).accounts[customer].free == Money.parse("100").units
    left = 1
    assert reader.may_price(market.pricing.address) is True
    left = 9
    with pytest.raises(Unavailable, match="answers nothing to account") as empty:
        reader.look(accounts=(customer,))
    assert (empty.value.code, empty.value.retryable) == ("empty-answer", True)


def test_a_node_that_is_away_is_unavailable() -> None:
    with Rpc("http://127.0.0.1:1") as rpc, pytest.raises(Unavailable):
        MarketReader(rpc, "0x5FbDB2315678afecb367f032d93F642f64180aa3").look()
