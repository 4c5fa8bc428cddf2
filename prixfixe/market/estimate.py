"""What a bid would cost by the asks that rest now: pure arithmetic over what the rules admit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from prixfixe.market.auction import BPS
from prixfixe.market.rules import slots_taken
from prixfixe.protocol.orders import Ask

# A lot is short enough that a worker which fails loses little, and long enough that gas is a small part.
MOST_TASKS_A_LOT: Final = 100
_LOTS_A_SLOT: Final = 2


class Seller(Protocol):
    """What an estimate looks at of an ask. free_slots: of its worker."""

    @property
    def worker(self) -> str: ...
    @property
    def ask(self) -> Ask: ...
    @property
    def free_slots(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """price: of one task in the dearest lot, all replicas and the fee included. total: of all tasks, should
    each lot take the best asks that are left; once all slots are taken, the rest costs what the dearest
    did. at_once: lots that find room now."""

    price: int
    total: int
    at_once: int


def with_fee(cost: int, fee_bps: int) -> int:
    """What a customer pays for legs that cost so much, token units: as the contract rounds."""
    return cost + cost * fee_bps // BPS


def lot_size(tasks: int, slots: int, replicas: int) -> int:
    """Tasks of a lot, so that those who can run it share the order: some lots for each slot of theirs."""
    lots = max(1, slots // replicas) * _LOTS_A_SLOT
    return max(1, min(MOST_TASKS_A_LOT, -(-tasks // lots)))


def estimate(sizes: Sequence[int], replicas: int, offered: Iterable[Seller], fee_bps: int) -> Estimate | None:
    """The cost of lots with so many tasks each; None when too few distinct providers can run one.

    offered: asks that the rules admit but for being busy; a worker's free slots are shared by its asks.
    """
    by_price = sorted(offered, key=lambda each: (each.ask.price, each.worker))
    if len({each.ask.provider for each in by_price}) < replicas:
        return None
    free = {each.worker: each.free_slots for each in by_price}
    dearest = total = at_once = 0
    left = list(sizes)
    while left:
        legs = _best(by_price, replicas, left[0], free)
        if len(legs) < replicas:
            break
        for leg in legs:
            free[leg.worker] -= slots_taken(leg.ask, left[0])
        cost = with_fee(sum(leg.ask.price for leg in legs), fee_bps)
        dearest = max(dearest, cost)  # a short last lot may find a cheaper place than those before it
        total += cost * left.pop(0)
        at_once += 1
    if not at_once:  # all are busy: they will be asked when they are free
        idle = dict.fromkeys(free, max(sizes))
        legs = _best(by_price, replicas, 1, idle)
        dearest = with_fee(sum(leg.ask.price for leg in legs), fee_bps)
    return Estimate(dearest, total + dearest * sum(left), at_once)


def _best(by_price: Sequence[Seller], replicas: int, size: int, free: dict[str, int]) -> list[Seller]:
    """The cheapest asks of distinct providers with room for a lot of so many tasks."""
    legs: dict[str, Seller] = {}
    for each in by_price:
        if free[each.worker] >= slots_taken(each.ask, size) and each.ask.provider not in legs:
            legs[each.ask.provider] = each
            if len(legs) == replicas:
                break
    return list(legs.values())
