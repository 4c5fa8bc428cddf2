"""Many calls in one: each is as if made alone, and one that fails is skipped and reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from prixfixe.protocol.ledger.matching import match_bid, match_bid_at, match_purchase
from prixfixe.protocol.ledger.settling import expire, settle
from prixfixe.protocol.ledger.state import Ledger, LedgerError, require

EntryPoint: TypeAlias = Callable[..., Ledger]


@dataclass(frozen=True, slots=True)
class Item:
    """One call of a batch. arguments: None when its bytes say nothing that the entry point could read."""

    entry: EntryPoint
    arguments: tuple[Any, ...] | None


def match_many(ledger: Ledger, sender: str, items: Sequence[Item]) -> Ledger:
    """Calls of `match_purchase` and `match_bid`."""
    return _each(ledger, sender, items, {match_purchase: match_purchase, match_bid: match_bid})


def settle_many(ledger: Ledger, sender: str, items: Sequence[Item]) -> Ledger:
    """Calls of `settle`."""
    return _each(ledger, sender, items, {settle: settle})


def expire_many(ledger: Ledger, sender: str, items: Sequence[Item]) -> Ledger:
    """Calls of `expire`."""
    return _each(ledger, sender, items, {expire: expire})


def clear(ledger: Ledger, sender: str, price: int, batch: bytes, items: Sequence[Item]) -> Ledger:
    """The auction: calls of `match_bid` in which every leg is paid `price`. batch: hash of the published
    batch. Scheduler."""
    require(sender == ledger.scheduler, "MarketNotScheduler")
    ledger = ledger.tell("Cleared", batch=batch, price=price)
    return _each(ledger, sender, items, {match_bid: partial(match_bid_at, one_price=price)})


def _each(
    ledger: Ledger, sender: str, items: Sequence[Item], allowed: Mapping[EntryPoint, EntryPoint]
) -> Ledger:
    """allowed: what an item may call, and what that means here. Anything else refuses the whole batch."""
    for index, item in enumerate(items):
        require(item.entry in allowed, "MarketBatchCall")
        try:
            require(item.arguments is not None, "")
            ledger = allowed[item.entry](ledger, sender, *(item.arguments or ()))
        except LedgerError as error:
            ledger = ledger.tell("Skipped", index=index, code=error.reason)
    return ledger
