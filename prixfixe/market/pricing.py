"""A bundle's price: what it should be, what it would have earned, and when no new one may be published.

A suggestion is expected asks x replicas x (1 + volatility + failure + verification) + gas; every term says
where it comes from and on how many samples it rests. Integers throughout, rounded up, in token units and
ten-thousandths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prixfixe.market.index import BPS, Status, Trade

DAY_SECONDS: Final = 86_400
LEAST_SAMPLES: Final = 20  # fewer say nothing of how often runs fail
DEFAULT_VOLATILITY_BPS: Final = 2_500
DEFAULT_FAILURE_BPS: Final = 300
DEFAULT_VERIFICATION_BPS: Final = 500


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a price. value: token units, or ten-thousandths of the asks for a margin. samples: how many
    observations it rests on; 0 for a default or a choice."""

    name: Literal["ask", "volatility", "failure", "verification", "gas"]
    value: int
    source: str
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """price: of one task with all its replicas, token units. max_cost: what its legs may cost together at
    most, so that a purchase still meets nine of ten asks without being sold below cost."""

    replicas: int
    terms: tuple[Term, ...]
    price: int
    max_cost: int


def volatility(p50: int | None, p90: int | None, trades: int, status: Status) -> Term:
    """How far nine of ten lots lie above the middle one."""
    if status == "fallback" or p50 is None or p90 is None or p50 == 0:
        return Term("volatility", DEFAULT_VOLATILITY_BPS, "a default: there is no index")
    return Term("volatility", -(-(p90 - p50) * BPS // p50), f"P90 above P50 of the {status} index", trades)


def failure(failed: int, settled: int) -> Term:
    """Deals that paid nobody, for each that did: their transactions and their time were spent in vain."""
    if failed + settled < LEAST_SAMPLES:
        return Term(
            "failure", DEFAULT_FAILURE_BPS, f"a default: fewer than {LEAST_SAMPLES} deals ended in 30 days"
        )
    return Term(
        "failure", -(-failed * BPS // max(settled, 1)), "deals that failed in 30 days", failed + settled
    )


def verification(replicas: int, chosen_bps: int | None) -> Term:
    """Tasks that are bought again elsewhere to check one provider's word."""
    if chosen_bps is not None:
        return Term("verification", chosen_bps, "chosen")
    if replicas > 1:
        return Term("verification", 0, "replicas check each other")
    return Term("verification", DEFAULT_VERIFICATION_BPS, "a default: one task in twenty bought again")


def suggest(replicas: int, ask: Term, margins: Sequence[Term], gas: Term) -> Suggestion:
    """The price of one task with so many replicas."""
    asks = ask.value * replicas
    volatile = sum(term.value for term in margins if term.name == "volatility")
    share = BPS + sum(term.value for term in margins)
    return Suggestion(
        replicas=replicas,
        terms=(ask, *margins, gas),
        price=-(-asks * share // BPS) + gas.value,
        max_cost=-(-asks * (BPS + volatile) // BPS),
    )


@dataclass(frozen=True, slots=True)
class Day:
    """start: unix seconds of its midnight, UTC. margin: what all its tasks together would have left, token
    units, below zero for a loss."""

    start: int
    tasks: int
    losses: int
    margin: int


@dataclass(frozen=True, slots=True)
class BackTest:
    """A price on the recorded market: each recorded task bought again at it. tasks: how many. losses: those
    that would have cost more than the price. unfilled: those whose asks were above the most that the offer
    may cost: they would have waited instead. margin: of all, token units. worst: the day with the least."""

    tasks: int
    losses: int
    unfilled: int
    margin: int
    worst: Day | None

    @property
    def loss_bps(self) -> int:
        """Losses of ten thousand tasks, rounded up."""
        return -(-self.losses * BPS // self.tasks) if self.tasks else 0


def back_test(
    trades: Iterable[Trade], *, price: int, max_cost: int, replicas: int = 1, gas: int = 0
) -> BackTest:
    """Every task that providers were paid for, as if this bundle had bought it: each replica at that trade's
    price. price, max_cost: of one task with all replicas."""
    days: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    unfilled = 0
    for trade in trades:
        cost = trade.price * replicas
        if cost > max_cost:
            unfilled += trade.tasks
            continue
        day = days[trade.time // DAY_SECONDS * DAY_SECONDS]
        left = price - cost - gas
        day[0] += trade.tasks
        day[1] += trade.tasks if left < 0 else 0
        day[2] += left * trade.tasks
    rows = [Day(start, *sums) for start, sums in sorted(days.items())]
    return BackTest(
        tasks=sum(day.tasks for day in rows) + unfilled,
        losses=sum(day.losses for day in rows),
        unfilled=unfilled,
        margin=sum(day.margin for day in rows),
        worst=min(rows, key=lambda day: day.margin, default=None),
    )


@dataclass(frozen=True, slots=True)
class Signs:
    """What the stop rules look at. spread, spread_before: P90 - P10 in ten-thousandths of P50, now and a day
    ago; None without an index. margin: what the bundle's settled deals left in a week, token units; None
    when there were none."""

    status: Status
    spread: int | None
    spread_before: int | None
    margin: int | None


def spread_bps(p10: int | None, p50: int | None, p90: int | None, status: Status) -> int | None:
    """How wide the middle four fifths of the market are; None without an index."""
    if status == "fallback" or p10 is None or p90 is None or not p50:
        return None
    return (p90 - p10) * BPS // p50


def stops(signs: Signs) -> tuple[str, ...]:
    """Why no new version may be published now, in words; empty when one may. A market that is too young for
    an index stops nothing: there is nothing yet that could have changed."""
    found = []
    if signs.status == "stale":
        found.append("the price index is stale: nothing was paid for a day")
    now, before = signs.spread, signs.spread_before
    if now is not None and before is not None and now >= 2 * max(before, 1):
        found.append(f"the spread of prices doubled in a day, from {_percent(before)} to {_percent(now)}")
    if signs.margin is not None and signs.margin < 0:
        found.append("this bundle's settled deals of a week cost more than they brought")
    return tuple(found)


def _percent(bps: int) -> str:
    return f"{bps / 100:.0f} %"
