"""What a provider's deals say of it: a pure function of the chain's events, so that anyone gets the same.

Every leg of every deal ends in one way: *paid* (it signed what was settled), *unsigned* (the deal was settled
without its signature: outvoted, or late), *refused* or *expired* (with all the deal's legs, since the events
do not say whose fault it was), or *guilty* (a judge found what it signed wrong). An outcome counts from the
moment in which its deal was opened, half as much after each week, and not at all after thirty days.

**The score**, in ten-thousandths, is `good / (good + bad)`:

- good: the weight of paid legs. Of one customer's, no more than five fresh legs and a quarter of what all
  other customers' weigh: whoever buys from itself adds little.
- bad: the weight of expired and unsigned legs, and a quarter of that of refused ones; of one customer's
  refusals no more than two fresh ones count, since a customer can order what nobody can run.

**The grade** is what the matcher looks at between equal prices, lowest first: `proven` with ten fresh paid
legs and a score of nine tenths; `doubtful` with a fresh bad leg and a lower score; `guilty` with one guilty
leg; `new` otherwise. Within a grade the seeded hash decides, so that the best do not take everything. A new
provider is not behind anybody who asks more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from enum import IntEnum
from typing import Final, Literal, get_args

from prixfixe.market.index import faded
from prixfixe.protocol.reputation import ProviderRecord, Reputation

DAY: Final = 86_400
HALF_LIFE: Final = 7 * DAY  # seconds in which an outcome loses half its weight
MEMORY: Final = 30 * DAY  # seconds after which it is forgotten
FRESH: Final = 1 << 32  # the weight of an outcome of this moment
SCORE: Final = 10_000
_GOOD_SCORE: Final = 9_000
_PROVEN_LEGS: Final = 10
_OWN_LEGS: Final = 5  # of one customer, beside a quarter of all others'
_REFUSALS_OF_ONE: Final = 2

Outcome = Literal["paid", "unsigned", "refused", "expired", "guilty"]


class Grade(IntEnum):
    """In the order of preference between equal prices. A guilty provider comes after every other, whatever
    it asks."""

    PROVEN = 0
    NEW = 1
    DOUBTFUL = 2
    GUILTY = 3


@dataclass(frozen=True, slots=True)
class Leg:
    """How one leg of a deal ended. time: of the block that opened the deal, unix seconds."""

    time: int
    customer: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Record:
    """A provider's legs of the last thirty days, by how they ended. score: ten-thousandths; None when nothing
    counts."""

    provider: str
    paid: int
    unsigned: int
    refused: int
    expired: int
    guilty: int
    score: int | None
    grade: Grade

    def told(self) -> ProviderRecord:
        """As it crosses HTTP."""
        fields = {each.name: getattr(self, each.name) for each in dataclass_fields(self)}
        return ProviderRecord.model_validate({**fields, "grade": self.grade.name.lower()})


def ranked(records: Iterable[Record], block: int, time: int) -> Reputation:
    """Records as they cross HTTP, the best first. block: the newest that was read. time: of the records."""
    ordered = sorted(records, key=lambda each: (each.grade, -(each.score or 0), each.provider))
    return Reputation(items=tuple(each.told() for each in ordered), block=block, time=time)


def record(provider: str, legs: Iterable[Leg], now: int) -> Record:
    """What these legs of a provider say at `now`, unix seconds. Legs of the future count as of now."""
    counted = [leg for leg in legs if now - leg.time <= MEMORY]
    counts: dict[Outcome, int] = dict.fromkeys(get_args(Outcome), 0)
    paid: dict[str, int] = defaultdict(int)  # weights by customer
    refused: dict[str, int] = defaultdict(int)
    bad = 0
    for leg in counted:
        counts[leg.outcome] += 1
        weight = faded(now - leg.time, HALF_LIFE)
        if leg.outcome == "paid":
            paid[leg.customer] += weight
        elif leg.outcome == "refused":
            refused[leg.customer] += weight
        elif leg.outcome in ("unsigned", "expired"):
            bad += weight
    total = sum(paid.values())
    good = sum(min(weight, _OWN_LEGS * FRESH + (total - weight) // 4) for weight in paid.values())
    bad += sum(min(weight, _REFUSALS_OF_ONE * FRESH) for weight in refused.values()) // 4
    score = good * SCORE // (good + bad) if good + bad else None
    grade = _grade(counts["guilty"], good, bad, score)
    return Record(provider, score=score, grade=grade, **{str(each): count for each, count in counts.items()})


def _grade(guilty: int, good: int, bad: int, score: int | None) -> Grade:
    if guilty:
        return Grade.GUILTY
    if score is None:
        return Grade.NEW
    if score < _GOOD_SCORE:
        return Grade.DOUBTFUL if bad >= FRESH else Grade.NEW
    return Grade.PROVEN if good >= _PROVEN_LEGS * FRESH else Grade.NEW


@dataclass(slots=True)
class _Deal:
    """A deal that was opened. outcomes: of its legs; empty while it runs."""

    time: int
    customer: str
    providers: tuple[str, ...]
    outcomes: tuple[Outcome, ...] = ()


class Conduct:
    """The deals of a market as its events tell of them, in the chain's order. An event of a deal whose
    opening is not known, because it was before the memory, changes nothing."""

    def __init__(self) -> None:
        self._deals: dict[tuple[bytes, int], _Deal] = {}  # by id and how often it was opened before
        self._openings: dict[bytes, int] = {}
        self._of_provider: dict[str, dict[tuple[bytes, int], _Deal]] = {}

    def opened(self, deal: bytes, time: int, customer: str, providers: Sequence[str]) -> None:
        """`DealOpened`. providers: of its legs, in their order."""
        opening = self._openings.get(deal, -1) + 1
        self._openings[deal] = opening
        known = self._deals[deal, opening] = _Deal(time, customer, tuple(providers))
        for provider in known.providers:
            self._of_provider.setdefault(provider, {})[deal, opening] = known

    def settled(self, deal: bytes, signed: int) -> tuple[str, ...]:
        """`Settled`. signed: a bit for each leg that signed, the first leg lowest. Gives, as all that follow,
        the providers whose record is another now."""
        return self._end(deal, lambda at, was: "paid" if signed >> at & 1 else "unsigned")

    def refused(self, deal: bytes) -> tuple[str, ...]:
        """`Refused`."""
        return self._end(deal, lambda at, was: "refused")

    def expired(self, deal: bytes) -> tuple[str, ...]:
        """`Expired`."""
        return self._end(deal, lambda at, was: "expired")

    def found_guilty(self, deal: bytes) -> tuple[str, ...]:
        """`Judged`, guilty: those who signed."""
        return self._end(deal, lambda at, was: "guilty" if was in ("paid", None) else was)

    def providers(self) -> list[str]:
        """All with a deal that is remembered."""
        return sorted(self._of_provider)

    def record(self, provider: str, now: int) -> Record:
        """What is known of a provider, at the chain's time `now`."""
        legs = [
            Leg(deal.time, deal.customer, outcome)
            for deal in self._of_provider.get(provider, {}).values()
            for own, outcome in zip(deal.providers, deal.outcomes, strict=False)  # no outcomes: it runs
            if own == provider
        ]
        return record(provider, legs, now)

    def forget(self, before: int) -> None:
        """Deals that were opened before this second."""
        for key, deal in [(key, deal) for key, deal in self._deals.items() if deal.time < before]:
            del self._deals[key]
            if self._openings.get(key[0]) == key[1]:
                del self._openings[key[0]]
            for provider in deal.providers:
                own = self._of_provider.get(provider)
                if own is not None:
                    own.pop(key, None)
                    if not own:
                        del self._of_provider[provider]

    def _end(self, deal: bytes, outcome: Callable[[int, Outcome | None], Outcome]) -> tuple[str, ...]:
        """Gives each leg of the deal's newest opening its outcome, by its place and what it was before."""
        known = self._deals.get((deal, self._openings.get(deal, -1)))
        if known is None:
            return ()
        before = known.outcomes or (None,) * len(known.providers)
        known.outcomes = tuple(outcome(at, was) for at, was in enumerate(before))
        return known.providers
