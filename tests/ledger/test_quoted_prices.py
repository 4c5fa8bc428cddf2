"""What is quoted is what the ledger charges, to the unit: the quote's arithmetic, the matcher's choice of
asks, and the contract's specification, one after the other, over random markets."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from prixfixe.market.auction import leg_limit
from prixfixe.market.estimate import estimate
from prixfixe.market.matching import Pair, match
from prixfixe.market.rules import Conditions, Offered, Wanted
from prixfixe.protocol.addresses import ZERO_ADDRESS, format_address
from prixfixe.protocol.deals import Due, Offer
from prixfixe.protocol.ledger import Bundle, Ledger, Open, Signature, Token, match_bid, match_purchase, settle
from prixfixe.protocol.orders import KIND_BIDS, KIND_BOTH, KIND_BUNDLES, Ask, Bid, Purchase, Result
from prixfixe.protocol.replicas import quorum_of
from prixfixe.protocol.typed_data import Domain
from tests.ledger.play import POLICY, PRODUCT

MARKETS: Final = 1000
NOW: Final = 1_000_000
LATER: Final = NOW + 100_000
PURSE: Final = 2**62
CUSTOMER, SCHEDULER, CONTRACT = (format_address(bytes([first]) * 20) for first in (1, 2, 3))
CONDITIONS: Final = Conditions(NOW, CONTRACT, SCHEDULER, POLICY.grace, POLICY.surety, 3.0)


def a_ledger(fee_bps: int, offered: Sequence[Offered]) -> Ledger:
    domain = Domain(31337, CONTRACT)
    ledger = Ledger(
        policy=POLICY,
        domain=domain,
        token=Token(domain),
        scheduler=SCHEDULER,
        deposit_cap=2**63,
        now=NOW,
        fee_bps=fee_bps,
    ).credit(CUSTOMER, PURSE)
    for each in offered:
        ledger = ledger.credit(each.ask.provider, POLICY.surety)
    return ledger


def some_asks(chance: random.Random) -> list[Offered]:
    """Asks of up to six providers, with prices from a unit to millions, many of them equal."""
    most = chance.choice((3, 1_000, 5_000_000))
    found = []
    for number in range(chance.randint(1, 6)):
        provider = format_address(bytes([0x10 + number]) * 20)
        slots = chance.randint(1, 3)
        ask = Ask(
            provider=provider,
            product=PRODUCT,
            price=chance.randint(1, most),
            slots=slots,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=CONTRACT,
            expiry=LATER,
            era=0,
        )
        free = chance.randint(slots, 9)
        found.append(Offered(provider, ask, 0.0, False, False, free, POLICY.surety, 0))
    return found


def wanted(order: Bid | Purchase, replicas: int, max_cost: int) -> list[Wanted]:
    """The order's lots, as the matcher sees them."""
    return [
        Wanted(
            job="",
            lot=lot,
            customer=CUSTOMER,
            product=PRODUCT,
            max_cost=max_cost,
            disputable=False,
            count=order.lot_size(lot),
            expiry=LATER,
            deliver_by=LATER,
            replicas=replicas,
            kind=KIND_BIDS if isinstance(order, Bid) else KIND_BUNDLES,
        )
        for lot in range(order.lots)
    ]


def charged(ledger: Ledger, order: Bid | Purchase, pairs: Sequence[Pair], offer: Offer | None) -> int:
    """What the customer has less, when these asks serve these lots and every task is done."""
    before = ledger.account(CUSTOMER).free
    by_customer = Signature(CUSTOMER, ledger.digest(order))
    for pair in pairs:
        asks = [(each.ask, Signature(each.ask.provider, ledger.digest(each.ask))) for each in pair.offered]
        lot = pair.wanted.lot
        if isinstance(order, Bid):
            ledger = match_bid(ledger, SCHEDULER, order, by_customer, lot, asks)
        else:
            assert offer is not None
            ledger = match_purchase(ledger, SCHEDULER, order, by_customer, offer, lot, asks)
        opened = ledger.lot(ledger.digest(order), lot)
        assert isinstance(opened, Open)
        deal, root = opened.deal, bytes([lot % 255 + 1]) * 32
        assert Due.unpack(opened.due).deadline <= order.deliver_by
        result = ledger.digest(Result(deal.id, root, deal.count))
        signatures = [Signature(leg.key, result) for leg in deal.legs]
        ledger = settle(ledger, SCHEDULER, deal, opened.due, root, deal.count, signatures)
    return before - ledger.account(CUSTOMER).free


def test_a_flat_bid_costs_what_was_quoted_when_the_quoted_asks_serve_it() -> None:
    chance = random.Random(20)
    served = 0
    for number in range(MARKETS):
        offered, fee_bps = some_asks(chance), chance.choice((0, 1, 250, 999))
        replicas, tasks, lot = chance.randint(1, 3), chance.randint(1, 9), chance.randint(1, 3)
        sizes = [min(lot, tasks - at) for at in range(0, tasks, lot)]
        quoted = estimate(sizes, replicas, offered, fee_bps)
        if quoted is None:
            assert len(offered) < replicas
            continue
        bid = Bid(
            customer=CUSTOMER,
            product=PRODUCT,
            price=quoted.price,
            tasks=tasks,
            lot=lot,
            quorum=quorum_of(replicas),
            job=bytes(32),
            matcher=CONTRACT,
            expiry=LATER,
            deliver_by=LATER,
            era=0,
            nonce=number,
        )
        found = match(
            wanted(bid, replicas, leg_limit(quoted.price, 1, fee_bps)),
            offered,
            CONDITIONS,
            bytes([number % 256]),
        )
        cost = charged(a_ledger(fee_bps, offered), bid, found.pairs, None)
        done = sum(pair.wanted.count for pair in found.pairs)
        assert cost <= quoted.price * done, "no task costs more than its price"
        assert quoted.total <= bid.total.units
        # Which of two equal asks serves is drawn by lot, and what is then left for the next lot with it.
        prices = {each.ask.price for each in offered}
        if quoted.at_once == len(sizes) and len(prices) == len(offered):
            assert len(found.pairs) == len(sizes)
            assert cost == quoted.total
            served += 1
    assert served > MARKETS // 3, served


def test_a_bundle_costs_its_price_whatever_its_asks_cost() -> None:
    chance = random.Random(21)
    served = 0
    for number in range(MARKETS):
        offered, fee_bps = some_asks(chance), chance.choice((0, 1, 250, 999))
        replicas = chance.randint(1, 3)
        price, max_cost = chance.randint(1, 6_000_000), chance.randint(1, 9_000_000)
        offer = Offer(PRODUCT, bytes(32), price, max_cost, quorum_of(replicas), False)
        purchase = Purchase(
            customer=CUSTOMER,
            bundle=offer.id,
            price=price,
            tasks=1,
            lot=1,
            job=bytes(32),
            expiry=LATER,
            deliver_by=LATER,
            era=0,
            nonce=number,
        )
        found = match(wanted(purchase, replicas, max_cost), offered, CONDITIONS, bytes([number % 256]))
        ledger = a_ledger(fee_bps, offered).with_bundle(offer.id, Bundle(LATER, 2**40))
        assert charged(ledger, purchase, found.pairs, offer) == price * len(found.pairs)
        served += len(found.pairs)
    assert served > MARKETS // 3, served
