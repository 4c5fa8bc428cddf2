"""The asks that rest, kept in this process for quotes: read once, then only what changed.

Before each use the store says what any process changed since the last (`marketplace.store.changes`), and
which slots are taken now; so what a quote tells of asks, heartbeats and capacity is of its own moment.
Accounts are of the chain: those of the providers that ask least, and some others, are looked at with each
quote; no account is older than `ACCOUNT_SECONDS`. What is under way with newcomers is of the last second; of
more than a thousand providers, of as many seconds as there are thousands.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Text, cast, select

from marketplace.chain import AccountView, ChainView
from marketplace.resting import MarketTerms, busy_slots, capabilities_of
from marketplace.store import changes
from marketplace.store.tables import asks, worker_changes, workers
from prixfixe.market.shelf import Shelf, Standing
from prixfixe.protocol.orders import Ask
from prixfixe.protocol.typed_data import format_bytes32

ACCOUNT_SECONDS: Final = 60.0
_BEST: Final = 16  # providers whose accounts are of the quote's own moment
_OTHERS: Final = 32  # accounts that are looked at anew beside them, the oldest first
_UNKNOWN: Final = AccountView(0, 0, 0)
_COUNTED_A_SECOND: Final = 1000  # providers whose grades are looked at, at most
_FRESH_SECONDS: Final = 1.0  # younger accounts are left alone


@dataclass(frozen=True, slots=True)
class _Row:
    """What the store says of a resting ask. text: of the ask, as it is stored."""

    text: str
    ask: Ask
    heartbeat_at: float
    draining: bool
    cool_until: float
    slots: int
    has: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Account:
    """An account as it was seen in a block, at a time of the service's clock."""

    view: AccountView
    block: int
    at: float


