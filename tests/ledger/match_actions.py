"""Random matches of purchases and bids with asks, alone, in batches and in auctions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from prixfixe.protocol import ledger as on
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import Offer
from prixfixe.protocol.ledger import Item
from prixfixe.protocol.ledger.batches import EntryPoint
from prixfixe.protocol.orders import KIND_BIDS, KIND_BOTH, KIND_BUNDLES, Bid, Purchase
from tests.ledger.choices import MOST_96, Choices
from tests.ledger.people import (
    ALICE,
    BOB,
    OTHER_WORKER,
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
from tests.ledger.play import GIFT, JUDGED, JUDGED_PAIR, OFFERS, OTHER_PRODUCT, PLAIN

ASK_TWISTS: Final = (
    *("kinds", "product", "customer", "matcher", "ask expired", "ask era", "self", "free", "free", "slots"),
    *("poor", "ask spoilt", "ask by stranger", "ask elsewhere", "twice", "few", "many", "dear"),
    "ask changed",
)
ORDER_TWISTS: Final = (
    *("sender", "order spoilt", "order by stranger", "order elsewhere", "era", "expired", "deliver by"),
    *("lot range", "no lots", "lot taken", "tasks", "changed", "poor customer"),
)
OFFER_TWISTS: Final = (*["offer", "price", "float"] * 2, "unpublished", "dearest")
PURCHASE_TWISTS: Final = (*ASK_TWISTS, *ORDER_TWISTS, *OFFER_TWISTS)
BID_TWISTS: Final = (*ASK_TWISTS, *ORDER_TWISTS, "bid matcher", "quorum", "bid product", "low", "huge")


class MatchActions(Choices):
    """What opens deals."""

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
