"""Challenging a result from its receipt and a chain alone: what it costs, when it can be, how it ends."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from prixfixe.client import dispute
from prixfixe.client.onchain_reader import NodeEvidence
from prixfixe.errors import Conflict, InsufficientFunds, InvalidInput, NotFound, PrixfixeError, Unavailable
from prixfixe.protocol.deals import Offer
from prixfixe.protocol.disputes import Ground
from prixfixe.protocol.money import Money
from prixfixe.protocol.receipt import Receipt
from tests.support.disputed import TASKS, settled_lot
from tests.support.market import DISPUTABLE, OFFER, PRICE, LocalMarket

pytestmark = pytest.mark.chain

BOND = Money.parse("5")


def settled(
    market: LocalMarket, offer: Offer = DISPUTABLE, *, statuses: tuple[int, ...] = (0, 0, 0)
) -> Receipt:
    """As much of a receipt as a challenge needs."""
    lot = settled_lot(market, offer, statuses)
    quote: Any = SimpleNamespace(bundle="probe")
    return Receipt.model_construct(job="0x" + lot.deal.order.hex(), lots=(lot,), quote=quote)


def planned(market: LocalMarket, receipt: Receipt, **how: Any) -> dispute.Challenge:
    chain = NodeEvidence(market.chain.rpc, market.client.contract)
    return dispute.prepare(market.client, chain, receipt, market.customer.address, **how)


def refused(market: LocalMarket, receipt: Receipt, **how: Any) -> PrixfixeError:
    with pytest.raises(PrixfixeError) as found:
        planned(market, receipt, **how)
    return found.value


def test_what_it_costs_and_gives_back_is_known_before(market: LocalMarket) -> None:
    receipt = settled(market)
    plan = planned(market, receipt, task=1)
    assert (plan.bond, plan.refund, plan.past_cases) == (BOND, PRICE * TASKS, 0)
    assert (plan.closes, plan.judged_within) == (market.chain.time + 600, 600)
    assert (plan.claim.ground, plan.claim.index) == (Ground.WRONG, 1)
    assert plan.arbiter == market.admin.address


@pytest.mark.parametrize("task", range(TASKS))
@pytest.mark.parametrize("ground", ["wrong", "missing"])
def test_each_task_of_a_lot_can_be_challenged(market: LocalMarket, task: int, ground: str) -> None:
    opened = dispute.send(
        market.client, market.customer, planned(market, settled(market), task=task, ground=ground)
    )
    assert market.client.lot(opened.case.deal.order, 0) == opened.case.word


@pytest.mark.parametrize("guilty", [True, False])
def test_a_judgement_is_waited_for_and_its_money_told(market: LocalMarket, guilty: bool) -> None:
    client, customer = market.client, market.customer
    plan = planned(market, settled(market))
    before = client.account(customer.address).free
    opened = dispute.send(client, customer, plan)
    assert dispute.ended(client, opened) is None
    client.judge(market.admin, opened.case, guilty=guilty)
    verdict = dispute.wait(client, customer, opened)
    after = client.account(customer.address).free
    if guilty:
        assert (verdict.outcome, verdict.returned, verdict.bond_returned) == ("guilty", plan.refund, BOND)
        assert after == before + plan.refund
    else:
        assert (verdict.outcome, verdict.returned, verdict.bond_returned) == ("acquitted", Money(0), Money(0))
        assert after == before - BOND


def test_an_arbiter_that_says_nothing_costs_no_bond(market: LocalMarket) -> None:
    client, customer = market.client, market.customer
    before = client.account(customer.address).free
    plan = planned(market, settled(market))
    opened = dispute.send(client, customer, plan)
    market.chain.move_to(opened.case.until + 1)
    verdict = dispute.wait(client, customer, opened)
    assert (verdict.outcome, verdict.bond_returned) == ("lapsed", BOND)
    assert client.account(customer.address).free == before - PRICE * TASKS


def test_after_a_case_the_same_receipt_can_be_challenged_again_for_twice_the_bond(
    market: LocalMarket,
) -> None:
    receipt = settled(market)
    opened = dispute.send(market.client, market.customer, planned(market, receipt))
    market.client.judge(market.admin, opened.case, guilty=False)
    again = planned(market, receipt)
    assert (again.bond, again.past_cases) == (Money.parse("10"), 1)
    dispute.send(market.client, market.customer, again)


def test_outside_of_the_window_it_is_refused_with_the_date(market: LocalMarket) -> None:
    receipt = settled(market)
    plan = planned(market, receipt)
    market.chain.move_to(plan.closes + 1)
    late = refused(market, receipt)
    assert isinstance(late, Conflict)
    assert late.code == "window-closed"
    assert late.values["closes"] == plan.closes
    assert "UTC" in late.message


def test_a_bundle_without_judges_is_refused(market: LocalMarket) -> None:
    assert refused(market, settled(market, OFFER)).code == "not-disputable"


def test_a_case_that_runs_or_was_won_is_not_opened_again(market: LocalMarket) -> None:
    receipt = settled(market)
    opened = dispute.send(market.client, market.customer, planned(market, receipt))
    assert refused(market, receipt).code == "already-disputed"
    market.client.judge(market.admin, opened.case, guilty=True)
    assert refused(market, receipt).code == "already-guilty"


def test_a_bond_that_is_not_there_is_said_with_what_is_missing(market: LocalMarket) -> None:
    receipt = settled(market)
    left = market.client.account(market.customer.address).free
    market.client.withdraw(market.customer, market.customer.address, left - Money.parse("4"))
    short = refused(market, receipt)
    assert isinstance(short, InsufficientFunds)
    assert short.code == "bond-short"
    assert short.hint == "deposit the difference: prixfixe account deposit 1.00"


def test_what_was_not_paid_or_is_not_there_cannot_be_challenged(market: LocalMarket) -> None:
    receipt = settled(market)
    nothing = Receipt.model_construct(job=receipt.job, lots=())
    assert refused(market, nothing).code == "nothing-to-challenge"
    assert isinstance(refused(market, receipt, task=7), NotFound)
    assert isinstance(refused(market, receipt, ground="ugly"), InvalidInput)
    assert refused(market, receipt, ground="count").code == "nothing-to-challenge"


def test_leaves_that_show_fewer_successes_than_were_paid_are_ground_enough(market: LocalMarket) -> None:
    plan = planned(market, settled(market, statuses=(0, 1, 0)), ground="count")
    opened = dispute.send(market.client, market.customer, plan)
    assert (opened.case.claim, plan.proof) == (plan.claim.hash, ())


def test_a_receipt_that_is_not_of_this_settlement_is_held_against_the_chain(market: LocalMarket) -> None:
    receipt = settled(market)
    (lot,) = receipt.lots
    other = lot.model_copy(update={"deal": replace(lot.deal, price=lot.deal.price - 1)})
    assert isinstance(refused(market, receipt.model_copy(update={"lots": (other,)})), Unavailable)
    swapped = lot.model_copy(update={"tasks": lot.tasks[::-1]})
    told = refused(market, receipt.model_copy(update={"lots": (swapped,)}))
    assert "not those under the root" in told.message
