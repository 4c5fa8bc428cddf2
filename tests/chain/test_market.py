"""The typed client on a real chain: money in and out, a purchase matched, settled, refused, expired."""

from __future__ import annotations

import pytest

from prixfixe.chain import events
from prixfixe.chain.client import ADMIN_ROLE, PRICING_ROLE, Account, MarketClient
from prixfixe.errors import ChainError, InvalidInput, NotFound, Unavailable
from prixfixe.keys import sign_typed
from prixfixe.protocol.deals import LOT_CANCELLED, LOT_FREE, Due, Fact, open_word, refusal_root, settled_word
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import OutputManifest, TaskStatus, leaf, merkle_root
from tests.support.market import OFFER, PAY, PRICE, LocalMarket

pytestmark = pytest.mark.chain


def opened(market: LocalMarket, **order: int) -> tuple[events.DealOpened, bytes]:
    """A deal of the customer's purchase, and the purchase's digest."""
    purchase = market.purchase(**order)
    outcome = market.client.match_purchase(
        market.scheduler, purchase, market.sign(purchase), OFFER, 0, [market.ask()]
    )
    (event,) = outcome.events
    assert isinstance(event, events.DealOpened)
    return event, purchase.digest(market.client.domain)


def result_of(market: LocalMarket, deal: bytes, root: bytes, done: int) -> bytes:
    return sign_typed(market.worker, Result(deal, root, done), market.client.domain)


ROOT = merkle_root([leaf(0, TaskStatus.SUCCEEDED, OutputManifest().digest)])


def test_an_account_shows_its_free_money_and_era(market: LocalMarket) -> None:
    account = market.client.account(market.customer.address)
    assert account == Account(Money.parse("100"), Money(0), Money(0), 0)


def test_the_contract_hashes_orders_and_offers_as_we_do(market: LocalMarket) -> None:
    event, order = opened(market)
    assert event.order == order
    assert event.deal == event.data.id
    assert event.data.bundle == OFFER.id
    assert market.client.bundle(OFFER.id).until > 0
    assert market.client.lot(order, 0) == open_word(event.deal, event.due)


def test_a_match_takes_the_whole_price_and_names_customer_provider_and_key(market: LocalMarket) -> None:
    event, _ = opened(market)
    assert event.customer == market.customer.address
    (leg,) = event.data.legs
    assert (leg.provider, leg.key) == (market.provider.address, market.worker.address)
    assert Money(leg.pay) == PAY
    assert event.data.total == PRICE
    assert market.client.account(market.customer.address).free == Money.parse("98")
    assert Due.unpack(event.due) == Due(market.chain.time + 600 + 4)


def test_a_signed_result_is_paid_once(market: LocalMarket) -> None:
    event, order = opened(market)
    signature = result_of(market, event.deal, ROOT, 1)
    (settled,) = market.client.settle(market.stranger, event.data, event.due, ROOT, 1, [signature]).events
    assert isinstance(settled, events.Settled)
    assert (settled.paid, settled.returned) == (PAY, Money(0))
    assert Fact.unpack(settled.fact) == Fact(done=1, signed=1, time=market.chain.time)
    assert market.client.lot(order, 0) == settled_word(event.deal, ROOT, settled.fact)
    assert market.client.account(market.provider.address).free == Money.parse("21.20")
    with pytest.raises(ChainError) as again:
        market.client.settle(market.stranger, event.data, event.due, ROOT, 1, [signature])
    assert again.value.revert == "MarketNotOpen"


def test_a_refusal_gives_the_whole_price_back(market: LocalMarket) -> None:
    event, order = opened(market)
    root = refusal_root(event.due)
    signature = result_of(market, event.deal, root, 0)
    (refused,) = market.client.settle(market.stranger, event.data, event.due, root, 0, [signature]).events
    assert isinstance(refused, events.Refused)
    assert refused.returned == PRICE
    assert market.client.lot(order, 0) == LOT_FREE
    assert market.client.account(market.customer.address).free == Money.parse("100")


