"""Short stories with sums, told to the ledger and to the contract: in pyrevm, and as real transactions on
anvil."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from prixfixe.devnet.anvil import LocalChain
from prixfixe.protocol import ledger as on
from prixfixe.protocol.deals import Due, Fact, refusal_root
from prixfixe.protocol.disputes import Case
from prixfixe.protocol.ledger import Item, Ledger, Open, Settled
from prixfixe.protocol.orders import Bump, Cancel, Result, Withdraw
from prixfixe.protocol.tokens import Permit, ReceiveWithAuthorization, deposit_nonce
from tests.ledger.contracts import Anvil, Revm
from tests.ledger.people import (
    ADMIN,
    ALICE,
    ARBITER,
    BOB,
    PAUSER,
    PRICING,
    PROVIDERS,
    SCHEDULER,
    STRANGER,
    WORKER,
    sign,
)
from tests.ledger.play import BARE_POLICY, GIFT, JUDGED, JUDGED_PAIR, PLAIN, POLICY, Play, root_of, wrong_leaf
from tests.ledger.sides import Contract

P0, P1, P2, _ = PROVIDERS


@pytest.fixture(scope="module")
def on_anvil(anvil: LocalChain) -> Iterator[tuple[Anvil, Ledger]]:
    """A furnished market on anvil, and its ledger."""
    with anvil.rolled_back():
        contract = Anvil(anvil, POLICY)
        yield contract, furnished(contract)


@pytest.fixture(params=["pyrevm", pytest.param("anvil", marks=pytest.mark.chain)])
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    """A furnished market: both sides of it."""
    if request.param == "pyrevm":
        contract = Revm(POLICY)
        yield play_on(contract, furnished(contract))
        return
    real, ledger = request.getfixturevalue("on_anvil")
    with real.chain.rolled_back():
        yield play_on(real, ledger)


def furnished(contract: Contract) -> Ledger:
    play = Play(contract, POLICY, Counter())
    play.furnish()
    return play.ledger


def play_on(contract: Contract, ledger: Ledger) -> Play:
    play = Play(contract, POLICY, Counter())
    play.ledger = ledger
    return play


def test_a_bundle_is_bought_paid_and_its_pay_is_free_two_windows_later(play: Play) -> None:
    play.does(on.set_fee, ADMIN, 500)
    play.does(on.authorise, P0, WORKER, play.now + 1_000)
    purchase = play.purchase(ALICE, JUDGED)
    lot = play.opened(purchase, JUDGED, play.ask(P0, 80, signer=WORKER))
    assert play.money(ALICE) == (20_000 - 300, 0, 0)
    assert lot.deal.fee == 5
    play.does(on.authorise, P0, WORKER, 0)  # revoked: the key of an open deal still signs its result
    settled = play.settled(lot, 2)
    assert Fact.unpack(settled.fact).done == 2
    assert play.money(ALICE) == (20_000 - 200, 0, 0)
    assert play.money(P0) == (200, 160, 0)
    assert play.money(play.market) == (2_000 - 1_300, 40, 0)
    play.refuses("MarketNotOpen", on.settle, STRANGER, lot.deal, lot.due, settled.root, 2, [None])
    play.refuses("MarketSuretyLocked", on.withdraw, P0, P0, 151)
    play.does(on.withdraw, P0, P0, 150)
    play.move_to(play.now + POLICY.window)
    assert play.money(P0) == (50, 0, 160)
    play.move_to(play.now + POLICY.window)
    play.does(on.withdraw, P0, P0, 210)
    assert play.money(P0) == (0, 0, 0)


def test_of_three_replicas_one_lies_and_is_not_paid(play: Play) -> None:
    purchase = play.purchase(ALICE, JUDGED_PAIR)
    lot = play.opened(purchase, JUDGED_PAIR, *(play.ask(provider, 80) for provider in (P0, P1, P2)))
    root = root_of(3, 3)
    agreed = play.results(lot.deal, root, 3)
    lie = play.signed(P2, Result(lot.deal.id, root_of(3, 3, salt=9), 3))
    whole = (lot.deal, lot.due, root, 3)
    play.refuses("MarketSignature", on.settle, SCHEDULER, *whole, [*agreed[:2], lie])
    play.refuses("MarketNotScheduler", on.settle, STRANGER, *whole, [*agreed[:2], None])
    play.refuses("MarketQuorum", on.settle, SCHEDULER, *whole, [agreed[0], None, None])
    play.does(on.settle, SCHEDULER, *whole, [*agreed[:2], None])
    # The liar's 80 a task go back to the customer; the treasury keeps its margin.
    assert play.money(ALICE) == (20_000 - 750 + 240, 0, 0)
    assert [play.money(provider) for provider in (P0, P1, P2)] == [(200, 240, 0)] * 2 + [(200, 0, 0)]
    assert play.money(play.market) == (700, 30, 0)


def test_a_refusal_frees_the_lot_and_does_not_count_after_a_new_match(play: Play) -> None:
    purchase, ask = play.purchase(BOB, PLAIN), play.ask(P0, 70)
    first = play.opened(purchase, PLAIN, ask)
    refusal = (
        first.deal,
        first.due,
        refusal_root(first.due),
        0,
        play.results(first.deal, refusal_root(first.due), 0),
    )
    play.refuses("MarketRefusalRoot", on.settle, P0, first.deal, first.due, root_of(3, 0), 0,
                 play.results(first.deal, root_of(3, 0), 0))  # fmt: skip
    play.does(on.settle, P0, *refusal)
    assert play.money(BOB) == (5_000, 0, 0)
    play.move_to(play.now + 5)
    again = play.opened(purchase, PLAIN, ask)
    assert again.deal == first.deal
    play.refuses("MarketNotOpen", on.settle, P0, *refusal)
    play.refuses("MarketRefusalRoot", on.settle, P0, again.deal, again.due, *refusal[2:])
    play.settled(again, 3)
    assert play.money(P0) == (200 + 210, 0, 0)


def test_after_the_deadline_anyone_sends_the_money_back_and_before_it_nobody(play: Play) -> None:
    purchase = play.purchase(ALICE, GIFT)
    first, second = (play.opened(purchase, GIFT, play.ask(P0, 60), lot=lot) for lot in (0, 1))
    deadline = Due.unpack(first.due).deadline
    assert play.ledger.bundle(GIFT.id).float_ == 600 - 360
    play.move_to(deadline)
    play.refuses("MarketTooEarly", on.expire, STRANGER, first.deal, first.due)
    play.move_to(Due.unpack(second.due).deadline + 1)
    root = root_of(3, 3)
    play.refuses(
        "MarketTooLate", on.settle, P0, first.deal, first.due, root, 3, play.results(first.deal, root, 3)
    )
    other = [Item(on.expire, (lot.deal, lot.due)) for lot in (first, first, second)]
    play.does(on.expire_many, STRANGER, other)
    assert play.open_lots() == []
    assert [event.name for event in play.ledger.log[-3:]] == ["Expired", "Skipped", "Expired"]
    # A gift: nothing back to the customer, all of it to the treasury.
    assert play.money(ALICE) == (20_000, 0, 0)
    assert play.money(play.market) == (700 + 360, 0, 0)


def test_a_silent_worker_is_hastened_and_a_live_one_settles_in_time(play: Play) -> None:
    lot = play.opened(play.purchase(ALICE, JUDGED), JUDGED, play.ask(P0, 120))
    play.refuses("MarketNotScheduler", on.hasten, STRANGER, lot.deal, lot.due)
    play.does(on.hasten, SCHEDULER, lot.deal, lot.due)
    hastened = play.state(Open, lot.deal.order, 0)
    assert Due.unpack(hastened.due).hastened
    play.refuses("MarketNotOpen", on.expire, STRANGER, lot.deal, lot.due)
    play.refuses("MarketNotSooner", on.hasten, SCHEDULER, lot.deal, hastened.due)
    play.settled(hastened, 3)
    assert play.money(P0) == (200, 360, 0)
    assert play.ledger.bundle(JUDGED.id).float_ == 400 - 60


def test_a_lie_is_judged_guilty_and_costs_its_signer_what_it_earned(play: Play) -> None:
    settled = play.settled(play.opened(play.purchase(ALICE, JUDGED), JUDGED, play.ask(P0, 80)), 3)
    claim, proof = wrong_leaf(settled, 1)
    told = (settled.deal, settled.root, settled.fact)
    play.refuses("MarketProof", on.challenge, BOB, *told, claim, proof[:-1])
    play.refuses(
        "MarketNotSettled", on.challenge, BOB, settled.deal, settled.root, settled.fact + 1, claim, proof
    )
    play.does(on.challenge, BOB, *told, claim, proof)
    assert play.money(BOB) == (5_000 - 40, 0, 0)
    assert play.money(P0) == (200 - 31, 0, 0)
    case = play.state(Case, settled.deal.order, 0)
    play.refuses("MarketNotArbiter", on.judge, STRANGER, case, True)
    play.refuses("MarketNoCase", on.judge, ARBITER, replace(case, fees=(30,)), True)
    play.does(on.judge, ARBITER, case, True)
    play.refuses("MarketNoCase", on.judge, ARBITER, case, True)
    assert [play.money(owner)[0] for owner in (ALICE, BOB, P0, ARBITER)] == [20_000, 5_000, 169, 31]
    assert play.money(play.market) == (700, 0, 0)


def test_a_truth_that_is_challenged_keeps_its_pay_and_its_window(play: Play) -> None:
    settled = play.settled(play.opened(play.purchase(ALICE, JUDGED), JUDGED, play.ask(P0, 80)), 3)
    play.move_to(Fact.unpack(settled.fact).time + POLICY.window - 10)
    play.does(on.challenge, P1, settled.deal, settled.root, settled.fact, *wrong_leaf(settled))
    case = play.state(Case, settled.deal.order, 0)
    play.move_to(play.now + 300)
    play.does(on.judge, ARBITER, case, False)
    again = play.state(Settled, settled.deal.order, 0)
    assert play.ledger.account(ARBITER).free == 40
    # The window stood still: it has ten seconds left, and the bond is twice as high.
    play.move_to(Fact.unpack(again.fact).time + POLICY.window)
    play.does(on.challenge, ALICE, again.deal, again.root, again.fact, *wrong_leaf(again))
    assert play.ledger.account(ALICE).free == 20_000 - 300 - 80
    case = play.state(Case, settled.deal.order, 0)
    play.refuses("MarketTooEarly", on.lapse, STRANGER, case)
    play.move_to(case.until + 1)
    play.refuses("MarketTooLate", on.judge, ARBITER, case, True)
    play.does(on.lapse, STRANGER, case)
    assert play.ledger.account(ALICE).free == 20_000 - 300
    assert sum(play.money(P0)) == 200 + 240


def test_a_surety_that_is_gone_stops_the_pay_and_the_treasury_adds_what_it_can(play: Play) -> None:
    purchase = play.purchase(ALICE, JUDGED)
    lots = [play.opened(purchase, JUDGED, play.ask(P0, 80), lot=lot) for lot in (0, 1)]
    play.does(on.withdraw, P0, P0, 200)
    root = root_of(3, 3)
    whole = (lots[0].deal, lots[0].due, root, 3, play.results(lots[0].deal, root, 3))
    play.refuses("MarketSuretyMissing", on.settle, STRANGER, *whole)
    play.does(on.deposit_for, ADMIN, P0, 50)
    fees = []
    for settled in [play.settled(lot, 3) for lot in lots]:
        play.does(on.challenge, BOB, settled.deal, settled.root, settled.fact, *wrong_leaf(settled))
        fees.append(play.state(Case, settled.deal.order, settled.deal.lot).fees)
    assert fees == [(31,), (19,)]
    play.does(on.withdraw_treasury, ADMIN, ADMIN, 695)
    play.does(on.judge, ARBITER, play.state(Case, lots[1].deal.order, 1), True)
    # 12 are missing and the treasury has 5: the arbiter gets less, and nobody else pays.
    assert play.ledger.account(ARBITER).free == 19 + 5
    assert play.money(play.market) == (0, 0, 0)


def test_bids_are_cleared_at_one_price_and_what_does_not_fit_is_skipped(play: Play) -> None:
    play.does(on.set_fee, ADMIN, 1_000)
    bids = [
        play.bid(customer, 110, nonce=nonce, matcher=play.market)
        for nonce, customer in enumerate((ALICE, BOB))
    ]
    asks = [play.ask(P0, 80), play.ask(P1, 101)]
    items = [
        Item(on.match_bid, (bid, play.signed(bid.customer, bid), 0, [ask]))
        for bid, ask in ((bids[0], asks[0]), (bids[1], asks[1]), (bids[0], asks[0]), (bids[1], asks[0]))
    ]
    play.refuses("MarketNotScheduler", on.clear, STRANGER, 100, b"\x0e" * 32, items)
    play.refuses("MarketBidMatcher", on.match_bid, STRANGER, *(items[0].arguments or ()))
    play.does(on.clear, SCHEDULER, 100, b"\x0e" * 32, [*items, Item(on.match_bid, None)])
    skipped = [(e.values["index"], e.values["code"]) for e in play.ledger.log if e.name == "Skipped"]
    assert skipped == [(1, "MarketBelowAsk"), (2, "MarketLotTaken"), (4, "")]
    assert [(lot.deal.price, lot.deal.legs[0].pay) for lot in play.open_lots()] == [(110, 100)] * 2
    settles = []
    for lot in play.open_lots():
        root = root_of(2, 2)
        settles.append(Item(on.settle, (lot.deal, lot.due, root, 2, play.results(lot.deal, root, 2))))
    play.does(on.settle_many, STRANGER, settles)
    assert play.money(P0) == (200 + 400, 0, 0)
    assert play.money(play.market) == (700 + 40, 0, 0)


def test_what_is_signed_works_once_and_only_as_signed(play: Play) -> None:
    order = Withdraw(ALICE, BOB, 100, 3, 1, play.now + 500)
    signature = play.signed(ALICE, order, short=True)
    play.refuses("MarketSignature", on.withdraw_by_sig, STRANGER, replace(order, to=STRANGER), signature)
    play.does(on.withdraw_by_sig, STRANGER, order, signature)
    play.refuses("MarketSpent", on.withdraw_by_sig, STRANGER, order, signature)
    purchase = play.purchase(ALICE, JUDGED)
    closing = play.signed(ALICE, Cancel(play.ledger.digest(purchase), 1))
    play.refuses("MarketSignature", on.cancel_by_sig, STRANGER, purchase, 0, closing)
    play.does(on.cancel_by_sig, STRANGER, purchase, 1, closing)
    play.refuses("MarketLotTaken", on.cancel_by_sig, STRANGER, purchase, 1, closing)
    ask, bump = play.ask(P0, 80), Bump(P0, 0)
    play.does(on.bump_by_sig, STRANGER, bump, play.signed(P0, bump))
    play.refuses("MarketEra", on.bump_by_sig, STRANGER, bump, play.signed(P0, bump))
    match = (purchase, play.signed(ALICE, purchase), JUDGED, 0, [ask])
    play.refuses("MarketEra", on.match_purchase, SCHEDULER, *match)
    # Money in by signature: it credits the account that was named, whoever sends it.
    token, salt = play.ledger.token.domain, b"\x05" * 32
    gift = ReceiveWithAuthorization(STRANGER, play.market, 7, 0, play.now + 500, deposit_nonce(BOB, salt))
    told = (STRANGER, 7, salt, 0, play.now + 500, sign(STRANGER, gift.digest(token)))
    play.refuses("ERC3009InvalidSignature", on.deposit_with_authorization, ALICE, ALICE, *told)
    play.does(on.deposit_with_authorization, ALICE, BOB, *told)
    play.refuses("ERC3009UsedAuthorization", on.deposit_with_authorization, ALICE, BOB, *told)
    permit = Permit(STRANGER, play.market, 9, 0, play.now + 500)
    play.does(on.deposit_with_permit, STRANGER, 9, permit.deadline, sign(STRANGER, permit.digest(token)))
    assert [play.ledger.account(owner).free for owner in (ALICE, BOB, STRANGER)] == [20_000 - 103, 5_007, 9]


def test_a_pause_stops_matches_and_nothing_else(play: Play) -> None:
    purchase, ask = play.purchase(ALICE, JUDGED), play.ask(P0, 80)
    lot = play.opened(purchase, JUDGED, ask)
    play.refuses("AccessControlUnauthorizedAccount", on.pause, STRANGER)
    play.does(on.pause, PAUSER)
    match = (purchase, play.signed(ALICE, purchase), JUDGED, 1, [ask])
    play.refuses("MarketPaused", on.match_purchase, SCHEDULER, *match)
    settled = play.settled(lot, 3)
    play.does(on.challenge, BOB, settled.deal, settled.root, settled.fact, *wrong_leaf(settled))
    play.does(on.judge, ARBITER, play.state(Case, settled.deal.order, 0), True)
    play.does(on.withdraw, P0, P0, 100)
    play.does(on.retire, PRICING, JUDGED.id, play.now + POLICY.notice + 20)
    play.does(on.unpause, PAUSER)
    play.does(on.match_purchase, SCHEDULER, *match)  # in the notice a quote is honoured
    play.move_to(play.ledger.bundle(JUDGED.id).until + 1)
    play.refuses("MarketBundleNotLive", on.match_purchase, SCHEDULER, *match)
    play.does(on.reclaim, STRANGER, JUDGED.id)
    assert play.ledger.account(play.market).free == 700 + 400


def test_after_64_cases_a_lot_can_be_challenged_no_more() -> None:
    """Nobody could pay a bond doubled 64 times; where the first is 0, the count still ends."""
    play = Play(Revm(BARE_POLICY), BARE_POLICY, Counter())
    play.furnish()
    lot = play.settled(play.opened(play.purchase(ALICE, JUDGED), JUDGED, play.ask(P0, 80)), 3)
    for _ in range(64):
        play.does(on.challenge, BOB, lot.deal, lot.root, lot.fact, *wrong_leaf(lot))
        play.does(on.judge, ARBITER, play.state(Case, lot.deal.order, 0), False)
        lot = play.state(Settled, lot.deal.order, 0)
    last = (lot.deal, lot.root, lot.fact, *wrong_leaf(lot))
    play.refuses("MarketAmountTooLarge", on.challenge, BOB, *last)
