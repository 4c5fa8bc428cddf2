"""Who takes part in a batch: of all that rests when it closes, what may trade now, and why the rest may not.

An ask is judged by the very rules that a bundle's lot meets (`market.rules`), as far as they say nothing
about a single lot; a bid by its own time and its customer's money. What depends on both, whether an ask is
fast enough for a bid's promised time, whether its provider failed the job before and whether a newcomer may
have so much under way, narrows the providers that the bid admits, so that the auction itself needs to know
nothing of it and anyone can repeat it.

A newcomer's cap bounds how many lots its asks take part with. What a lot will be worth is not known before
the batch has a price: a task counts as what its provider asks for one or the last batch of the product paid
for one, whichever is more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prixfixe.market.batch import BatchAsk, BatchBid, SetAside
from prixfixe.market.rules import CAPPED, UNPAID, Conditions, Offered, Wanted, why_not
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import KIND_BIDS, Bid
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import Domain

_EVER: Final = 2**40 - 1  # no time of the protocol is later
_ANY_PRICE: Final = 2**96 - 1

EXPIRED: Final = "bid expired"
CANCELLED: Final = "bid cancelled by its customer"
TOO_LATE: Final = "too late for any ask to deliver in the promised time"


@dataclass(frozen=True, slots=True)
class RestingBid:
    """A bid with what is known of it. free_lots: ascending. replicas, whole: as in `batch.BatchBid`.
    providers: whom its customer named; None: anyone. failed_on: providers that failed it before."""

    bid: Bid
    signature: bytes
    free_lots: tuple[int, ...]
    replicas: int = 1
    whole: bool = False
    providers: tuple[str, ...] | None = None
    failed_on: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RestingAsk:
    """An ask with what is known of it."""

    offered: Offered
    signature: bytes


@dataclass(frozen=True, slots=True)
class Purse:
    """What a customer can spend on bids now, and its present era."""

    free: int
    era: int


@dataclass(frozen=True, slots=True)
class Entered:
    """What takes part, in order of arrival, and what does not."""

    bids: tuple[BatchBid, ...]
    asks: tuple[BatchAsk, ...]
    set_aside: tuple[SetAside, ...]


def enter(
    bids: Sequence[RestingBid],
    asks: Sequence[RestingAsk],
    purses: Mapping[str, Purse],
    conditions: Conditions,
    domain: Domain,
    last_price: int = 0,
) -> Entered:
    """Divide what rests. bids: in order of arrival: their customer's money goes to the first. Lots that it
    does not reach stay out; a bid that wants all or nothing then stays out as a whole. last_price: of a task
    in the product's last batch, token units."""
    out: list[SetAside] = []
    sizes = {each.bid.lot_size(lot) for each in bids for lot in each.free_lots[:1]} or {1}
    largest = max(sizes)
    rooms = _Rooms(asks, sizes, conditions, last_price)
    in_asks = []
    seen: set[bytes] = set()
    for ask in asks:
        # An ask does not name its key: two workers of one provider may have signed the very same one, and a
        # batch names each order once. The other takes part when it has renewed its own.
        digest = ask.offered.ask.digest(domain)
        if digest in seen:
            continue
        seen.add(digest)
        why = why_not(_anything(ask.offered), ask.offered, conditions)
        lots = 0 if why is not None else rooms.taken(ask.offered.ask.provider, _lots(ask, largest))
        if not lots:
            out.append(SetAside(digest, why or CAPPED))
        else:
            in_asks.append(BatchAsk(ask.offered.ask, ask.signature, ask.offered.worker, lots))
    speeds = _Speeds(in_asks)
    left = {customer: purse.free for customer, purse in purses.items()}
    in_bids = []
    for each in bids:
        entered, why = _entered(each, purses[each.bid.customer], left, speeds, rooms, conditions)
        if entered is None:
            out.append(SetAside(each.bid.digest(domain), why))
        else:
            in_bids.append(entered)
    return Entered(tuple(in_bids), tuple(in_asks), tuple(sorted(out, key=lambda aside: aside.order)))