def test_a_stranger_sends_the_refund_after_the_deadline_and_not_before(market: LocalMarket) -> None:
    event, order = opened(market)
    with pytest.raises(ChainError) as early:
        market.client.expire(market.stranger, event.data, event.due)
    assert early.value.revert == "MarketTooEarly"
    assert early.value.arguments == {"deadline": event.due}
    market.chain.move_to(event.due + 1)
    (expired,) = market.client.expire(market.stranger, event.data, event.due).events
    assert isinstance(expired, events.Expired)
    assert expired.returned == PRICE
    assert market.client.lot(order, 0) == LOT_FREE


def test_a_hastened_deal_ends_a_grace_from_now(market: LocalMarket) -> None:
    event, order = opened(market)
    (hastened,) = market.client.hasten(market.scheduler, event.data, event.due).events
    assert isinstance(hastened, events.Hastened)
    assert Due.unpack(hastened.due) == Due(market.chain.time + 4, hastened=True)
    assert market.client.lot(order, 0) == open_word(event.deal, hastened.due)


def test_a_cancelled_lot_cannot_be_matched(market: LocalMarket) -> None:
    purchase = market.purchase()
    (cancelled,) = market.client.cancel(market.customer, purchase, 0).events
    assert isinstance(cancelled, events.Cancelled)
    assert market.client.lot(cancelled.order, 0) == LOT_CANCELLED
    with pytest.raises(ChainError) as refused:
        market.client.match_purchase(
            market.scheduler, purchase, market.sign(purchase), OFFER, 0, [market.ask()]
        )
    assert refused.value.revert == "MarketLotTaken"


def test_what_the_contract_refuses_is_said_in_money_with_whose_fault_and_what_to_do(
    market: LocalMarket,
) -> None:
    with pytest.raises(ChainError) as short:
        market.client.withdraw(market.customer, market.customer.address, Money.parse("100.5"))
    error = short.value
    assert error.revert == "MarketFundsShort"
    assert error.arguments == {
        "account": market.customer.address,
        "free": 100_000_000,
        "needed": 100_500_000,
    }
    assert error.message == (
        f"withdraw: MarketFundsShort: {market.customer.address} has $100.00 free and $100.50 is needed"
    )
    assert (error.fault, error.hint, error.retryable) == (
        "customer",
        "deposit the difference, or take less",
        False,
    )


def test_a_signature_by_another_key_is_refused_with_the_signer_that_was_expected(market: LocalMarket) -> None:
    purchase = market.purchase()
    with pytest.raises(ChainError) as refused:
        market.client.simulate(
            market.scheduler.address,
            "matchPurchase",
            purchase,
            market.sign(purchase, market.stranger),
            OFFER,
            0,
            [market.ask()],
        )
    assert refused.value.revert == "MarketSignature"
    assert refused.value.arguments["expected"] == market.customer.address
    assert refused.value.arguments["digest"] == "0x" + purchase.digest(market.client.domain).hex()


def test_money_goes_out_to_a_wallet(market: LocalMarket) -> None:
    (out,) = market.client.withdraw(market.customer, market.stranger.address, Money.parse("40")).events
    assert isinstance(out, events.Withdrawn)
    assert (out.account, out.to, out.amount) == (
        market.customer.address,
        market.stranger.address,
        Money.parse("40"),
    )
    assert market.client.token_balance(market.stranger.address) == Money.parse("40")


def test_a_bump_ends_the_era(market: LocalMarket) -> None:
    market.client.bump(market.customer, 0)
    assert market.client.account(market.customer.address).era == 1
    purchase = market.purchase(era=0)
    with pytest.raises(ChainError) as old:
        market.client.match_purchase(
            market.scheduler, purchase, market.sign(purchase), OFFER, 0, [market.ask()]
        )
    assert old.value.revert == "MarketEra"


def test_a_worker_key_is_known_until_its_time_and_revoked_at_once(market: LocalMarket) -> None:
    client = market.client
    assert client.worker_until(market.provider.address, market.worker.address) > market.chain.time
    client.authorise(market.provider, market.worker.address, 0)
    assert client.worker_until(market.provider.address, market.worker.address) == 0


