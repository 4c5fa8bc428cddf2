"""Random sequences of calls, mostly sensible and each with at most one thing wrong, on both sides.

An action builds a call that should be accepted where the market stands; then, in a third of the cases, a
"twist" spoils one thing about it. What the outcome must be is never written here: the two sides decide it,
and must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any, Final, TypeAlias

from prixfixe.protocol import ledger as on
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import Due, Fact, Offer
from tests.ledger.account_actions import AccountActions
from tests.ledger.choices import MOST_64, MOST_96
from tests.ledger.end_actions import EndActions
from tests.ledger.match_actions import MatchActions
from tests.ledger.people import ADMIN, BOB, PAUSER, PRICING, STRANGER, unchecked
from tests.ledger.play import OFFERS, PLAIN, PRODUCT


class Walk(AccountActions, MatchActions, EndActions):
    """One sequence on a market that has been furnished."""

    def step(self, seed: str) -> None:
        """One action, by weight; what it does depends on the seed and on where the market stands."""
        self.random = Random(seed)
        actions = dict(ALWAYS)
        if self.play.open_lots():
            actions.update(DEALS)
        if self.disputable() or (self.play.settled_lots() and self.number(0, 9) == 0):
            actions.update(SETTLED)
        if self.play.cases():
            actions.update(CASES)
        (action,) = self.random.choices(list(actions), weights=list(actions.values()))
        action(self)

    def time_passes(self) -> None:
        now, policy = self.ledger.now, self.ledger.policy
        moments = [now + self.number(0, 3)] * 8 + [now + policy.window - now % policy.window]
        for lot in self.play.open_lots():
            moments += [Due.unpack(lot.due).deadline + self.pick(0, 0, 1, -policy.grace)]
        for settled in self.play.settled_lots()[-3:]:
            moments += [Fact.unpack(settled.fact).time + policy.window + self.pick(0, 1)]
        moments += [case.until + self.pick(0, 1) for case in self.play.cases()]
        if self.number(0, 9) == 0:
            moments = [min(bundle.until for bundle in self.ledger.bundles.values()) + self.pick(0, 1)]
        self.play.move_to(self.pick(*moments))

    def an_offer_changes(self) -> None:
        now, notice = self.ledger.now, self.ledger.policy.notice
        sender = self.pick(PRICING, PRICING, PRICING, PRICING, STRANGER)
        offer: Offer = self.pick(*OFFERS, *OFFERS, replace(PLAIN, price=3))
        until = self.ledger.bundle(offer.id).until
        what = self.number(0, 5)
        if what <= 1:
            change = self.twist("quorum", "many", "product", "gpu", "long", "floatless")
            changes: dict[str, dict[str, Any]] = {
                "quorum": {"quorum": 0},
                "many": {"quorum": 17},
                "product": {"product": self.pick(bytes(32), b"\x02" + PRODUCT[1:], PRODUCT[:4] + bytes(28))},
                "gpu": {"product": PRODUCT[:13] + b"\x01" + PRODUCT[14:]},
                "long": {"product": PRODUCT[:28] + (30 * 86_400 + self.pick(0, 1)).to_bytes(4, "big")},
            }
            float_ = MOST_96 if change == "floatless" else self.pick(0, 0, 50, 300)
            times = (until, until + 50, now + 3_000, max(until - 1, 0), now, now + 1)
            self.call(
                on.publish, sender, unchecked(offer, **changes.get(change, {})), self.pick(*times), float_
            )
        elif what <= 3:
            times = (now + notice, now + notice, now + notice + 60, now + notice - 1, until, until + 1)
            self.call(on.retire, sender, offer.id, self.pick(*times))
        else:
            self.call(on.reclaim, STRANGER, self.pick(offer.id, offer.id, b"\x05" * 32))

    def the_market_is_paused_for_a_while(self) -> None:
        """With something tried in the middle of it: a pause stops matches and nothing else."""
        self.call(on.pause, self.pick(PAUSER, PAUSER, STRANGER))
        entry, sender, arguments = self.purchase_call() if self.number(0, 1) else self.bid_call()
        self.call(entry, sender, *arguments)
        if self.play.open_lots():
            self.call(on.settle, STRANGER, *self.settle_arguments())
        self.call(on.unpause, STRANGER)
        self.call(on.unpause, PAUSER)

    def admin_acts(self) -> None:
        sender = self.pick(*[ADMIN] * 5, STRANGER)
        treasury = self.ledger.account(self.play.market).free
        scheduler, cap = self.ledger.scheduler, self.ledger.deposit_cap
        role = self.pick(on.PRICING_ROLE, on.PAUSER_ROLE)
        match self.number(0, 6):
            case 0:
                most = self.ledger.policy.max_fee_bps
                self.call(on.set_fee, sender, self.pick(0, 50, most, most, most + 1, 2**16 - 1))
            case 1:
                self.call(on.set_scheduler, sender, self.pick(scheduler, self.start.ledger.scheduler, BOB))
            case 2:
                self.call(
                    on.raise_deposit_cap, sender, self.pick(cap, cap - 1, min(cap * 10, MOST_64), MOST_64)
                )
            case 3:
                amount = self.pick(0, 1, treasury, treasury // 4, min(treasury + 1, MOST_64))
                self.call(on.withdraw_treasury, sender, self.pick(BOB, BOB, ZERO_ADDRESS), amount)
            case 4:
                self.call(on.grant_role, sender, role, self.pick(BOB, STRANGER, PRICING))
            case 5:
                self.call(on.revoke_role, sender, role, self.pick(BOB, STRANGER))
            case _:
                self.call(on.renounce_role, self.pick(BOB, STRANGER), role, self.pick(BOB, STRANGER))


Weights: TypeAlias = Mapping[Callable[[Walk], None], int]

# What may happen next and how often: always, with open deals, with settled ones, with cases.
ALWAYS: Final[Weights] = {
    Walk.time_passes: 6,
    Walk.money_comes: 4,
    Walk.somebody_sends_the_market_money_without_a_call: 1,
    Walk.money_comes_by_permit: 2,
    Walk.money_comes_by_authorisation: 3,
    Walk.money_goes: 5,
    Walk.money_goes_by_signature: 4,
    Walk.a_key_is_authorised_or_revoked: 3,
    Walk.an_era_ends: 3,
    Walk.a_lot_is_closed: 5,
    Walk.an_offer_changes: 7,
    Walk.the_market_is_paused_for_a_while: 2,
    Walk.admin_acts: 5,
    Walk.a_purchase_is_matched: 20,
    Walk.a_bid_is_matched: 10,
    Walk.a_batch_is_matched: 4,
    Walk.an_auction_is_cleared: 3,
}
DEALS: Final[Weights] = {
    Walk.a_deal_is_settled: 20,
    Walk.deals_are_settled_together: 4,
    Walk.a_deal_expires: 3,
    Walk.deals_expire_together: 2,
    Walk.a_deal_is_hastened: 4,
}
SETTLED: Final[Weights] = {Walk.a_deal_is_challenged: 15}
CASES: Final[Weights] = {Walk.a_case_ends: 15}
