"""May this ask serve this lot? A list of small pure rules, each with its own reason in words.

The same rules answer a quote ("how many workers could run it now") and explain a lot that waits. Each
mirrors a check of the contract's `matchPurchase`, so that a match that would revert is not sent, or a
policy of this service (heartbeat, capacity, cool-down). A reason reads after "N asks: K ..." and is stable,
as people and tests see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import KIND_BUNDLES, Ask
from prixfixe.protocol.product import Product


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for a whole round.

    now: the chain's time, seconds. contract: the market's address. matcher: who will call `matchPurchase`.
    grace: seconds that a deal gets beside its run time. surety: token units that a provider keeps free.
    heartbeat_seconds: silence after which a worker is lost.
    """

    now: int
    contract: str
    matcher: str
    grace: int
    surety: int
    heartbeat_seconds: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """A lot that waits for workers.

    product: 32 bytes. max_cost: the most that a task's leg may cost, token units. failed_on: worker keys
    whose attempt at this lot failed. lost_on: those that fell silent on it; they are taken only when no
    other is left.
    """

    job: str
    lot: int
    customer: str
    product: bytes
    max_cost: int
    disputable: bool
    count: int
    expiry: int
    deliver_by: int
    failed_on: frozenset[str] = frozenset()
    lost_on: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Offered:
    """A resting ask and what is known of its worker and provider now.

    silent_seconds: since the last heartbeat. cooling: it failed a deal a moment ago. free_slots: what the
    worker can take beside its open deals. provider_free: token units in the provider's account.
    provider_era: its present era.
    """

    worker: str
    ask: Ask
    silent_seconds: float
    draining: bool
    cooling: bool
    free_slots: int
    provider_free: int
    provider_era: int


Rule: TypeAlias = Callable[[Wanted, Offered, Conditions], bool]


def deadline(ask: Ask, count: int, conditions: Conditions) -> int:
    """The deadline that the contract would give a deal matched now."""
    seconds = Product.from_bytes(ask.product).max_seconds
    return conditions.now + conditions.grace + seconds * -(-count // ask.slots)


def sells_the_product(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.product == wanted.product


def has_a_heartbeat(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.silent_seconds <= conditions.heartbeat_seconds


def is_not_draining(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return not offered.draining


def has_not_expired(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.expiry >= conditions.now


def sells_to_bundles(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return bool(offered.ask.kinds & KIND_BUNDLES)


def sells_to_this_customer(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.customer in (ZERO_ADDRESS, wanted.customer)


def takes_this_matcher(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.matcher in (ZERO_ADDRESS, conditions.contract, conditions.matcher)


def is_not_the_customer(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.provider != wanted.customer


def is_within_the_price(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.price <= wanted.max_cost


def has_something_to_lose(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.price > 0 or not wanted.disputable


def is_in_the_present_era(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.era == offered.provider_era


def keeps_the_surety(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.provider_free >= conditions.surety


def can_deliver_in_time(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return deadline(offered.ask, wanted.count, conditions) <= wanted.deliver_by


def has_not_failed_it(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.worker not in wanted.failed_on


def is_not_cooling(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return not offered.cooling


def has_a_free_slot(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.free_slots > 0


# In the order in which they are asked; an ask is counted under the first that excludes it. What only time
# or the ask's owner can change comes before what the next minute may change.
RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("for another product", sells_the_product),
    ("not for bundles", sells_to_bundles),
    ("for another customer", sells_to_this_customer),
    ("for another market's operator", takes_this_matcher),
    ("the customer's own", is_not_the_customer),
    ("above the price", is_within_the_price),
    ("at zero, which a disputable bundle refuses", has_something_to_lose),
    ("too slow for the promised time", can_deliver_in_time),
    ("failed this job already", has_not_failed_it),
    ("heartbeat lost", has_a_heartbeat),
    ("draining", is_not_draining),
    ("ask expired", has_not_expired),
    ("ask cancelled by its provider", is_in_the_present_era),
    ("without the surety", keeps_the_surety),
    ("cooling down after a failure", is_not_cooling),
    ("busy", has_a_free_slot),
)


def why_not(wanted: Wanted, offered: Offered, conditions: Conditions) -> str | None:
    """The reason of the first rule that excludes the ask; None when it can serve the lot."""
    for reason, rule in RULES:
        if not rule(wanted, offered, conditions):
            return reason
    return None


def live_asks(wanted: Wanted, asks: Iterable[Offered], conditions: Conditions) -> int:
    """How many asks could serve the lot now, or once they are idle: what a quote shows."""
    momentary = {"busy", "cooling down after a failure"}
    return sum(
        1 for offered in asks if (why := why_not(wanted, offered, conditions)) is None or why in momentary
    )


def explain(excluded: Iterable[str]) -> str:
    """The reasons of all asks as one line: "3 asks: 2 above the price, 1 heartbeat lost".

    Asks for another product say nothing about this one and are not counted.
    """
    counts: dict[str, int] = {}
    for reason in excluded:
        if reason != RULES[0][0]:
            counts[reason] = counts.get(reason, 0) + 1
    if not counts:
        return "no worker offers this product"
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{count} {reason}" for reason, count in ordered)
    return f"{total} ask{'' if total == 1 else 's'}: {listed}"