class LiveAsks:
    """One per process; used from any thread."""

    def __init__(
        self,
        terms: MarketTerms,
        clock: Callable[[], float] = time.time,
        under_way: Callable[[Collection[str], int], Mapping[str, int]] = lambda providers, now: {},
    ) -> None:
        """under_way: `Newcomers.under_way`."""
        self._terms = terms
        self._look_under_way = under_way
        self._under_way: Mapping[str, int] = {}
        self._counted = float("-inf")  # when that was, service clock
        self._clock = clock
        self._lock = threading.Lock()
        self._number: int | None = None
        self._rows: dict[str, dict[str, _Row]] = {}  # by worker and product
        self._sellers: Counter[str] = Counter()  # asks of each provider
        self._busy: Counter[str] = Counter()
        self._accounts: dict[str, _Account] = {}  # the one that was looked at longest ago comes first
        self._shelves: dict[str, Shelf] = {}
        self._unfiled: set[tuple[str, str]] = set()  # worker and product; their shelves are behind
        self._untold: set[tuple[str, str]] = set()  # of which `changed` has not told yet

    def accounts(self, product: bytes, connection: Connection) -> list[str]:
        """Providers whose accounts to look at for a quote of this product. Brings the asks up to date."""
        with self._lock:
            self._read(connection)
            now = self._clock()
            wanted = self._shelf(format_bytes32(product)).cheapest(_BEST)
            wanted |= self._sellers.keys() - self._accounts.keys()
            for older, (provider, account) in enumerate(self._accounts.items()):
                age = now - account.at
                if 0 <= age < _FRESH_SECONDS or (older >= _OTHERS and 0 <= age < ACCOUNT_SECONDS):
                    break
                wanted.add(provider)
            return sorted(wanted)

    @contextmanager
    def seen(self, product: bytes, view: ChainView) -> Iterator[Shelf]:
        """The product's asks, as they are now; `view` knows the accounts that `accounts` named. Keep it
        short: others wait."""
        with self._lock:
            now = self._clock()
            for provider, account in view.accounts.items():
                if provider in self._sellers:
                    self._saw(provider, account, view.block, now)
            self._count(view.time, now)
            conditions = self._terms.conditions(view.time)
            for worker, code in list(self._unfiled):
                row = self._rows.get(worker, {}).get(code)
                shelf = self._shelf(code)
                if row is None:
                    shelf.drop(worker)
                elif row.ask.provider in self._accounts:
                    account = self._accounts[row.ask.provider].view
                    shelf.put(self._standing(worker, row, account), conditions, now)
                else:
                    continue  # came after `accounts`, so nobody has looked yet
                self._unfiled.discard((worker, code))
            yield self._shelf(format_bytes32(product))

    def changed(self, connection: Connection) -> list[tuple[str, str, Standing | None]]:
        """Worker, product and ask of all that changed since the last call, None for an ask that is gone.
        Nothing is known of accounts here. For one caller, which keeps them."""
        with self._lock:
            self._read(connection)
            untold, self._untold = self._untold, set()
            found: list[tuple[str, str, Standing | None]] = []
            for worker, code in untold:
                row = self._rows.get(worker, {}).get(code)
                standing = None if row is None else self._standing(worker, row, _UNKNOWN)
                found.append((worker, code, standing))
            return found

    def busy(self, shelf: Shelf) -> list[str]:
        """Workers of a shelf with slots that are taken; within `seen`."""
        return sorted(worker for worker, slots in self._busy.items() if slots and worker in shelf)

    def _shelf(self, code: str) -> Shelf:
        if code not in self._shelves:
            self._shelves[code] = Shelf()
        return self._shelves[code]

    def _standing(self, worker: str, row: _Row, account: AccountView) -> Standing:
        return Standing(
            worker=worker,
            ask=row.ask,
            heartbeat_at=row.heartbeat_at,
            draining=row.draining,
            cool_until=row.cool_until,
            free_slots=row.slots - self._busy[worker],
            provider_free=account.free,
            provider_era=account.era,
            has=row.has,
            newcomer_open=self._under_way.get(row.ask.provider),
        )

    def _saw(self, provider: str, account: AccountView, block: int, now: float) -> None:
        known = self._accounts.get(provider)
        if known is not None and known.block > block:
            return
        self._accounts.pop(provider, None)
        self._accounts[provider] = _Account(account, block, now)
        if known is None or known.view != account:
            self._file_anew(provider)

    def _count(self, chain_time: int, now: float) -> None:
        """What is under way with newcomers, unless it was looked at just before."""
        age = now - self._counted
        if 0 <= age < min(max(_FRESH_SECONDS, len(self._sellers) / _COUNTED_A_SECOND), ACCOUNT_SECONDS):
            return
        found = self._look_under_way(list(self._sellers), chain_time)
        for provider in found.keys() | self._under_way.keys():
            if found.get(provider) != self._under_way.get(provider):
                self._file_anew(provider)
        self._under_way, self._counted = found, now

    def _file_anew(self, provider: str) -> None:
        for code, shelf in self._shelves.items():
            self._unfiled |= {(worker, code) for worker in shelf.of_provider(provider)}

    def _read(self, connection: Connection) -> None:
        number = changes.newest(connection)
        if number != self._number:
            for worker, rows in _rows(connection, self._number).items():
                self._become(worker, rows)
            self._number = number
        busy = busy_slots(connection)
        for worker in busy.keys() | self._busy.keys():
            if busy[worker] != self._busy[worker]:
                self._note({(worker, code) for code in self._rows.get(worker, {})})
        self._busy = busy

    def _note(self, changed: set[tuple[str, str]]) -> None:
        self._unfiled |= changed
        self._untold |= changed

    def _become(self, worker: str, found: dict[str, dict[str, Any]]) -> None:
        """A worker's asks from now on."""
        before = self._rows.pop(worker, {})
        rows = {}
        for code, fields in found.items():
            was = before.get(code)
            same = was is not None and was.text == fields["text"]
            ask = was.ask if same and was is not None else Ask.from_json(json.loads(fields["text"]))
            rows[code] = _Row(ask=ask, **fields)
        if rows:
            self._rows[worker] = rows
        self._note({(worker, code) for code in before.keys() | rows.keys()})
        self._sellers.subtract(row.ask.provider for row in before.values())
        self._sellers.update(row.ask.provider for row in rows.values())
        for provider in {row.ask.provider for row in before.values()}:
            if not self._sellers[provider]:
                del self._sellers[provider]
                self._accounts.pop(provider, None)


def _rows(connection: Connection, since: int | None) -> dict[str, dict[str, dict[str, Any]]]:
    """Asks by worker and product; of workers that changed since this number, of all when None."""
    query = select(
        workers.c.key,
        workers.c.heartbeat_at,
        workers.c.draining,
        workers.c.cool_until,
        cast(workers.c.resources, Text).label("resources"),
        asks.c.product,
        cast(asks.c.ask, Text).label("text"),
    ).select_from(workers.outerjoin(asks, asks.c.worker == workers.c.key))
    if since is not None:
        query = query.join(worker_changes, worker_changes.c.worker == workers.c.key)
        query = query.where(worker_changes.c.number > since)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for key, heartbeat_at, draining, cool_until, resources, product, text in connection.execute(query):
        of_worker = found.setdefault(key, {})
        if product is not None:
            of_worker[product] = {
                "text": text,
                "heartbeat_at": heartbeat_at,
                "draining": draining,
                "cool_until": cool_until,
                **_of_resources(resources),
            }
    return found


@lru_cache(maxsize=1024)
def _of_resources(resources: str) -> dict[str, Any]:
    told = json.loads(resources)
    return {"slots": int(told["slots"]), "has": capabilities_of(told)}
