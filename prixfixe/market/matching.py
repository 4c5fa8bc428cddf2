"""Which lot goes to which workers: a pure function of lots, asks and a seed.

Lots are served in their order of arrival. Each takes the cheapest asks that every rule admits, of as many
distinct providers as it has replicas. Between equal prices the grade of the provider's reputation decides,
within a grade, for a lot of one replica, how much of its image and inputs the worker says it has, and then a
hash of seed, lot and worker, so that speed buys nothing, nobody picks who checks whom, and anyone who knows
the inputs can repeat it. A provider whose worker failed the lot or fell silent on it, such a worker itself,
and after them a provider that was found guilty lately, are taken only where the others are too few or,
together, above the price.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from prixfixe.market.reputation import Grade
from prixfixe.market.rules import (
    FAILED_IT,
    UNPAID,
    Conditions,
    Offered,
    Wanted,
    explain,
    slots_taken,
    why_not,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A lot and the asks that serve it, one a replica."""

    wanted: Wanted
    offered: tuple[Offered, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """pairs: what to match. waiting: every other lot with the reason in words. spent: of those, the ones that
    failed on every worker that asks for their product."""

    pairs: tuple[Pair, ...]
    waiting: tuple[tuple[Wanted, str], ...]
    spent: tuple[Wanted, ...] = ()


def match(
    wanted: Iterable[Wanted],
    offered: Sequence[Offered],
    conditions: Conditions,
    seed: bytes,
    purses: Mapping[str, int] | None = None,
) -> Round:
    """One round: no worker gets more tasks at once than it has free slots, and its asks share those slots.
    purses: what each customer can spend, token units; None: enough."""
    left = dict(purses or {})
    free = {ask.worker: ask.free_slots for ask in offered}
    given: Counter[str] = Counter()  # in this round, by provider: token units
    by_product: dict[bytes, list[Offered]] = {}
    for ask in offered:
        by_product.setdefault(ask.ask.product, []).append(ask)
    pairs: list[Pair] = []
    waiting: list[tuple[Wanted, str]] = []
    spent: list[Wanted] = []
    for lot in wanted:
        if purses is not None and lot.cost > left[lot.customer]:
            waiting.append((lot, UNPAID))
            continue
        candidates: list[Offered] = []
        excluded: list[str] = []
        for ask in by_product.get(lot.product, []):
            present = replace(ask, free_slots=free[ask.worker], newcomer_open=_open(ask, given))
            why = why_not(lot, present, conditions)
            if why is None:
                candidates.append(ask)
            else:
                excluded.append(why)
        chosen, why = _chosen(lot, candidates, excluded, seed)
        if why is not None:
            waiting.append((lot, why))
            if excluded and not candidates and set(excluded) == {FAILED_IT}:
                spent.append(lot)
            continue
        for ask in chosen:
            free[ask.worker] -= slots_taken(ask.ask, lot.count)
            given[ask.ask.provider] += ask.ask.price * lot.count
        if purses is not None:
            left[lot.customer] -= lot.cost
        pairs.append(Pair(lot, chosen))
    return Round(tuple(pairs), tuple(waiting), tuple(spent))


def _open(ask: Offered, given: Mapping[str, int]) -> int | None:
    """What is under way with a newcomer by now."""
    return None if ask.newcomer_open is None else ask.newcomer_open + given.get(ask.ask.provider, 0)


def _chosen(
    lot: Wanted, candidates: Sequence[Offered], excluded: Sequence[str], seed: bytes
) -> tuple[tuple[Offered, ...], str | None]:
    """The best ask of each of the best providers; or why there are not enough of them."""
    keys = {ask.worker: _preference(lot, ask, seed) for ask in candidates}
    chosen = _first_of_each(lot, sorted(candidates, key=lambda ask: keys[ask.worker]))
    if _cost(chosen) > lot.max_cost:
        chosen = _first_of_each(lot, sorted(candidates, key=lambda ask: keys[ask.worker][1:]))
    if not chosen:
        return (), explain(excluded)
    if len(chosen) < lot.replicas:
        others = f"; {explain(excluded)}" if excluded else ""
        return (), f"{lot.replicas} providers are needed and {len(chosen)} could take it{others}"
    if _cost(chosen) > lot.max_cost:
        return (), f"the best {lot.replicas} asks together are above the price"
    return chosen, None


def _first_of_each(lot: Wanted, ordered: Sequence[Offered]) -> tuple[Offered, ...]:
    """The first asks of distinct providers, as many as the lot has replicas."""
    best: dict[str, Offered] = {}
    for ask in ordered:
        best.setdefault(ask.ask.provider, ask)
    return tuple(best.values())[: lot.replicas]


def _cost(chosen: Sequence[Offered]) -> int:
    """Of one task, token units."""
    return sum(ask.ask.price for ask in chosen)


def _preference(
    lot: Wanted, ask: Offered, seed: bytes
) -> tuple[tuple[bool, bool, bool], int, Grade, int, bytes]:
    """Smallest first: last choices behind all others, then price, grade, what is at hand, and hash. What a
    worker says of itself decides nothing where replicas check each other."""
    text = f"{lot.job}:{lot.lot}:{ask.worker}".encode("ascii")
    last = (ask.grade is Grade.GUILTY, ask.worker in lot.lost_on, ask.ask.provider in lot.tried)
    at_hand = len(lot.uses & ask.cached) if lot.replicas == 1 else 0
    return (last, ask.ask.price, ask.grade, -at_hand, hashlib.sha256(seed + text).digest())
