"""May this ask serve this lot? A list of small pure rules, each with its own reason and way out in words.

The same rules answer a quote ("how many workers could run it now") and explain a lot that waits. Each
mirrors a check of the contract's `matchPurchase` and `matchBid`, so that a match that would revert is not
sent, or a policy of this service (heartbeat, capacity, cool-down). A reason reads after "N asks: K ..." and
is stable, as people and tests see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from prixfixe.market.reputation import Grade
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import KIND_BIDS, KIND_BUNDLES, Ask
from prixfixe.protocol.product import Product

UNPAID: Final = "its customer's account cannot pay it"  # of a lot, whatever is asked
FAILED_IT: Final = "failed this job already"
CAPPED: Final = "a newcomer with enough under way"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for a whole round.

    now: the chain's time, seconds. contract: the market's address. matcher: who will call `matchPurchase`.
    grace: seconds that a deal gets beside its run time. surety: token units that a provider keeps free.
    heartbeat_seconds: silence after which a worker is lost. newcomer_cap: token units that may be under way
    with a provider without a record; None: any number.
    """

    now: int
    contract: str
    matcher: str
    grace: int
    surety: int
    heartbeat_seconds: float
    newcomer_cap: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A lot that waits for workers.

    product: 32 bytes. max_cost: the most that a task's legs may cost together, token units. kind: of
    `Ask.kinds`, what it is. providers: whom the customer admits; None: anyone. failed_on: worker keys whose
    attempt at this lot failed. lost_on: those that fell silent on it; they are taken only when no other is
    left. replicas: how many distinct providers run it. cost: what its customer pays for it at most, token
    units; 0 where that is not looked at. needs: what its worker must have beyond what every worker has.
    tried: providers whose worker failed or fell silent on it; others are taken before them. uses: digests of
    its image and inputs."""

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
    replicas: int = 1
    kind: int = KIND_BUNDLES
    providers: frozenset[str] | None = None
    cost: int = 0
    needs: frozenset[str] = frozenset()
    tried: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Offered:
    """A resting ask and what is known of its worker and provider now.

    silent_seconds: since the last heartbeat. cooling: it failed a deal a moment ago. free_slots: what the
    worker can take beside its open deals. provider_free: token units in the provider's account.
    provider_era: its present era. grade: what its deals say of it. has: what its worker has beyond others.
    newcomer_open: token units that are under way with its provider, when that has no record; None: it has
    one, or nobody looked.
    cached: digests that its worker says it need not fetch.
    """

    worker: str
    ask: Ask
    silent_seconds: float
    draining: bool
    cooling: bool
    free_slots: int
    provider_free: int
    provider_era: int
    grade: Grade = Grade.NEW
    has: frozenset[str] = frozenset()
    newcomer_open: int | None = None
    cached: frozenset[str] = frozenset()


Holds: TypeAlias = Callable[[Wanted, Offered, Conditions], bool]
Admits: TypeAlias = Callable[[Wanted, Offered, Conditions], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """reason: of an ask that it excludes. holds: whether the ask may serve the lot, as far as this rule goes.
    admits: what would have to change for that, in words. any_lot: it does not look at the lot, so that its
    answer for an ask is the same for all of them."""

    reason: str
    holds: Holds
    admits: str | Admits
    any_lot: bool = False

    def says(self, wanted: Wanted, offered: Offered, conditions: Conditions) -> str:
        """The reason with what would admit the ask."""
        admits = self.admits if isinstance(self.admits, str) else self.admits(wanted, offered, conditions)
        return f"{self.reason}: {admits}"


@lru_cache(maxsize=1024)
def _max_seconds(product: bytes) -> int:
    """Of a product: asked for every ask of a book, which has one product."""
    return Product.from_bytes(product).max_seconds


def deadline(ask: Ask, count: int, conditions: Conditions) -> int:
    """The deadline that the contract would give a deal matched now."""
    seconds = _max_seconds(ask.product)
    return conditions.now + conditions.grace + seconds * -(-count // ask.slots)


def slots_taken(ask: Ask, count: int) -> int:
    """How many of its worker's slots a lot of `count` tasks takes."""
    return min(ask.slots, count)


