"""The asks of one product, kept sorted between quotes, so that a quote need not ask every rule of every ask.

Asks that the rules cannot tell apart but by price, provider and worker stand in one group, by price. Of a
group the rules are asked once for each span of prices that a lot tells apart, and their answer counts for all
of it; asks whose provider or worker a lot names are asked one by one. What comes out is what
`prixfixe.market.rules.diagnose` says of all of them, at a hundredth of the work. When time alone changes what
a rule says of an ask (silence, expiry, the end of a cool-down), the ask moves to another group as the time
passes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice, pairwise
from operator import itemgetter
from typing import Final, NamedTuple

from prixfixe.market.rules import (
    RULES,
    Conditions,
    Offered,
    Rule,
    Tally,
    Wanted,
    WhyNot,
    excluding,
    serves_when_idle,
)
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import Ask

_ANY_LOT: Final = tuple(rule for rule in RULES if rule.any_lot)
# Given to rules that do not look at the lot.
_NO_LOT: Final = Wanted("", 0, ZERO_ADDRESS, bytes(32), 0, False, 1, 0, 0)
# An ask is asked again this long before its silence is too long by this module's arithmetic: a difference of
# two times and a sum of two times are rounded differently.
EARLY_SECONDS: Final = 0.001
_SCANNED: Final = 8  # asks of a group that are looked through for one more provider


@dataclass(frozen=True, slots=True)
class Standing:
    """A resting ask with what is known of its worker and its provider's account; times on the service's
    clock."""

    worker: str
    ask: Ask
    heartbeat_at: float
    draining: bool
    cool_until: float
    free_slots: int
    provider_free: int
    provider_era: int
    has: frozenset[str] = frozenset()
    newcomer_open: int | None = None

    def offered(self, now: float) -> Offered:
        """As the rules see it at the service's time `now`."""
        return Offered(
            worker=self.worker,
            ask=self.ask,
            silent_seconds=now - self.heartbeat_at,
            draining=self.draining,
            cooling=self.cool_until > now,
            free_slots=self.free_slots,
            provider_free=self.provider_free,
            provider_era=self.provider_era,
            has=self.has,
            newcomer_open=self.newcomer_open,
        )


class _Place(NamedTuple):
    """Where in a group an ask stands: by price, then worker."""

    price: int
    worker: str


class _Key(NamedTuple):
    """What the rules look at beside price, provider and worker. excluded: which of the rules that look at no
    lot exclude the ask. free: slots that are free, as far as one lot could take them."""

    excluded: tuple[bool, ...]
    kinds: int
    customer: str
    slots: int
    free: int
    has: frozenset[str]
    newcomer_open: int | None


class _Group:
    """Asks that the rules tell apart by nothing but price, provider and worker, in order of price."""

    def __init__(self) -> None:
        self.places: list[_Place] = []
        self.providers: list[str] = []

    def add(self, place: _Place, provider: str) -> None:
        at = bisect_left(self.places, place)
        self.places.insert(at, place)
        self.providers.insert(at, provider)

    def remove(self, place: _Place) -> None:
        at = bisect_left(self.places, place)
        del self.places[at], self.providers[at]

    def without(self, workers: set[str]) -> _Group:
        """The group without these workers; itself when it has none of them."""
        kept = [at for at, place in enumerate(self.places) if place.worker not in workers]
        if len(kept) == len(self.places):
            return self
        rest = _Group()
        rest.places = [self.places[at] for at in kept]
        rest.providers = [self.providers[at] for at in kept]
        return rest


