"""Which rows of the outbox leave together.

Rows of one kind that wait at the same time go out as one call of the contract: it costs a transaction less
for each, and one signature, one estimate and one receipt serve them all. A row that is alone waits for
company only as long as the settings say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import RowMapping

from scheduler.calls import MANY


@dataclass(frozen=True, slots=True)
class Company:
    """most_items, most_bytes: of call data, most_gas: what one transaction may hold; a chain may allow less
    gas. gather_seconds: how long a row waits for others of its kind; 0: it takes along who is there.

    Nodes take no transaction above 128 KiB; EIP-7825 caps one at 2^24 gas.
    """

    most_items: int = 80
    most_bytes: int = 100_000
    most_gas: int = 15_000_000
    gather_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A row with its call data."""

    row: RowMapping
    data: bytes


def gather(
    rows: Sequence[RowMapping], now: float, company: Company
) -> tuple[list[list[RowMapping]], float | None]:
    """Rows that leave together now, in the order of the first of each, and after how many seconds the next
    leave, when some wait for company.

    rows: pending ones in the order of their ids. now: service clock.
    """
    groups: list[list[RowMapping]] = []
    filling: dict[str, list[RowMapping]] = {}
    for row in rows:
        group = filling.get(row["call"])
        if group is None or len(group) >= company.most_items:
            group = []
            groups.append(group)
            if row["call"] in MANY:
                filling[row["call"]] = group
        group.append(row)
    ready, waits = [], []
    for group in groups:
        wait = company.gather_seconds - (now - min(float(row["created_at"]) for row in group))
        if group[0]["call"] not in MANY or len(group) >= company.most_items or wait <= 0:
            ready.append(group)
        else:
            waits.append(wait)
    return ready, min(waits, default=None)


def halves(wishes: Sequence[Wish]) -> tuple[Sequence[Wish], Sequence[Wish]]:
    """What is too much for one transaction, for two."""
    middle = len(wishes) // 2
    return wishes[:middle], wishes[middle:]
