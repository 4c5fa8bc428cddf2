"""The price index of a product: what a task has cost lately, from executed lots only.

A resting order can be withdrawn, so it says nothing here; a trade has cost its maker money. The index is a
weighted median of clearing prices: a lot weighs its tasks, half as much after each `half_life`, and no
maker, provider or customer, weighs more than `cap` of the whole, so that one account that trades with itself
moves the median by at most `cap` of the distribution, however much it trades. Integers throughout: anyone
who has the trades gets the same figures.

Weighted percentiles are the least price at or below which at least that share of the weight lies (the
inverse of the empirical distribution, Hyndman and Fan's type 1, which is always a price that was paid).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

BPS: Final = 10_000
_HOUR: Final = 3600
_ONE: Final = 1 << 32
_STEPS: Final = 24  # in which one half-life is cut
_STEP: Final = 4_172_697_914  # 2^32 * 2^(-1/24), rounded down

Status = Literal["live", "stale", "fallback"]


@dataclass(frozen=True, slots=True)
class Trade:
    """One leg of one executed lot. time: of its block, unix seconds. price: of one task, token units."""

    time: int
    price: int
    tasks: int
    provider: str
    customer: str


@dataclass(frozen=True, slots=True)
class IndexRules:
    """half_life: seconds in which a trade loses half its weight. memory: seconds after which it is forgotten.
    cap_bps: the most that one maker may weigh, in ten-thousandths. live_seconds: an index whose newest trade
    is older is stale. least_makers: fewer providers than these say nothing of a market."""

    half_life: int = 24 * _HOUR
    memory: int = 7 * 24 * _HOUR
    cap_bps: int = 2_000
    live_seconds: int = 24 * _HOUR
    least_makers: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.cap_bps <= BPS or self.least_makers * self.cap_bps < BPS:
            raise ValueError("with so few makers the cap cannot hold: least_makers x cap_bps is below 10,000")
        if self.half_life < _STEPS or self.memory < 1 or self.live_seconds < 1:
            raise ValueError("half_life is at least 24 seconds, memory and live_seconds are above zero")


@dataclass(frozen=True, slots=True)
class Index:
    """status: live; stale, nothing traded lately; fallback, too few makers, and the prices are those of the
    fallback, or None. p10, p50, p90: token units a task. trades, makers: how many counted. newest: time of
    the newest trade."""

    status: Status
    p10: int | None
    p50: int | None
    p90: int | None
    trades: int
    makers: int
    newest: int | None


def price_index(
    trades: Iterable[Trade], now: int, rules: IndexRules = IndexRules(), fallback: int | None = None
) -> Index:
    """The index at `now`, unix seconds. fallback: the price to show where the market says nothing yet.
    Trades of the future (a clock that went back) count as of now."""
    counted = [trade for trade in trades if now - trade.time <= rules.memory and trade.tasks > 0]
    newest = max((trade.time for trade in counted), default=None)
    makers = len({trade.provider for trade in counted})
    customers = len({trade.customer for trade in counted})
    if makers < rules.least_makers or customers < 2:
        return Index("fallback", fallback, fallback, fallback, len(counted), makers, newest)
    weights = [trade.tasks * faded(now - trade.time, rules.half_life) for trade in counted]
    weights = _capped(counted, weights, rules, lambda trade: trade.provider)
    if customers * rules.cap_bps >= BPS:
        weights = _capped(counted, weights, rules, lambda trade: trade.customer)
    p10, p50, p90 = _percentiles([(t.price, w) for t, w in zip(counted, weights, strict=True)], (10, 50, 90))
    assert newest is not None
    status: Status = "live" if now - newest <= rules.live_seconds else "stale"
    return Index(status, p10, p50, p90, len(counted), makers, newest)


def faded(age: int, half_life: int) -> int:
    """2^32 halved once each half-life, in 24 steps each."""
    steps = max(age, 0) * _STEPS // half_life
    whole, part = divmod(steps, _STEPS)
    weight = _ONE
    for _ in range(part):
        weight = weight * _STEP >> 32
    return max(weight >> whole, 1)


def _capped(
    trades: Sequence[Trade], weights: Sequence[int], rules: IndexRules, maker: Callable[[Trade], str]
) -> list[int]:
    """The weights with none of the makers above the cap of what is left: the heaviest are brought down to
    one level, the highest at which that is so."""
    of_maker: dict[str, int] = defaultdict(int)
    for trade, weight in zip(trades, weights, strict=True):
        of_maker[maker(trade)] += weight
    heaviest = sorted(of_maker.values(), reverse=True)
    level, rest = heaviest[0], sum(heaviest)
    if level * BPS > rules.cap_bps * rest:
        for count, weight in enumerate(heaviest, start=1):
            rest -= weight
            # The `count` heaviest at a level L weigh count * L together: L <= cap * (count * L + rest).
            room = BPS - count * rules.cap_bps
            level = rules.cap_bps * rest // room if room > 0 else weight
            if room <= 0 or count == len(heaviest) or level >= heaviest[count]:
                break
    return [
        weight if of_maker[maker(trade)] <= level else weight * level // of_maker[maker(trade)]
        for trade, weight in zip(trades, weights, strict=True)
    ]


def _percentiles(prices: list[tuple[int, int]], percents: Sequence[int]) -> list[int]:
    prices.sort()
    total = sum(weight for _, weight in prices)
    found: list[int] = []
    passed = 0
    wanted = list(percents)
    for price, weight in prices:
        passed += weight
        while wanted and passed * 100 >= wanted[0] * total:
            found.append(price)
            wanted.pop(0)
    return found
