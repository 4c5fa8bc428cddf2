"""Who has no record, and what is under way with them: what the cap of `prixfixe.market.rules` looks at.

Without a record is whose deals say nothing of it yet (the grade `new`), and who was caught by a check and has
had no result found right since, whatever its grade."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from marketplace.reputation import Reputations
from marketplace.resting import newcomers_open
from marketplace.store import checks
from marketplace.store.database import Store
from prixfixe.market.reputation import Grade


class Newcomers:
    """One per process; used from any thread. grades: of the chain's events."""

    def __init__(self, store: Store, reputations: Reputations) -> None:
        self._store = store
        self._reputations = reputations
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None  # which findings `_caught` knows of
        self._caught: frozenset[str] = frozenset()

    def under_way(
        self, providers: Collection[str], now: int, grades: Mapping[str, Grade] | None = None
    ) -> dict[str, int]:
        """Of these providers those without a record at the chain's time `now`, each with its pay in open
        deals and in matches that are on their way, token units. grades: of them at that time, by who has
        them already."""
        if grades is None:
            grades = self._reputations.grades(providers, now)
        with self._store.read() as connection:
            caught = self._read(connection)
            without = [each for each in providers if grades[each] is Grade.NEW or each in caught]
            return newcomers_open(connection, without)

    def _read(self, connection: Connection) -> frozenset[str]:
        with self._lock:
            seen = checks.progress(connection)
            if seen != self._seen:
                self._seen, self._caught = seen, checks.without_record(connection)
            return self._caught
