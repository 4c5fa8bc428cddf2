"""Reputation from the events that the indexer stored: the arithmetic that anyone can repeat with a node.

What was read stays in the process, so that each look reads only the events that came since; when the chain
took the newest of them back, all is read again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select, tuple_
from sqlalchemy.engine import RowMapping

from marketplace.chain import ChainReader
from marketplace.store.database import Store
from marketplace.store.tables import chain_events, cursor
from prixfixe.chain.conduct import OF_CONDUCT
from prixfixe.market.reputation import MEMORY, Conduct, Grade, Record, ranked
from prixfixe.protocol.deals import Fact
from prixfixe.protocol.reputation import ProviderRecord, Reputation

_NAMES: Final = tuple(each.__name__ for each in OF_CONDUCT)
_FRESH_SECONDS: Final = 600  # a record whose deals are the same is not computed anew before
_SHARE: Final = 50  # one that was only paid since is computed anew for a fiftieth of the time at most
_FORGET_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class _Kept:
    """A record as it was computed. now: the chain's time. until: it stands, though paid deals came (clock of
    this process): a provider's record is made of all its deals of thirty days, which may be very many."""

    now: int
    record: Record
    until: float


class Reputations:
    """One per process; used from any thread."""

    def __init__(self, store: Store, chain: ChainReader) -> None:
        self._store = store
        self._chain = chain
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._conduct = Conduct()
        self._last: tuple[int, int, str] | None = None  # block, log index and hash of the last event read
        self._forgot = 0
        self._kept: dict[str, _Kept] = {}
        self._paid: set[str] = set()  # of those who are kept: deals of theirs were paid since

    def grades(self, providers: Collection[str], now: int) -> dict[str, Grade]:
        """Of each of these providers at the chain's time `now`; ten minutes old at most where nothing
        happened since, and where all that happened was paid, as old as fifty times what a look at all of its
        deals takes."""
        with self._lock:
            with self._store.read() as connection:
                self._read(connection, now)
            return {provider: self._recent(provider, now).grade for provider in providers}

    def records(self, provider: str | None = None) -> Reputation:
        """The record of a provider, or of all with a deal in the memory."""
        now = self._chain.look().time
        with self._lock:
            with self._store.read() as connection:
                self._read(connection, now)
                block = connection.execute(select(cursor.c.block).limit(1)).scalar_one_or_none() or 0
            named = self._conduct.providers() if provider is None else [provider]
            return ranked((self._conduct.record(each, now) for each in named), block, now)

    def record(self, provider: str, now: int) -> ProviderRecord:
        """The record of a provider at the chain's time `now`."""
        with self._lock:
            with self._store.read() as connection:
                self._read(connection, now)
            return self._conduct.record(provider, now).told()

    def _recent(self, provider: str, now: int) -> Record:
        kept, began = self._kept.get(provider), time.monotonic()
        is_young = kept is not None and 0 <= now - kept.now < _FRESH_SECONDS
        if kept is not None and is_young and (began < kept.until or provider not in self._paid):
            return kept.record
        found = self._conduct.record(provider, now)
        ended = time.monotonic()
        self._kept[provider] = _Kept(now, found, ended + _SHARE * (ended - began))
        self._paid.discard(provider)
        return found

    def _read(self, connection: Connection, now: int) -> None:
        """Everything up to the newest stored event."""
        if self._last is not None and not _is_stored(connection, self._last):
            self._start()
        query = select(chain_events).order_by(chain_events.c.block, chain_events.c.log_index)
        if self._last is None:
            query = query.where(chain_events.c.name.in_(_NAMES), chain_events.c.time >= now - MEMORY)
        else:
            # Whatever their names: with these the index of names would be taken, which has all that ever was.
            query = query.where(tuple_(chain_events.c.block, chain_events.c.log_index) > self._last[:2])
        for row in connection.execute(query).mappings():
            providers, paid = _happened(self._conduct, row) if row["name"] in _NAMES else ((), True)
            if paid:
                self._paid.update(providers)
            else:
                for provider in providers:
                    self._kept.pop(provider, None)
            self._last = row["block"], row["log_index"], row["block_hash"]
        if now - self._forgot >= _FORGET_SECONDS:
            self._conduct.forget(now - MEMORY)
            self._forgot = now


def _is_stored(connection: Connection, last: tuple[int, int, str]) -> bool:
    query = select(chain_events.c.block_hash).where(
        chain_events.c.block == last[0], chain_events.c.log_index == last[1]
    )
    return connection.execute(query).scalar_one_or_none() == last[2]


def _happened(conduct: Conduct, row: RowMapping) -> tuple[tuple[str, ...], bool]:
    """An event as it is stored; the providers whose record is another then, and whether they were paid, all
    of them."""
    data: dict[str, Any] = row["data"]
    deal = bytes.fromhex(data["deal"][2:])
    match row["name"]:
        case "DealOpened":
            legs = data["data"]["legs"]
            conduct.opened(deal, row["time"], data["data"]["customer"], [leg["provider"] for leg in legs])
        case "Settled":
            signed = Fact.unpack(int(data["fact"])).signed
            providers = conduct.settled(deal, signed)
            return providers, signed == (1 << len(providers)) - 1
        case "Refused":
            return conduct.refused(deal), False
        case "Expired":
            return conduct.expired(deal), False
        case "Judged" if data["guilty"]:
            return conduct.found_guilty(deal), False
    return (), False