def sells_the_product(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.product == wanted.product


def has_a_heartbeat(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.silent_seconds <= conditions.heartbeat_seconds


def is_not_draining(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return not offered.draining


def has_not_expired(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.expiry >= conditions.now


def sells_to_bundles(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return wanted.kind != KIND_BUNDLES or bool(offered.ask.kinds & KIND_BUNDLES)


def sells_to_bids(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return wanted.kind != KIND_BIDS or bool(offered.ask.kinds & KIND_BIDS)


def is_one_of_those_admitted(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return wanted.providers is None or offered.ask.provider in wanted.providers


def sells_to_this_customer(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.customer in (ZERO_ADDRESS, wanted.customer)


def takes_this_matcher(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.ask.matcher in (ZERO_ADDRESS, conditions.contract, conditions.matcher)


def has_what_is_needed(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return wanted.needs <= offered.has


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


def has_room_for_it(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    if conditions.newcomer_cap is None or offered.newcomer_open is None:
        return True
    return offered.newcomer_open + offered.ask.price * wanted.count <= conditions.newcomer_cap


def is_not_cooling(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return not offered.cooling


def has_a_free_slot(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    return offered.free_slots >= slots_taken(offered.ask, wanted.count)


def _price_admits(wanted: Wanted, offered: Offered, conditions: Conditions) -> str:
    return f"at {Money(offered.ask.price)} a task instead of {Money(wanted.max_cost)} it would do"


def _time_admits(wanted: Wanted, offered: Offered, conditions: Conditions) -> str:
    late = deadline(offered.ask, wanted.count, conditions) - wanted.deliver_by
    return f"with {late} s more to deliver it would do"


def _needs_admit(wanted: Wanted, offered: Offered, conditions: Conditions) -> str:
    missing = ", ".join(sorted(wanted.needs - offered.has))
    return f"its provider would have to offer {missing}"


def _surety_admits(wanted: Wanted, offered: Offered, conditions: Conditions) -> str:
    missing = conditions.surety - offered.provider_free
    return f"its provider's account lacks {Money(missing)}"


def _cap_admits(wanted: Wanted, offered: Offered, conditions: Conditions) -> str:
    cap = Money(conditions.newcomer_cap or 0)
    return (
        f"it takes {cap} at once until it has a record, and {Money(offered.newcomer_open or 0)} is under way"
    )


# In the order in which they are asked; an ask is counted under the first that excludes it. What only time
# or the ask's owner can change comes before what the next minute may change.
RULES: Final[tuple[Rule, ...]] = (
    Rule("for another product", sells_the_product, "it sells something else"),
    Rule("not for bundles", sells_to_bundles, "its provider would have to offer it to bundles too"),
    Rule("not for bids", sells_to_bids, "its provider would have to offer it to bids too"),
    Rule(
        "not of the providers that the customer names",
        is_one_of_those_admitted,
        "name its provider too, or name none",
    ),
    Rule("for another customer", sells_to_this_customer, "its provider names another customer"),
    Rule(
        "for another market's operator",
        takes_this_matcher,
        "its provider names another operator",
        any_lot=True,
    ),
    Rule("the customer's own", is_not_the_customer, "nobody sells to himself: buy with another account"),
    Rule(
        "without what the job requires of its worker",
        has_what_is_needed,
        _needs_admit,
    ),
    Rule("above the price", is_within_the_price, _price_admits),
    Rule(
        "at zero, which a disputable bundle refuses",
        has_something_to_lose,
        "its provider would have to ask for something, or a wrong result would cost it nothing",
    ),
    Rule("too slow for the promised time", can_deliver_in_time, _time_admits),
    Rule(FAILED_IT, has_not_failed_it, "it does not get the same job twice"),
    Rule("heartbeat lost", has_a_heartbeat, "it comes back when its worker answers again", any_lot=True),
    Rule("draining", is_not_draining, "it comes back when its worker is started again", any_lot=True),
    Rule("ask expired", has_not_expired, "it comes back with its worker's next heartbeat", any_lot=True),
    Rule(
        "ask cancelled by its provider",
        is_in_the_present_era,
        "its provider would have to sign anew",
        any_lot=True,
    ),
    Rule("without the surety", keeps_the_surety, _surety_admits, any_lot=True),
    Rule(CAPPED, has_room_for_it, _cap_admits),
    Rule(
        "cooling down after a failure",
        is_not_cooling,
        "it is asked again after a pause that grows with each failure in a row",
        any_lot=True,
    ),
    Rule("busy", has_a_free_slot, "it is free when what it runs has ended"),
)
# What keeps an ask out of the public depth of bids; accounts are looked at when a batch closes.
_ON_THE_BOOK: Final = (
    sells_to_bids,
    has_a_heartbeat,
    is_not_draining,
    has_not_expired,
    has_a_free_slot,
)
MOMENTARY: Final = frozenset({"busy", "cooling down after a failure"})


def excluding(wanted: Wanted, offered: Offered, conditions: Conditions) -> list[Rule]:
    """All the rules that keep the ask from the lot, in their order; none when it can serve it."""
    return [rule for rule in RULES if not rule.holds(wanted, offered, conditions)]


def is_on_the_book(wanted: Wanted, offered: Offered, conditions: Conditions) -> bool:
    """Whether a bid's lot would find the ask in the depth, as far as its worker and its own words go."""
    return all(holds(wanted, offered, conditions) for holds in _ON_THE_BOOK)


def why_not(wanted: Wanted, offered: Offered, conditions: Conditions) -> str | None:
    """The reason of the first rule that excludes the ask; None when it can serve the lot."""
    for rule in RULES:
        if not rule.holds(wanted, offered, conditions):
            return rule.reason
    return None


@dataclass(frozen=True, slots=True)
class Excluded:
    """How many asks a rule kept out, each counted under the first that did."""

    reason: str
    asks: int


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why a lot waits. asks: of its product. able: that could serve it. providers: that could serve it now
    or once they are idle. excluded: the asks that could not, most first. nearest: of the excluded, the one
    that fewest rules keep out, its reasons and what would admit it, in words; None when there is none."""

    asks: int
    able: int
    providers: int
    excluded: tuple[Excluded, ...]
    nearest: str | None

    def __str__(self) -> str:
        """One line: "3 asks: 2 above the price, 1 heartbeat lost"."""
        return _line(Counter({each.reason: each.asks for each in self.excluded}))


def diagnose(wanted: Wanted, asks: Iterable[Offered], conditions: Conditions) -> WhyNot:
    """Every ask of the product against every rule."""
    tally = Tally(wanted, conditions)
    for offered in asks:
        rules = excluding(wanted, offered, conditions)
        tally.count(rules, 1, (offered.ask.provider,))
        tally.judge(rules, offered)
    return tally.why()


class Tally:
    """What the rules say of asks, counted: one by one, or many that they say the same of."""

    def __init__(self, wanted: Wanted, conditions: Conditions) -> None:
        self._wanted: Final = wanted
        self._conditions: Final = conditions
        self._able = 0
        self._providers: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._nearest: tuple[tuple[int, int, str], tuple[list[Rule], Offered]] | None = None

    def count(self, rules: Sequence[Rule], asks: int, providers: Iterable[str]) -> None:
        """So many asks of these providers, which these rules exclude; none: they can serve the lot."""
        if serves_when_idle(rules):
            self._providers.update(providers)
        if not rules:
            self._able += asks
        elif rules[0] is not RULES[0]:
            self._counts[rules[0].reason] += asks

    def is_farther(self, rules: Sequence[Rule], price: int) -> bool:
        """Whether no ask at this price or above, which these rules exclude, can be the nearest."""
        if not rules or rules[0] is RULES[0]:
            return True
        return self._nearest is not None and (len(rules), self._gap(price)) > self._nearest[0][:2]

    def judge(self, rules: list[Rule], offered: Offered) -> None:
        """An ask that these rules exclude, perhaps the nearest."""
        if not self.is_farther(rules, offered.ask.price):
            rank = (len(rules), self._gap(offered.ask.price), offered.worker)
            if self._nearest is None or rank < self._nearest[0]:
                self._nearest = rank, (rules, offered)

    def why(self) -> WhyNot:
        """All that was counted."""
        nearest = None
        if self._nearest is not None:
            rules, offered = self._nearest[1]
            nearest = "; ".join(rule.says(self._wanted, offered, self._conditions) for rule in rules)
        return WhyNot(
            asks=self._able + self._counts.total(),
            able=self._able,
            providers=len(self._providers),
            excluded=tuple(Excluded(reason, count) for reason, count in _most_first(self._counts)),
            nearest=nearest,
        )

    def _gap(self, price: int) -> int:
        return max(price - self._wanted.max_cost, 0)


def serves_when_idle(rules: Sequence[Rule]) -> bool:
    """Whether an ask that these rules exclude could serve the lot now, or once its worker is idle."""
    # What is momentary comes last among the rules: the first that excludes tells for all.
    return not rules or rules[0].reason in MOMENTARY


def explain(excluded: Iterable[str]) -> str:
    """The reasons of all asks as one line: "3 asks: 2 above the price, 1 heartbeat lost".

    Asks for another product say nothing about this one and are not counted.
    """
    return _line(Counter(reason for reason in excluded if reason != RULES[0].reason))


def _line(counts: Counter[str]) -> str:
    if not counts:
        return "no worker offers this product"
    total = counts.total()
    listed = ", ".join(f"{count} {reason}" for reason, count in _most_first(counts))
    return f"{total} ask{'' if total == 1 else 's'}: {listed}"


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