class Times:
    """The next time of each worker, on one clock."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def add(self, worker: str, time: float) -> None:
        """Not later than at this time."""
        if time < self._next.get(worker, float("inf")):
            self._next[worker] = time
            heappush(self._heap, (time, worker))

    def due(self, now: float) -> set[str]:
        """Whose time has come, which they then have no more."""
        found = set()
        while self._heap and self._heap[0][0] <= now:
            time, worker = heappop(self._heap)
            if self._next.get(worker) == time:
                del self._next[worker]
                found.add(worker)
        return found


class Shelf:
    """At most one ask a worker. `now` is the service's time, `conditions.now` the chain's; other conditions
    are the same in all calls."""

    def __init__(self) -> None:
        self._asks: dict[str, Standing] = {}
        self._keys: dict[str, _Key] = {}
        self._groups: dict[_Key, _Group] = {}
        self._workers: defaultdict[str, set[str]] = defaultdict(set)  # by provider
        self._times = (
            Times(),
            Times(),
        )  # when to look at a worker's ask again, on our clock and the chain's
        self._slots = 0
        self._seen = (float("-inf"), float("-inf"))

    def __len__(self) -> int:
        return len(self._asks)

    def __contains__(self, worker: object) -> bool:
        return worker in self._asks

    def get(self, worker: str) -> Standing | None:
        """The worker's ask."""
        return self._asks.get(worker)

    def of_provider(self, provider: str) -> frozenset[str]:
        """Its workers whose asks stand here."""
        return frozenset(self._workers.get(provider, ()))

    def put(self, standing: Standing, conditions: Conditions, now: float) -> None:
        """An ask rests from now on, in place of its worker's last."""
        worker, ask = standing.worker, standing.ask
        was = self._asks.get(worker)
        if was is not None and (was.ask.price, was.ask.provider) != (ask.price, ask.provider):
            self.drop(worker)
        if (before := self._asks.get(worker)) is not None:
            self._slots -= max(before.free_slots, 1)
        self._slots += max(standing.free_slots, 1)
        self._asks[worker] = standing
        self._workers[ask.provider].add(worker)
        self._file(worker, conditions, now)

    def drop(self, worker: str) -> None:
        """An ask rests no more; nothing happens when it did not."""
        standing = self._asks.pop(worker, None)
        if standing is not None:
            self._slots -= max(standing.free_slots, 1)
            self._unfile(standing)
            workers = self._workers[standing.ask.provider]
            workers.discard(worker)
            if not workers:
                del self._workers[standing.ask.provider]

    def become(self, conditions: Conditions, now: float) -> None:
        """Move what the time that has passed changes."""
        clocks = (now, float(conditions.now))
        if any(clock < seen for clock, seen in zip(clocks, self._seen, strict=True)):
            due = set(self._asks)  # a clock was set back: nothing is known any more
            self._times = (Times(), Times())
        else:
            due = self._times[0].due(now) | self._times[1].due(conditions.now)
        self._seen = clocks
        for worker in due:
            if worker in self._asks:
                self._file(worker, conditions, now)

    def diagnose(self, wanted: Wanted, conditions: Conditions, now: float) -> WhyNot:
        """What `rules.diagnose` says of all asks."""
        tally = Tally(wanted, conditions)
        for group, first, last, rules, offered in self._spans(wanted, conditions, now):
            tally.count(rules, last - first, islice(group.providers, first, last))
            if tally.is_farther(rules, offered.ask.price):
                continue
            if offered.ask.price <= wanted.max_cost:  # all are as near: the least worker's is taken
                least = min(islice(group.places, first, last), key=itemgetter(1))
                offered = self._asks[least.worker].offered(now)
            tally.judge(rules, offered)
        return tally.why()

    def able(self, wanted: Wanted, conditions: Conditions, now: float) -> list[Standing]:
        """The asks that could serve the lot now or once their workers are idle, by price, then worker."""
        places: list[_Place] = []
        for group, first, last, rules, _ in self._spans(wanted, conditions, now):
            if serves_when_idle(rules):
                places += group.places[first:last]
        places.sort()
        return [self._asks[place.worker] for place in places]

    def cheapest(self, providers: int) -> set[str]:
        """So many providers that ask least, of those that no rule excludes whatever the lot; and as many of
        those that one does."""
        found: set[str] = set()
        for excluded in (False, True):
            places: list[tuple[_Place, str]] = []
            for key, group in self._groups.items():
                if any(key.excluded) == excluded:
                    places += islice(zip(group.places, group.providers, strict=True), providers * _SCANNED)
            found.update(islice(dict.fromkeys(provider for _, provider in sorted(places)), providers))
        return found

    @property
    def slots(self) -> int:
        """Tasks that its workers can take now; a busy worker counts as one that takes one."""
        return self._slots

    @property
    def least_slots(self) -> int:
        """The fewest tasks that one of its asks runs side by side; 1 when there is none."""
        return min((key.slots for key in self._groups), default=1)

    def _spans(
        self, wanted: Wanted, conditions: Conditions, now: float
    ) -> Iterator[tuple[_Group, int, int, list[Rule], Offered]]:
        """All asks in spans of which the rules say the same: group, first, behind the last, the rules that
        exclude them, and the cheapest."""
        self.become(conditions, now)
        apart = {*self._workers.get(wanted.customer, ()), *(wanted.failed_on & self._asks.keys())}
        for provider in wanted.providers or ():
            apart |= self._workers.get(provider, set())
        beside: defaultdict[_Key, set[str]] = defaultdict(set)
        for worker in apart:
            beside[self._keys[worker]].add(worker)
        for key, whole in self._groups.items():
            group = whole.without(beside[key]) if key in beside else whole
            cuts = {0, len(group.places)}
            # Prices that rules tell apart: nothing, up to what the lot pays, up to a newcomer's cap.
            told = [1, wanted.max_cost + 1]
            if key.newcomer_open is not None and conditions.newcomer_cap is not None:
                told.append((conditions.newcomer_cap - key.newcomer_open) // wanted.count + 1)
            cuts |= {bisect_left(group.places, (price, "")) for price in told}
            ends = sorted(cuts)
            for first, last in pairwise(ends):
                offered = self._asks[group.places[first].worker].offered(now)
                yield group, first, last, excluding(wanted, offered, conditions), offered
        for worker in apart:
            offered = self._asks[worker].offered(now)
            alone = _Group()
            alone.add(_Place(offered.ask.price, worker), offered.ask.provider)
            yield alone, 0, 1, excluding(wanted, offered, conditions), offered

    def _file(self, worker: str, conditions: Conditions, now: float) -> None:
        """Into the group where it belongs now, and a time to look again."""
        standing = self._asks[worker]
        ask, offered = standing.ask, standing.offered(now)
        key = _Key(
            tuple(not rule.holds(_NO_LOT, offered, conditions) for rule in _ANY_LOT),
            ask.kinds,
            ask.customer,
            ask.slots,
            min(standing.free_slots, ask.slots),
            standing.has,
            standing.newcomer_open if conditions.newcomer_cap is not None else None,
        )
        if self._keys.get(worker) != key:
            self._unfile(standing)
            self._keys[worker] = key
            if key not in self._groups:
                self._groups[key] = _Group()
            self._groups[key].add(_Place(ask.price, worker), ask.provider)
        self._look_again(standing, conditions, now)

    def _unfile(self, standing: Standing) -> None:
        key = self._keys.pop(standing.worker, None)
        if key is not None:
            group = self._groups[key]
            group.remove(_Place(standing.ask.price, standing.worker))
            if not group.places:
                del self._groups[key]

    def _look_again(self, standing: Standing, conditions: Conditions, now: float) -> None:
        """After these times a rule may say something else of it; before them none does."""
        ours, chains = self._times
        silence = conditions.heartbeat_seconds
        if now - standing.heartbeat_at <= silence:
            ours.add(standing.worker, standing.heartbeat_at + silence - EARLY_SECONDS)
        if standing.cool_until > now:
            ours.add(standing.worker, standing.cool_until)
        if standing.ask.expiry >= conditions.now:
            chains.add(standing.worker, standing.ask.expiry)