def test_roles_policy_and_config_read_as_deployed(market: LocalMarket) -> None:
    client, deployment = market.client, market.deployment
    assert client.policy() == deployment.policy
    assert client.has_role(ADMIN_ROLE, market.admin.address)
    assert client.has_role(PRICING_ROLE, market.pricing.address)
    assert not client.has_role(PRICING_ROLE, market.customer.address)
    config = client.config()
    assert config.scheduler == market.scheduler.address
    assert config.held == Money.parse("120")
    assert not config.paused


def test_events_are_found_by_class_by_id_and_by_transaction_in_the_chains_order(market: LocalMarket) -> None:
    client, start = market.client, market.deployment.block
    event, _ = opened(market)
    signature = result_of(market, event.deal, ROOT, 1)
    outcome = client.settle(market.worker, event.data, event.due, ROOT, 1, [signature])
    assert client.transaction_events(outcome.transaction_hash) == list(outcome.events)
    assert [type(found) for found in client.events(start, id=event.deal)] == [
        events.DealOpened,
        events.Settled,
    ]
    assert client.events(start, of=[events.DealOpened]) == [event]
    found = client.events(start)
    positions = [(one.at.block_number, one.at.log_index) for one in found]
    assert positions == sorted(positions)
    assert {type(one) for one in found} >= {events.Deposited, events.Published, events.Authorised}
    block = client.block(event.at.block_number)
    assert (block.hash, block.time) == (event.at.block_hash, event.at.block_time)
    assert client.block(block.hash) == block


def test_reads_at_a_past_block_see_the_past(market: LocalMarket) -> None:
    before = market.client.block()
    market.client.withdraw(market.customer, market.customer.address, Money.parse("1"))
    assert market.client.account(market.customer.address, block=before.number).free == Money.parse("100")
    assert market.client.account(market.customer.address, block=before.hash).free == Money.parse("100")
    assert market.client.account(market.customer.address).free == Money.parse("99")


def test_an_unknown_block_or_transaction_is_not_found(market: LocalMarket) -> None:
    with pytest.raises(NotFound):
        market.client.block(10**9)
    with pytest.raises(NotFound):
        market.client.transaction_events("0x" + "ab" * 32)


def test_a_node_that_has_no_contract_there_is_asked_again_later(market: LocalMarket) -> None:
    """So has one that is behind, or that is just putting other blocks in the place of its last."""
    nowhere = MarketClient(market.chain.rpc, market.stranger.address)
    assert not nowhere.is_deployed()
    for read in (nowhere.config, lambda: nowhere.account(market.customer.address)):
        with pytest.raises(Unavailable, match="answers nothing to") as empty:
            read()
        assert (empty.value.code, empty.value.retryable) == ("empty-answer", True)


def test_what_a_token_need_not_have_is_missing_when_it_says_nothing_and_not_when_its_node_knows_it_not(
    market: LocalMarket,
) -> None:
    client = MarketClient(market.chain.rpc, market.client.contract)
    client.token = market.stranger.address  # where there is no code
    optional = (
        client.takes_authorisations,
        client.token_domain,
        lambda: client.permit_nonce(market.customer.address),
    )
    for ask in optional:
        with pytest.raises(Unavailable, match="answers nothing to"):
            ask()
    market.chain.rpc.call("anvil_setCode", client.token, "0x00")  # which takes any call
    assert [ask() for ask in optional] == [False, None, None]
    with pytest.raises(Unavailable):
        client.token_balance(market.customer.address)


def test_arguments_that_do_not_fit_are_refused_before_they_are_sent(market: LocalMarket) -> None:
    with pytest.raises(InvalidInput, match=r"withdraw.amount is -1"):
        market.client.encode_call("withdraw", market.customer.address, -1)
    with pytest.raises(InvalidInput, match="takes 2 arguments"):
        market.client.encode_call("withdraw", market.customer.address)


def test_the_contract_is_at_hand_for_web3(market: LocalMarket) -> None:
    contract = market.client.web3_contract()
    free, _, _, era = contract.functions.account(market.customer.address).call()
    assert (free, era) == (100_000_000, 0)
