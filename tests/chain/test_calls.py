"""Calls that people and duties make less often: signed deposits and withdrawals, bids, batches, cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from prixfixe.chain import artefacts, events
from prixfixe.chain.client import PRICING_ROLE, BidMatch, PurchaseMatch, Settlement
from prixfixe.errors import ChainError
from prixfixe.keys import sign_typed
from prixfixe.protocol.deals import LOT_CANCELLED, Fact, lot_key, open_word, settled_word
from prixfixe.protocol.disputes import LOT_GUILTY, Case, Claim, Ground, bond_after
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import KIND_BIDS, Bid, Bump, Cancel, Result, SignedAsk, Withdraw
from prixfixe.protocol.outputs import OutputManifest, TaskStatus, leaf, merkle_root
from tests.support.market import OFFER, PAY, LocalMarket

pytestmark = pytest.mark.chain

DIGEST = OutputManifest().digest
ROOT = merkle_root([leaf(0, TaskStatus.SUCCEEDED, DIGEST)])
CLAIM = Claim(Ground.WRONG, 0, TaskStatus.SUCCEEDED, DIGEST)
ONE = Money.parse("1.00")


def test_every_function_of_the_contract_has_a_method(market: LocalMarket) -> None:
    views = {"view", "pure"}
    changing = {
        entry["name"]
        for entry in artefacts.load("Market").abi
        if entry["type"] == "function" and entry["stateMutability"] not in views
    }
    folder = Path(artefacts.__file__).parent
    calls = "".join(path.read_text() for path in folder.glob("*_calls.py"))
    assert [name for name in sorted(changing) if f'"{name}"' not in calls] == []


# ------------------------------------------------------------------------------------------------ money in


def test_a_deposit_is_one_transaction_when_the_token_takes_a_permit(market: LocalMarket) -> None:
    client, stranger = market.client, market.stranger
    client.mint(market.admin, stranger.address, ONE)
    before = int(client.rpc.call("eth_getTransactionCount", stranger.address, "latest"), 16)
    client.deposit(stranger, ONE)
    after = int(client.rpc.call("eth_getTransactionCount", stranger.address, "latest"), 16)
    assert after - before == 1
    assert client.account(stranger.address).free == ONE


def test_a_token_without_permits_is_approved_first(
    market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, stranger = market.client, market.stranger
    monkeypatch.setattr(type(client), "token_domain", lambda self: None)
    client.mint(market.admin, stranger.address, ONE)
    client.deposit(stranger, ONE)
    assert client.account(stranger.address).free == ONE


def test_a_deposit_for_another_takes_the_senders_money(market: LocalMarket) -> None:
    client, stranger = market.client, market.stranger
    client.mint(market.admin, stranger.address, ONE)
    client.deposit_for(stranger, market.provider.address, ONE)
    assert client.account(market.provider.address).free == Money.parse("21")
    assert client.token_balance(stranger.address) == Money(0)


def test_an_authorised_deposit_is_sent_by_a_stranger_and_credits_whom_it_names(market: LocalMarket) -> None:
    client, payer = market.client, market.admin
    client.mint(market.admin, payer.address, ONE)
    word, signature, salt = client.authorise_deposit(payer, market.customer.address, ONE)
    with pytest.raises(ChainError) as redirected:
        client.deposit_with_authorization(market.stranger, market.stranger.address, word, signature, salt)
    assert redirected.value.revert == "ERC3009InvalidSignature"
    client.deposit_with_authorization(market.stranger, market.customer.address, word, signature, salt)
    assert client.account(market.customer.address).free == Money.parse("101")
    with pytest.raises(ChainError) as again:
        client.deposit_with_authorization(market.stranger, market.customer.address, word, signature, salt)
    assert again.value.revert == "ERC3009UsedAuthorization"


# ----------------------------------------------------------------------------------------- signed for others


def test_a_signed_withdrawal_pays_its_sender_and_works_once(market: LocalMarket) -> None:
    client, fee = market.client, Money.parse("0.10")
    order = Withdraw(
        market.customer.address, market.admin.address, ONE.units, fee.units, 1, market.chain.time + 100
    )
    signature = sign_typed(market.customer, order, client.domain)
    before = client.token_balance(market.admin.address)
    client.withdraw_by_signature(market.stranger, order, signature)
    assert client.token_balance(market.admin.address) == before + ONE
    assert client.token_balance(market.stranger.address) == fee
    assert client.account(market.customer.address).free == Money.parse("98.90")
    with pytest.raises(ChainError, match="used before") as again:
        client.withdraw_by_signature(market.stranger, order, signature)
    assert again.value.revert == "MarketSpent"


def test_a_lot_is_closed_and_an_era_ended_by_their_owners_signature(market: LocalMarket) -> None:
    client, purchase = market.client, market.purchase()
    digest = purchase.digest(client.domain)
    cancel = sign_typed(market.customer, Cancel(digest, 0), client.domain)
    client.cancel_by_signature(market.stranger, purchase, 0, cancel)
    assert client.lot(digest, 0) == LOT_CANCELLED
    bump = Bump(market.customer.address, 0)
    client.bump_by_signature(market.stranger, bump, sign_typed(market.customer, bump, client.domain))
    assert client.account(market.customer.address).era == 1


# ---------------------------------------------------------------------------------------- bids and batches


def a_bid(market: LocalMarket, *, nonce: int = 1) -> BidMatch:
    now = market.chain.time
    bid = Bid(
        customer=market.customer.address,
        product=OFFER.product,
        price=Money.parse("2").units,
        tasks=1,
        lot=1,
        quorum=1,
        job=b"\x0b" * 32,
        matcher=market.deployment.market,
        expiry=now + 300,
        deliver_by=now + 3600,
        era=0,
        nonce=nonce,
    )
    signed = market.ask()
    ask = type(signed.ask)(
        **{**{name: getattr(signed.ask, name) for name in signed.ask.__slots__}, "kinds": KIND_BIDS}
    )
    asks = (SignedAsk(ask, sign_typed(market.worker, ask, market.client.domain)),)
    return BidMatch(bid, sign_typed(market.customer, bid, market.client.domain), 0, asks)


def test_a_bid_pays_the_ask_and_in_a_cleared_batch_the_one_price(market: LocalMarket) -> None:
    client, one, two = market.client, a_bid(market), a_bid(market, nonce=2)
    (alone,) = client.match_bid(market.scheduler, one.bid, one.signature, one.lot, one.asks).events
    assert isinstance(alone, events.DealOpened)
    assert Money(alone.data.legs[0].pay) == PAY
    price = Money.parse("1.50")
    cleared = client.clear(market.scheduler, price, b"\x01" * 32, [two, one])
    assert cleared.one(events.Cleared).price == price
    assert Money(cleared.one(events.DealOpened).data.legs[0].pay) == price
    assert cleared.skipped == {1: "MarketLotTaken"}
    client.cancel(market.customer, a_bid(market, nonce=3).bid, 0)


def test_a_failing_item_of_a_batch_is_named_and_the_others_count(market: LocalMarket) -> None:
    client = market.client
    orders = [market.purchase(nonce=nonce) for nonce in (1, 2)]
    matches = [
        PurchaseMatch(order, market.sign(order), OFFER, 0, (market.ask(),)) for order in (*orders, orders[0])
    ]
    matched = client.match_many(market.scheduler, matches)
    assert matched.skipped == {2: "MarketLotTaken"}
    first, second = [event for event in matched.events if isinstance(event, events.DealOpened)]
    signed = sign_typed(market.worker, Result(first.deal, ROOT, 1), client.domain)
    settlements = [
        Settlement(first.data, first.due, ROOT, 1, (signed,)),
        Settlement(second.data, second.due, ROOT, 1, (signed,)),
    ]
    settled = client.settle_many(market.stranger, settlements)
    assert settled.one(events.Settled).deal == first.deal
    assert settled.skipped == {1: "MarketSignature"}
    market.chain.move_to(second.due + 1)
    expired = client.expire_many(market.stranger, [(second.data, second.due), (first.data, first.due)])
    assert expired.one(events.Expired).deal == second.deal
    assert expired.skipped == {1: "MarketNotOpen"}


# -------------------------------------------------------------------------------------------------- cases


def challenged(market: LocalMarket) -> tuple[Case, events.Settled]:
    opened, ended = market.settled(ROOT)
    sent = market.client.challenge(market.customer, opened.data, ROOT, ended.fact, CLAIM)
    event = sent.one(events.Challenged)
    assert event.claim == CLAIM
    fees = tuple(fee.units for fee in event.fees)
    return Case(opened.data, ROOT, ended.fact, event.challenger, event.until, CLAIM.hash, fees), ended


def test_a_challenge_puts_the_lot_under_the_word_that_we_compute(market: LocalMarket) -> None:
    case, _ = challenged(market)
    client = market.client
    assert client.lot(case.deal.order, 0) == case.word
    assert case.fees == (ONE.units,)
    assert client.account(market.provider.address).cur == Money(0), "what it earned is held by the case"
    assert client.account(market.customer.address).free == Money.parse("93"), "price and bond"


def test_guilty_gives_the_customer_its_money_and_the_challenger_its_bond(market: LocalMarket) -> None:
    case, _ = challenged(market)
    client = market.client
    with pytest.raises(ChainError, match="not the arbiter"):
        client.judge(market.stranger, case, guilty=True)
    judged = client.judge(market.admin, case, guilty=True).one(events.Judged)
    assert (judged.guilty, judged.fee, judged.fact) == (True, ONE, 0)
    assert client.lot(case.deal.order, 0) == LOT_GUILTY
    assert client.account(market.customer.address).free == Money.parse("100")
    assert client.account(market.provider.address).free == Money.parse("19")


def test_not_guilty_settles_the_lot_again_and_doubles_the_next_bond(market: LocalMarket) -> None:
    case, ended = challenged(market)
    client = market.client
    judged = client.judge(market.admin, case, guilty=False).one(events.Judged)
    assert judged.fact == case.fact_after(market.chain.time, 600).pack()
    assert client.lot(case.deal.order, 0) == settled_word(case.deal.id, ROOT, judged.fact)
    assert Fact.unpack(judged.fact).past_cases == 1
    sent = client.challenge(market.customer, case.deal, ROOT, judged.fact, CLAIM)
    assert sent.one(events.Challenged).bond == bond_after(Money.parse("5"), 1) == Money.parse("10")
    assert Fact.unpack(ended.fact).past_cases == 0


def test_silence_ends_a_case_by_anyones_call_and_gives_the_bond_back(market: LocalMarket) -> None:
    case, _ = challenged(market)
    client = market.client
    with pytest.raises(ChainError, match="has not passed"):
        client.lapse(market.stranger, case)
    market.chain.move_to(case.until + 1)
    lapsed = client.lapse(market.stranger, case).one(events.Lapsed)
    assert client.lot(case.deal.order, 0) == settled_word(case.deal.id, ROOT, lapsed.fact)
    assert client.account(market.customer.address).free == Money.parse("98")


def test_a_claim_about_another_leaf_is_refused(market: LocalMarket) -> None:
    opened, ended = market.settled(ROOT)
    wrong = Claim(Ground.WRONG, 0, TaskStatus.EXITED_NON_ZERO, DIGEST)
    with pytest.raises(ChainError, match="is not that of task 0") as refused:
        market.client.challenge(market.customer, opened.data, ROOT, ended.fact, wrong)
    assert refused.value.revert == "MarketProof"
    assert refused.value.hint == "take leaf and proof from the job's receipt"


def test_the_count_ground_names_no_leaf(market: LocalMarket) -> None:
    opened, ended = market.settled(ROOT)
    count = Claim(Ground.COUNT, 0, 0, bytes(32))
    market.client.challenge(market.customer, opened.data, ROOT, ended.fact, count)
    assert market.client.lot(opened.order, 0) != settled_word(opened.deal, ROOT, ended.fact)


# -------------------------------------------------------------------------------------------------- roles


def test_roles_are_used_granted_and_given_up(market: LocalMarket) -> None:
    client, admin = market.client, market.admin
    client.set_fee(admin, 100)
    client.set_scheduler(admin, market.stranger.address)
    client.raise_deposit_cap(admin, Money.parse("2000000"))
    client.set_paused(admin, True)
    config = client.config()
    assert (config.fee_bps, config.scheduler, config.paused) == (100, market.stranger.address, True)
    assert config.deposit_cap == Money.parse("2000000")
    client.set_paused(admin, False)
    assert not client.config().paused
    client.grant_role(admin, PRICING_ROLE, market.stranger.address)
    client.renounce_role(market.stranger, PRICING_ROLE)
    client.revoke_role(admin, PRICING_ROLE, market.pricing.address)
    assert not client.has_role(PRICING_ROLE, market.stranger.address)
    assert not client.has_role(PRICING_ROLE, market.pricing.address)


def test_keys_of_lots_are_the_contracts(market: LocalMarket) -> None:
    opened, _ = market.settled(ROOT)
    client = market.client
    assert client.read("lots", lot_key(opened.order, 0)) == client.read("lot", opened.order, 0)
    assert client.lot(opened.order, 0) != open_word(opened.deal, opened.due)
