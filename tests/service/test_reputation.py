"""A provider's grade follows what happened: at once what was bad, soon what was good, however many deals it
has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, insert

from marketplace import reputation
from marketplace.reputation import Reputations
from marketplace.store import batches
from marketplace.store.database import Store
from marketplace.store.tables import chain_events
from prixfixe.market.reputation import Conduct, Grade
from prixfixe.protocol.deals import Fact
from tests.support.stores import migrated_store

PROVIDER = "0x" + "aa" * 20
NOW = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = migrated_store(tmp_path / "store.db")
    yield store
    store.close()


class Story:
    """Deals of one provider, each with a customer of its own, as the indexer stores their events."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._block = 0

    def deals(self, end: str, count: int, **data: Any) -> None:
        rows = []
        for _ in range(count):
            deal = f"0x{self._block + 1:064x}"
            customer = f"0x{self._block + 1:040x}"
            opened = {"deal": deal, "data": {"customer": customer, "legs": [{"provider": PROVIDER}]}}
            for name, told in (("DealOpened", opened), (end, {"deal": deal, **data})):
                self._block += 1
                rows.append(
                    {
                        "block": self._block,
                        "log_index": 0,
                        "block_hash": f"0x{self._block:064x}",
                        "transaction": f"0x{self._block:064x}",
                        "time": NOW,
                        "name": name,
                        "data": told,
                    }
                )
        with self._store.write() as connection:
            connection.execute(insert(chain_events), rows)


def test_many_deals_do_not_make_every_look_slow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, looks=0)
    monkeypatch.setattr(reputation, "time", SimpleNamespace(monotonic=lambda: clock.now))
    record = Conduct.record

    def slow(conduct: Conduct, provider: str, now: int) -> Any:
        """As of a provider whose deals take a second to look at."""
        clock.now += 1.0
        clock.looks += 1
        return record(conduct, provider, now)

    monkeypatch.setattr(Conduct, "record", slow)
    known, story = Reputations(store, SimpleNamespace()), Story(store)

    def grade() -> Grade:
        return known.grades([PROVIDER], NOW)[PROVIDER]

    assert grade() is Grade.NEW
    story.deals("Settled", 20, fact=str(Fact(done=1, signed=1, time=NOW).pack()))
    assert grade() is Grade.NEW
    clock.now += 49.0
    assert (grade(), clock.looks) == (Grade.NEW, 1)
    clock.now += 1.0
    assert (grade(), clock.looks) == (Grade.PROVEN, 2)
    assert (grade(), clock.looks) == (Grade.PROVEN, 2), "nothing happened since"
    story.deals("Expired", 20)
    assert (grade(), clock.looks) == (Grade.DOUBTFUL, 3), "what was bad counts at once"


def test_a_look_reads_what_is_new_and_not_all_that_was(store: Store) -> None:
    """By SQLite's plan, which does not depend on how much there is: what each look of the matcher asks."""
    known, asked = Reputations(store, SimpleNamespace()), []
    known.grades([PROVIDER], NOW)
    Story(store).deals("Settled", 1, fact=str(Fact(done=1, signed=1, time=NOW).pack()))
    known.grades([PROVIDER], NOW)

    def hear(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", hear)
    known.grades([PROVIDER], NOW)
    with store.read() as connection:
        assert batches.busy_with(connection) == {}
    event.remove(store.engine, "before_cursor_execute", hear)
    plans = {}
    with store.read() as connection:
        for statement, parameters in asked:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans[statement] = [row[3] for row in steps]
    assert len(plans) == 3
    for statement, steps in plans.items():
        (step,) = steps  # nothing is sorted
        assert "ix_transactions_clears" in step or "((block,log_index)>" in step or "log_index=?" in step, (
            statement,
            step,
        )
