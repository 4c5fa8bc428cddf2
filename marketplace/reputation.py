"""Reputation from the events that the indexer stored: the arithmetic that anyone can repeat with a node.

What was read stays in the process, so that each look reads only the events that came since; when the chain
took the newest of them back, all is read again.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
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
_FORGET_SECONDS: Final = 3600


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
        self._kept: dict[str, tuple[int, Record]] = {}  # with the chain's time of it

    def grades(self, providers: Collection[str], now: int) -> dict[str, Grade]:
        """Of each of these providers at the chain's time `now`; ten minutes old at most where nothing
        happened since."""
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
        kept = self._kept.get(provider)
        if kept is None or not 0 <= now - kept[0] < _FRESH_SECONDS:
            kept = self._kept[provider] = now, self._conduct.record(provider, now)
        return kept[1]

    def _read(self, connection: Connection, now: int) -> None:
        """Everything up to the newest stored event."""
        if self._last is not None and not _is_stored(connection, self._last):
            self._start()
        query = (
            select(chain_events)
            .where(chain_events.c.name.in_(_NAMES))
            .order_by(chain_events.c.block, chain_events.c.log_index)
        )
        if self._last is None:
            query = query.where(chain_events.c.time >= now - MEMORY)
        else:
            query = query.where(tuple_(chain_events.c.block, chain_events.c.log_index) > self._last[:2])
        for row in connection.execute(query).mappings():
            for provider in _happened(self._conduct, row):
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


def _happened(conduct: Conduct, row: RowMapping) -> tuple[str, ...]:
    """An event as it is stored; the providers whose record is another then."""
    data: dict[str, Any] = row["data"]
    deal = bytes.fromhex(data["deal"][2:])
    match row["name"]:
        case "DealOpened":
            legs = data["data"]["legs"]
            conduct.opened(deal, row["time"], data["data"]["customer"], [leg["provider"] for leg in legs])
        case "Settled":
            return conduct.settled(deal, Fact.unpack(int(data["fact"])).signed)
        case "Refused":
            return conduct.refused(deal)
        case "Expired":
            return conduct.expired(deal)
        case "Judged" if data["guilty"]:
            return conduct.found_guilty(deal)
    return ()
