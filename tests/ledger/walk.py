"""Random sequences of calls, mostly sensible and each with at most one thing wrong, on both sides.

An action builds a call that should be accepted where the market stands; then, in a third of the cases, a
"twist" spoils one thing about it. What the outcome must be is never written here: the two sides decide it,
and must agree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any, Final, TypeVar

from prixfixe.protocol import ledger as on
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import Deal, Due, Fact, Offer, refusal_root
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.ledger import Item, Ledger, Settled
from prixfixe.protocol.ledger.batches import EntryPoint
from prixfixe.protocol.orders import (
    KIND_BIDS,
    KIND_BOTH,
    KIND_BUNDLES,
    Bid,
    Bump,
    Cancel,
    Purchase,
    Result,
    Withdraw,
)
from prixfixe.protocol.policy import Policy
from prixfixe.protocol.tokens import Permit, ReceiveWithAuthorization, deposit_nonce
from tests.ledger.contracts import START, Revm
from tests.ledger.people import (
    ADMIN,
    ALICE,
    ARBITER,
    BOB,
    CUSTOMERS,
    OTHER_WORKER,
    PAUSER,
    PRICING,
    PROVIDERS,
    SPOILT,
    STRANGER,
    WALLET,
    WORKER,
    Written,
    sign,
    spoilt,
    unchecked,
)
from tests.ledger.play import (
    GIFT,
    JUDGED,
    JUDGED_PAIR,
    OFFERS,
    OTHER_PRODUCT,
    PLAIN,
    PRODUCT,
    Play,
    root_of,
    wrong_leaf,
)

T = TypeVar("T")
MOST_96: Final = 2**96 - 1
MOST_64: Final = 2**64 - 1
# The wallet contract signs and is paid, but has no code that would call anybody.
SENDERS: Final = (*CUSTOMERS, *PROVIDERS, STRANGER, WORKER, ADMIN)

ASK_TWISTS: Final = (
    *("kinds", "product", "customer", "matcher", "ask expired", "ask era", "self", "free", "slots"),
    *(
        "poor",
        "ask spoilt",
        "ask by stranger",
        "ask elsewhere",
        "twice",
        "few",
        "many",
        "dear",
        "ask changed",
    ),
)
ORDER_TWISTS: Final = (
    *("sender", "order spoilt", "order by stranger", "order elsewhere", "era", "expired", "deliver by"),
    *("lot range", "no lots", "lot taken", "tasks", "changed", "poor customer"),
)
PURCHASE_TWISTS: Final = (
    *ASK_TWISTS,
    *ORDER_TWISTS,
    "offer",
    "offer",
    "price",
    "unpublished",
    "dearest",
    "float",
)
BID_TWISTS: Final = (*ASK_TWISTS, *ORDER_TWISTS, "bid matcher", "quorum", "bid product", "low", "huge")


class Furnished:
    """A deployed market with people in it, to which every sequence returns at its start."""

    def __init__(self, policy: Policy, seen: Counter[tuple[str, str]]) -> None:
        self.contract = Revm(policy)
        play = Play(self.contract, policy, seen)
        play.furnish()
        self.ledger = play.ledger
        self.contract.keep()


class Walk:
    """One sequence on a market that has been furnished. `calls` are all that it made, to be shown."""

    def __init__(self, start: Furnished, policy: Policy, seen: Counter[tuple[str, str]]) -> None:
        self.start = start
        start.contract.go_back()
        self.play = Play(start.contract, policy, seen)
        self.play.ledger = start.ledger
        self.random = Random()
        self.calls: list[tuple[Any, ...]] = []
        self.salt = 0
        self.orders: list[tuple[Purchase | Bid, Written]] = []
        self.deals: list[tuple[Deal, int]] = []
        self.withdrawals: list[tuple[Withdraw, Written]] = []
        self.authorisations: list[tuple[Any, ...]] = []
        self.bumps: list[tuple[Bump, Written]] = []

    # ------------------------------------------------------------------------------- choices

    def step(self, seed: str) -> None:
        """One action, by weight; what it does depends on the seed and on where the market stands."""
        self.random = Random(seed)
        actions = ALWAYS | (DEALS if self.play.open_lots() else {})
        if self.disputable() or (self.play.settled_lots() and self.number(0, 9) == 0):
            actions |= SETTLED
        actions |= CASES if self.play.cases() else {}
        (action,) = self.random.choices(list(actions), weights=list(actions.values()))
        getattr(self, action.__name__)()

    def pick(self, *options: T) -> T:
        return self.random.choice(options)

    def twist(self, *names: str) -> str:
        """Nothing ("") in two of three cases."""
        return self.pick(*names) if self.number(0, 2) == 0 else ""

    def number(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def pick_order(self, kind: type[Purchase] | type[Bid]) -> tuple[Any, Written] | None:
        found = [(order, signature) for order, signature in self.orders if isinstance(order, kind)]
        return self.pick(*found) if found else None

    @property
    def ledger(self) -> Ledger:
        return self.play.ledger

    def call(self, entry: EntryPoint, sender: str, *arguments: Any) -> str:
        before = len(self.ledger.log)
        self.calls.append((self.ledger.now - START, entry.__name__, sender, *arguments))
        reason = self.play.call(entry, sender, *arguments)
        for event in self.ledger.log[before:]:
            if event.name == "DealOpened":
                self.deals.append((event.values["data"], event.values["due"]))
        return reason

    # ------------------------------------------------------------------------------- time

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

    # ------------------------------------------------------------------------------- accounts

    def money_comes(self) -> None:
        amount = self.pick(0, 1, 77, 200, 5_000, 10**5, 10**6, MOST_64, MOST_64 - self.ledger.held)
        if self.number(0, 1):
            self.call(on.deposit, self.pick(ALICE, BOB, *PROVIDERS, STRANGER, ADMIN), amount)
        else:
            account = self.pick(*SENDERS, WALLET, ZERO_ADDRESS, self.play.market)
            self.call(on.deposit_for, self.pick(ALICE, ADMIN, ADMIN), account, amount)

    def somebody_sends_the_market_money_without_a_call(self) -> None:
        self.play.mint(self.play.market, self.number(1, 5))

    def money_comes_by_permit(self) -> None:
        sender, amount, deadline = STRANGER, self.pick(0, 5, 50), self.ledger.now + 5
        token = self.ledger.token
        twist = self.twist("expired", "by another", "amount", "used")
        nonce = token.nonces.get(sender, 0) - (twist == "used")
        deadline -= 6 * (twist == "expired")
        permit = Permit(sender, self.play.market, amount + (twist == "amount"), max(nonce, 0), deadline)
        signature = sign(BOB if twist == "by another" else sender, permit.digest(token.domain))
        self.call(on.deposit_with_permit, sender, amount, deadline, signature)

    def money_comes_by_authorisation(self) -> None:
        if self.authorisations and self.number(0, 3) == 0:
            account, *rest = self.pick(*self.authorisations)
            self.call(
                on.deposit_with_authorization, STRANGER, self.pick(account, STRANGER, ZERO_ADDRESS), *rest
            )
            return
        now, source, amount = self.ledger.now, self.pick(ALICE, STRANGER), self.pick(1, 50, 2_000)
        twist = self.twist("early", "late", "by another", "amount")
        after = now - 1 + (twist == "early")
        before = now + 100 - 100 * (twist == "late")
        account, salt = self.pick(ALICE, BOB, WALLET), bytes([self.number(0, 255)]) * 32
        signed = ReceiveWithAuthorization(
            source, self.play.market, amount, after, before, deposit_nonce(account, salt)
        )
        signer = BOB if twist == "by another" else source
        signature = sign(signer, signed.digest(self.ledger.token.domain))
        given = amount + (twist == "amount")
        self.authorisations.append((account, source, given, salt, after, before, signature))
        self.call(on.deposit_with_authorization, STRANGER, *self.authorisations[-1])

    def money_goes(self) -> None:
        waiting = [owner for owner in PROVIDERS if self.ledger.account(owner).cur]
        owner = self.pick(*SENDERS, *PROVIDERS, *waiting * 5)
        free, surety = self.ledger.account(owner).free, self.ledger.policy.surety
        amount = self.pick(0, 1, free, free + 1, max(0, free - surety), max(0, free - surety + 1), MOST_64)
        to = self.pick(owner, owner, owner, BOB, ZERO_ADDRESS, self.play.market)
        self.call(on.withdraw, owner, to, min(amount, MOST_64))

    def money_goes_by_signature(self) -> None:
        if self.withdrawals and self.number(0, 2) == 0:
            order, signature = self.pick(*self.withdrawals)
            self.call(on.withdraw_by_sig, STRANGER, order, signature)
            return
        account = self.pick(*CUSTOMERS, WALLET, *PROVIDERS)
        free = self.ledger.account(account).free
        twist = self.twist("by another", "spoilt", "changed", "expired", "to nobody", "huge")
        order = Withdraw(
            account=account,
            to=ZERO_ADDRESS if twist == "to nobody" else BOB,
            amount=MOST_96 if twist == "huge" else self.pick(0, 1, free, free + 1, max(0, free - 10)),
            fee=self.pick(0, 0, 1, 10),
            nonce=self.number(0, 99),
            deadline=self.ledger.now + self.pick(0, 50, 5_000) - (twist == "expired") * 5_001,
        )
        signature = self.play.signed(account, order, short=self.pick(True, False))
        if twist == "by another":
            signature = self.play.signed(STRANGER, order)
        elif twist == "spoilt":
            signature = spoilt(signature, self.pick(*SPOILT))
        elif twist == "changed":
            order = replace(order, fee=order.fee + 1)
        else:
            self.withdrawals.append((order, signature))
        self.call(on.withdraw_by_sig, STRANGER, order, signature)

    def a_key_is_authorised_or_revoked(self) -> None:
        key = self.pick(WORKER, WORKER, WORKER, OTHER_WORKER, ZERO_ADDRESS, WALLET)
        until = self.pick(0, self.ledger.now, *[self.ledger.now + 5_000] * 4, 2**40 - 1)
        self.call(on.authorise, self.pick(*PROVIDERS), key, until)

    def an_era_ends(self) -> None:
        owner = self.pick(*SENDERS)
        era = self.ledger.account(owner).era
        if self.number(0, 2) == 0:
            self.call(on.bump, owner, self.pick(era, era, era + 1, 2**32 - 1))
            return
        owner = self.pick(*CUSTOMERS, WALLET, *PROVIDERS)
        bump = Bump(owner, self.pick(era, self.ledger.account(owner).era))
        signature = self.play.signed(self.pick(owner, owner, STRANGER), bump)
        if self.bumps and self.number(0, 3) == 0:
            bump, signature = self.pick(*self.bumps)
        self.bumps.append((bump, signature))
        self.call(on.bump_by_sig, STRANGER, bump, signature)

    def a_lot_is_closed(self) -> None:
        if self.orders and self.number(0, 1):
            order, _ = self.pick(*self.orders)
        elif self.number(0, 1):
            order = self.play.purchase(self.pick(*CUSTOMERS, WALLET), JUDGED, nonce=self.number(0, 99))
        else:
            order = self.play.bid(self.pick(*CUSTOMERS, WALLET), 100, nonce=self.number(0, 99))
        lot = self.pick(0, 0, 1, 2, 2**32 - 1)
        bid = isinstance(order, Bid)
        if order.customer != WALLET and self.number(0, 1):
            sender = self.pick(order.customer, order.customer, STRANGER)
            self.call(on.cancel_bid if bid else on.cancel, sender, order, lot)
            return
        twist = self.twist("by another", "other lot", "spoilt")
        signed = Cancel(self.ledger.digest(order), lot - 1 if twist == "other lot" and lot else lot)
        signature = self.play.signed(STRANGER if twist == "by another" else order.customer, signed)
        if twist == "spoilt":
            signature = spoilt(signature, self.pick(*SPOILT))
        self.call(on.cancel_bid_by_sig if bid else on.cancel_by_sig, STRANGER, order, lot, signature)

    # ------------------------------------------------------------------------------- offers and roles

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

    # ------------------------------------------------------------------------------- matches

    def a_purchase_is_matched(self) -> None:
        entry, sender, arguments = self.purchase_call()
        self.call(entry, sender, *arguments)

    def a_bid_is_matched(self) -> None:
        entry, sender, arguments = self.bid_call()
        self.call(entry, sender, *arguments)

    def a_batch_is_matched(self) -> None:
        calls = [self.pick(self.purchase_call, self.bid_call)() for _ in range(self.number(0, 3))]
        items = [Item(entry, arguments) for entry, _, arguments in calls]
        sender = self.pick(*[self.ledger.scheduler] * 3, STRANGER)
        self.call(on.match_many, sender, self.spoil_batch(items, on.match_bid))

    def an_auction_is_cleared(self) -> None:
        items = [
            Item(entry, arguments)
            for entry, _, arguments in (self.bid_call() for _ in range(self.number(1, 3)))
        ]
        sender = self.pick(*[self.ledger.scheduler] * 5, STRANGER)
        price = self.pick(90, 90, 120, 79, 0, MOST_96)
        self.call(on.clear, sender, price, b"\x0e" * 32, self.spoil_batch(items, on.match_bid))

    def spoil_batch(self, items: list[Item], entry: EntryPoint) -> list[Item]:
        """Often as it is; else with an item twice, one that says nothing, or one that does not belong."""
        match self.twist("twice", "nothing", "stranger"):
            case "twice":
                return items * 2
            case "nothing":
                return [*items, Item(entry, None)]
            case "stranger":
                return [*items, Item(on.bump, (0,))]
        return items

    def purchase_call(self) -> tuple[EntryPoint, str, tuple[Any, ...]]:
        twist = self.twist(*PURCHASE_TWISTS)
        offer: Offer = self.pick(JUDGED, JUDGED, JUDGED, JUDGED_PAIR, JUDGED_PAIR, PLAIN, GIFT)
        again = twist == "lot taken" or (not twist and self.number(0, 2) == 0)
        known = self.pick_order(Purchase) if again else None
        if known is not None:
            purchase, signature = known
            offer = next((one for one in OFFERS if one.id == purchase.bundle), offer)
        else:
            offer = {
                "dearest": OFFERS[-1],
                "float": JUDGED,
                "unpublished": replace(offer, application=b"\x09" * 32),
            }.get(twist, offer)
            purchase = self.play.purchase(
                self.customer(twist), offer, nonce=self.number(0, 2**64 - 1), **self.order_changes(twist)
            )
            if twist == "price":
                purchase = replace(purchase, price=purchase.price + 1)
            signature = self.order_signature(purchase, twist)
        self.orders.append((purchase, signature))
        if twist == "changed":
            purchase = unchecked(purchase, tasks=purchase.tasks + 1)
        if twist == "offer":
            offer = self.pick(
                replace(offer, max_cost=MOST_96), *(one for one in OFFERS if one.id != offer.id)
            )
        # All legs together mostly below the price, at times above it, which the float pays.
        whole = self.pick(*[offer.price * 4 // 5] * 3, offer.price, *[offer.max_cost] * 2, offer.max_cost + 1)
        if offer == GIFT or twist == "float":
            whole = offer.max_cost
        asks = self.asks(
            offer.quorum, offer.product, min(whole, MOST_96), purchase.customer, twist, bundles=True
        )
        sender = STRANGER if twist == "sender" else self.ledger.scheduler
        return on.match_purchase, sender, (purchase, signature, offer, self.lot(purchase, twist), asks)

    def bid_call(self) -> tuple[EntryPoint, str, tuple[Any, ...]]:
        twist = self.twist(*BID_TWISTS)
        again = twist == "lot taken" or (not twist and self.number(0, 3) == 0)
        known = self.pick_order(Bid) if again else None
        if known is not None:
            bid, signature = known
        else:
            changes = self.order_changes(twist)
            if twist == "quorum":
                changes["quorum"] = self.pick(0, 17, 255)
            if twist == "bid product":
                changes["product"] = self.pick(OTHER_PRODUCT, bytes(32))
            changes["matcher"] = self.pick(ZERO_ADDRESS, self.play.market, self.ledger.scheduler)
            if twist == "bid matcher":
                changes["matcher"] = STRANGER
            changes.setdefault("quorum", self.pick(1, 1, 2))
            price = {"low": 80, "huge": MOST_96}.get(twist, 400)
            bid = self.play.bid(self.customer(twist), price, nonce=self.number(0, 2**64 - 1), **changes)
            signature = self.order_signature(bid, twist)
        self.orders.append((bid, signature))
        if twist == "changed":
            bid = unchecked(bid, nonce=(bid.nonce + 1) % 2**64)
        whole = MOST_96 if twist == "huge" else self.pick(80, 160, 300, 401)
        asks = self.asks(min(bid.quorum, 3), bid.product, whole, bid.customer, twist, bundles=False)
        sender = STRANGER if twist == "sender" else self.ledger.scheduler
        return on.match_bid, sender, (bid, signature, self.lot(bid, twist), asks)

    def customer(self, twist: str) -> str:
        return (
            self.pick(STRANGER, PROVIDERS[3])
            if twist == "poor customer"
            else self.pick(ALICE, ALICE, BOB, WALLET, PROVIDERS[0])
        )

    def lot(self, order: Purchase | Bid, twist: str) -> int:
        if twist == "lot range":
            return self.pick(4, 2**32 - 1)
        lots = max(1, -(-order.tasks // max(1, order.lot)))
        free = [
            index
            for index in range(min(lots, 4))
            if self.ledger.lot(self.ledger.digest(order), index) is None
        ]
        return self.pick(*free) if free and twist != "lot taken" else 0

    def order_changes(self, twist: str) -> dict[str, Any]:
        now = self.ledger.now
        match twist:
            case "era":
                return {"era": self.pick(7, 2**32 - 1)}
            case "expired":
                return {"expiry": now - self.pick(0, 1, 1)}
            case "deliver by":
                return {"deliver_by": now + self.ledger.policy.grace + self.pick(59, 60, 180)}
            case "float":
                return {"tasks": 60, "lot": 60}
            case "no lots":
                return {"lot": 0}
            case "tasks":
                return {"tasks": self.pick(0, 1, 65_535, 2**32 - 1), "lot": self.pick(1, 65_535)}
        return {}

    def order_signature(self, order: Purchase | Bid, twist: str) -> Written:
        if twist == "order by stranger":
            return self.play.signed(self.pick(STRANGER, WORKER), order)
        if twist == "order elsewhere":
            return sign(order.customer, order.digest(self.ledger.token.domain))
        signature = self.play.signed(order.customer, order, short=self.pick(True, False, False))
        return spoilt(signature, self.pick(*SPOILT)) if twist == "order spoilt" else signature

    def asks(
        self, quorum: int, product: bytes, whole: int, customer: str, twist: str, *, bundles: bool
    ) -> list[Any]:
        n = quorum + self.pick(0, 0, 1)
        n = {"few": max(0, quorum - 1), "many": 17}.get(twist, n)
        able = [
            p for p in [*PROVIDERS[:3], WALLET, *PROVIDERS[3 if twist == "poor" else 4 :]] if p != customer
        ]
        if twist == "poor":
            able = able[::-1]
        elif self.number(0, 1):
            able = able[1:] + able[:1]
        providers = (able * 17)[:n]
        if twist == "twice" and n:
            providers = [providers[0]] * max(2, n)
        if twist == "self" and n:
            providers[-1] = customer
        asks = []
        for provider in providers:
            changes: dict[str, Any] = {
                "product": product,
                "slots": self.pick(1, 3, 65_535),
                "kinds": self.pick(KIND_BOTH, KIND_BUNDLES if bundles else KIND_BIDS),
                "matcher": self.pick(ZERO_ADDRESS, self.play.market),
            }
            price = whole // n + (whole % n if provider == providers[-1] else 0)
            asks.append(self.ask(provider, price, changes, twist if provider == providers[-1] else ""))
        return asks

    def ask(self, provider: str, price: int, changes: dict[str, Any], twist: str) -> tuple[Any, Written]:
        now = self.ledger.now
        spoilt_by: dict[str, dict[str, Any]] = {
            "kinds": {"kinds": self.pick(0, 4, KIND_BIDS, KIND_BUNDLES)},
            "product": {"product": OTHER_PRODUCT},
            "customer": {"customer": self.pick(STRANGER, STRANGER, ALICE)},
            "matcher": {"matcher": STRANGER},
            "ask expired": {"expiry": now - self.pick(0, 1, 1)},
            "ask era": {"era": self.pick(9, 2**32 - 1)},
            "slots": {"slots": 0},
        }
        changes |= spoilt_by.get(twist, {})
        price = {"free": 0, "dear": MOST_96}.get(twist, price)
        authorised = self.ledger.workers.get((provider, WORKER), 0) >= now
        signer = WORKER if authorised and self.number(0, 1) else provider
        if twist == "ask by stranger":
            signer = self.pick(STRANGER, OTHER_WORKER, WORKER, WALLET)
        ask, signature = self.play.ask(provider, price, signer=signer, **changes)
        if twist == "ask spoilt":
            signature = spoilt(signature, self.pick(*SPOILT))
        elif twist == "ask elsewhere":
            signature = sign(signer, ask.digest(self.ledger.token.domain))
        elif twist == "ask changed":
            ask = unchecked(ask, price=max(0, ask.price - 1))
        return ask, signature

    # ------------------------------------------------------------------------------- ends of deals

    def deal(self, twist: str) -> tuple[Deal, int]:
        """An open one; for the twist "past" one that was open at some time."""
        if twist == "past":
            return self.pick(*self.deals)
        lot = self.pick(*self.play.open_lots())
        return lot.deal, lot.due

    def settle_arguments(self) -> tuple[Any, ...]:
        twist = self.twist("past", "other deal", "due", "signer", "spoilt", "quorum", "none", "length",
                           "done", "refusal root", "result")  # fmt: skip
        deal, due = self.deal(twist)
        done = self.pick(0, 1, deal.count, deal.count, deal.count)
        given = {"other deal": unchecked(deal, price=deal.price + 1), "due": deal}.get(twist, deal)
        if twist == "due":
            due = self.pick(due + 1, due ^ 1 << 40, due | 1 << 47)
        root = root_of(deal.count, done, self.salt) if done else refusal_root(due)
        if twist == "refusal root":
            done, root = 0, refusal_root(due + 1)
        if twist == "done":
            done = self.pick(min(deal.count + 1, 65_535), 65_535)
        signatures = self.play.results(deal, root, done)
        if twist == "signer":
            signatures[-1] = self.play.signed(STRANGER, Result(deal.id, root, done))
        elif twist == "spoilt":
            signatures[-1] = spoilt(
                self.play.results(deal, root, done)[-1] or Written("", b""), self.pick(*SPOILT)
            )
        elif twist == "quorum" or self.number(0, 3) == 0:
            signatures[self.number(0, len(signatures) - 1)] = None
        elif twist == "none":
            signatures = [None] * len(signatures)
        elif twist == "length":
            signatures = self.pick([*signatures, None], signatures[:-1])
        elif twist == "result":
            done = min(done + 1, deal.count)
        return given, due, root, done, signatures

    def a_deal_is_settled(self) -> None:
        sender = self.pick(STRANGER, self.ledger.scheduler)
        self.call(on.settle, sender, *self.settle_arguments())

    def deals_are_settled_together(self) -> None:
        items = [Item(on.settle, self.settle_arguments()) for _ in range(self.number(1, 3))]
        sender = self.pick(STRANGER, self.ledger.scheduler)
        self.call(on.settle_many, sender, self.spoil_batch(items, on.settle))

    def late(self) -> None:
        """Past the deadline of an open deal, most of the time."""
        if self.number(0, 3):
            lot = self.pick(*self.play.open_lots())
            self.play.move_to(Due.unpack(lot.due).deadline + self.pick(0, 1, 1, 1))

    def a_deal_expires(self) -> None:
        self.late()
        deal, due = self.deal(self.twist("past"))
        self.call(on.expire, STRANGER, deal, due)

    def deals_expire_together(self) -> None:
        self.late()
        items = [Item(on.expire, self.deal(self.twist("past"))) for _ in range(self.number(1, 3))]
        self.call(on.expire_many, STRANGER, self.spoil_batch(items, on.expire))

    def a_deal_is_hastened(self) -> None:
        twist = self.twist("past", "sender", "due")
        deal, due = self.deal(twist)
        sender = STRANGER if twist == "sender" else self.ledger.scheduler
        self.call(on.hasten, sender, deal, due + (twist == "due"))

    # ------------------------------------------------------------------------------- the court

    def disputable(self) -> list[Settled]:
        """The settled lots in their windows."""
        since = self.ledger.now - self.ledger.policy.window
        return [lot for lot in self.play.settled_lots() if lot.deal.disputable and _time(lot) >= since]

    def a_deal_is_challenged(self) -> None:
        lots = self.play.settled_lots()
        twist = self.twist(
            "any", "root", "fact", *["ground"] * 3, "index", "proof", "proof", "poor", "late", "last second"
        )
        window = self.ledger.policy.window
        live = self.disputable()
        settled: Settled = self.pick(*(lots if twist == "any" or not live else live))
        if twist in ("late", "last second"):
            self.play.move_to(_time(settled) + window + (twist == "late"))
        claim, proof = Claim(2, 0, 0, bytes(32), bytes(32)), list[bytes]()
        if settled.deal.count <= 16 and self.number(0, 2):
            index = self.number(0, settled.deal.count - 1)
            claim, proof = wrong_leaf(settled, index, self.salt, self.pick(0, 1))
        if twist == "ground":
            claim = unchecked(claim, ground=self.pick(3, 255))
        elif twist == "index":
            claim = unchecked(claim, ground=0, index=self.pick(claim.index + 1, 2**32 - 1))
        elif twist == "proof":
            claim, proof = (
                replace(claim, ground=1),
                self.pick([*proof, bytes(32)], proof[:-1], [b"\x01" * 32]),
            )
        root = bytes(32) if twist == "root" else settled.root
        fact = settled.fact ^ (1 << self.pick(0, 16, 32, 72, 90)) if twist == "fact" else settled.fact
        sender = (
            self.pick(OTHER_WORKER, PROVIDERS[3])
            if twist == "poor"
            else self.pick(ALICE, BOB, *PROVIDERS[:3])
        )
        self.call(on.challenge, sender, settled.deal, root, fact, claim, proof)

    def a_case_ends(self) -> None:
        case = self.pick(*self.play.cases())
        if self.number(0, 2) == 0:
            self.play.move_to(case.until + self.pick(0, 1))
        twist = self.twist("fees", "until", "claim", "challenger")
        given = {
            "fees": replace(case, fees=(*case.fees, 0)),
            "until": replace(case, until=case.until + 1),
            "claim": replace(case, claim=bytes(32)),
            "challenger": replace(case, challenger=STRANGER),
        }.get(twist, case)
        if self.number(0, 2) == 0 or (self.ledger.now > case.until and self.number(0, 2)):
            self.call(on.lapse, STRANGER, given)
        else:
            sender = self.pick(*[ARBITER] * 4, STRANGER)
            self.call(on.judge, sender, given, self.pick(True, False))


def _time(settled: Settled) -> int:
    return Fact.unpack(settled.fact).time


# What may happen next and how often: always, with open deals, with settled ones, with cases.
ALWAYS: Final = {
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
DEALS: Final = {
    Walk.a_deal_is_settled: 20,
    Walk.deals_are_settled_together: 4,
    Walk.a_deal_expires: 3,
    Walk.deals_expire_together: 2,
    Walk.a_deal_is_hastened: 4,
}
SETTLED: Final = {Walk.a_deal_is_challenged: 15}
CASES: Final = {Walk.a_case_ends: 15}
