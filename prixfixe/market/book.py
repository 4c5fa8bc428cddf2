"""Bids and asks as the auction sees them: what rests and may trade now, without what proves it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Buy:
    """A bid as the auction sees it.

    id: 32 bytes, the order's digest. limit: the most that one leg of one task may cost, token units. lots:
    free lots, filled from the first. replicas: distinct providers of each lot. whole: all its lots now, or
    none. providers: whom the customer admits; None: anyone. Its own provider account is never taken."""

    id: bytes
    customer: str
    limit: int
    lots: int = 1
    replicas: int = 1
    whole: bool = False
    providers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Sell:
    """An ask as the auction sees it.

    id: 32 bytes, the order's digest. price: the least pay of one task, token units. slots: lots that it can
    take now. customer: the only one that it serves; None: anyone.
    """

    id: bytes
    provider: str
    price: int
    slots: int = 1
    customer: str | None = None