def _entered(
    each: RestingBid,
    purse: Purse,
    left: dict[str, int],
    speeds: _Speeds,
    rooms: _Rooms,
    conditions: Conditions,
) -> tuple[BatchBid | None, str]:
    bid = each.bid
    if bid.expiry < conditions.now:
        return None, EXPIRED
    if bid.era != purse.era:
        return None, CANCELLED
    providers = each.providers
    slack = bid.deliver_by - conditions.now - conditions.grace
    size = bid.lot_size(each.free_lots[0])
    slots = _slots_needed(size, slack // Product.from_bytes(bid.product).max_seconds)
    if slots is None:
        return None, TOO_LATE
    barred = each.failed_on | rooms.without(size)
    # One slot is what every ask has.
    if slots > 1 or barred:
        named = speeds.providers(slots) if providers is None else speeds.providers(slots) & set(providers)
        if slots > 1 and not named - each.failed_on:
            return None, TOO_LATE
        providers = tuple(sorted(named - barred))
    lots = []
    for lot in each.free_lots:
        cost = bid.price * bid.lot_size(lot)
        if cost > left[bid.customer]:
            break
        left[bid.customer] -= cost
        lots.append(lot)
    if not lots or (each.whole and len(lots) < len(each.free_lots)):
        left[bid.customer] += sum(bid.price * bid.lot_size(lot) for lot in lots)
        return None, UNPAID
    return BatchBid(bid, each.signature, tuple(lots), each.replicas, each.whole, providers), ""


def _slots_needed(tasks: int, turns: int) -> int | None:
    """How many tasks must run side by side to be done in so many turns; None when no number will do."""
    return -(-tasks // turns) if turns > 0 else None


class _Rooms:
    """How many tasks newcomers may still take on, by provider. sizes: of the lots that there are."""

    def __init__(
        self, asks: Iterable[RestingAsk], sizes: set[int], conditions: Conditions, last_price: int
    ) -> None:
        self._left: dict[str, int] = {}
        self._size: dict[str, int] = {}  # of the largest lot that fits
        cap = conditions.newcomer_cap
        worth: dict[str, int] = {}
        open_: dict[str, int] = {}
        for each in asks:
            ask, under_way = each.offered.ask, each.offered.newcomer_open
            if cap is not None and under_way is not None:
                open_[ask.provider] = under_way
                worth[ask.provider] = max(worth.get(ask.provider, last_price), ask.price)
        for provider, value in worth.items():
            if cap is not None and value:
                self._left[provider] = max(cap - open_[provider], 0) // value
                fitting = [size for size in sizes if size <= self._left[provider]]
                self._size[provider] = max(fitting, default=0)

    def taken(self, provider: str, lots: int) -> int:
        """With how many lots, of so many that its worker could take, an ask takes part."""
        if provider not in self._left:
            return lots
        size = self._size[provider]
        fit = min(lots, self._left[provider] // size) if size else 0
        self._left[provider] -= fit * size
        return fit

    def without(self, size: int) -> frozenset[str]:
        """Newcomers for whom a lot of this size is too much."""
        return frozenset(provider for provider, largest in self._size.items() if largest < size)


class _Speeds:
    """Providers by the slots of their slowest ask: the auction gives a lot any ask of a provider."""

    def __init__(self, asks: Iterable[BatchAsk]) -> None:
        self._slowest: dict[str, int] = {}
        for each in asks:
            provider, slots = each.ask.provider, each.ask.slots
            self._slowest[provider] = min(slots, self._slowest.get(provider, slots))
        self._known: dict[int, frozenset[str]] = {}

    def providers(self, slots: int) -> frozenset[str]:
        """Those whose every ask runs at least so many tasks side by side."""
        if slots not in self._known:
            self._known[slots] = frozenset(
                provider for provider, slowest in self._slowest.items() if slowest >= slots
            )
        return self._known[slots]


def _lots(ask: RestingAsk, largest: int) -> int:
    """Lots that the worker can take: each takes as many of its slots as it runs tasks side by side."""
    return max(ask.offered.free_slots // min(ask.offered.ask.slots, largest), 1)


def _anything(offered: Offered) -> Wanted:
    """A lot that every live ask for bids can serve."""
    customer = offered.ask.customer
    return Wanted(
        job="",
        lot=0,
        customer="" if customer == ZERO_ADDRESS else customer,
        product=offered.ask.product,
        max_cost=_ANY_PRICE,
        disputable=False,
        count=1,
        expiry=_EVER,
        deliver_by=_EVER,
        kind=KIND_BIDS,
    )
