"""The archivist: writes to the archive what the tables could not be made anew without.

It comes after the work and holds nobody up: what was ordered or reported in its last seconds may be missing
when the store is lost at that moment.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from sqlalchemy import func, select

from marketplace.archive import Archive
from marketplace.store.database import Store
from marketplace.store.tables import bundles, chain_events, jobs
from scheduler.duty import Duty

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 2.0
_AT_ONCE: Final = 500
_TURNING_BLOCKS: Final = 64  # a re-organisation may put another event where one was read
_PATIENCE_SECONDS: Final = 86_400.0  # for who settled by itself and has not reported yet
_ENDS: Final = ("Settled", "Refused", "Expired")


class Archivist(Duty):
    """Goes through orders by their number, and through ended deals in the chain's order."""

    name = "archivist"

    def __init__(self, store: Store, archive: Archive) -> None:
        super().__init__(store)
        self._archive: Final = archive
        # Of the blocks that may still turn: events whose deal is archived already.
        self._done: set[tuple[str, int]] = set()

    def took_over(self) -> None:
        self._done.clear()

    def run_once(self) -> float:
        position = self._archive.position()
        self._bundles()
        block = position.get("block", 0)
        order = self._orders(position.get("order", 0), block)
        self._archive.moved({"order": order, "block": self._results(block)})
        return _PAUSE_SECONDS

    def _bundles(self) -> None:
        with self.store.read() as connection:
            for row in connection.execute(select(bundles.c.id, bundles.c.version)).all():
                self._archive.put_bundle(connection, row.id, row.version)

    def _orders(self, last: int, block: int) -> int:
        """Archive the orders after number `last`; the last number. block: up to which the results are."""
        with self.store.read() as connection:
            newest = connection.execute(select(func.max(jobs.c.number))).scalar_one()
        if last > (newest or 0):
            last = 0  # the tables are those of an older backup
        while not self.should_stop():
            newer = select(jobs.c.id, jobs.c.number).where(jobs.c.number > last)
            with self.store.read() as connection:
                found = connection.execute(newer.order_by(jobs.c.number).limit(_AT_ONCE)).all()
                self._archive.put_orders(connection, [row.id for row in found])
            if not found:
                break
            last = int(found[-1].number)
            self._archive.moved({"order": last, "block": block})  # whatever comes of the results
        return last

    def _results(self, block: int) -> int:
        """Archive the deals that ended after `block`; the block up to which none will end otherwise."""
        with self.store.read() as connection:
            newest = int(connection.execute(select(func.max(chain_events.c.block))).scalar_one() or 0)
        if block > newest:
            block = 0
        ended = (
            select(chain_events.c.block, chain_events.c.block_hash, chain_events.c.log_index)
            .add_columns(chain_events.c.time, chain_events.c.data["deal"].as_string().label("deal"))
            .where(chain_events.c.block > block, chain_events.c.name.in_(_ENDS))
            .order_by(chain_events.c.block, chain_events.c.log_index)
        )
        with self.store.read() as connection:
            rows = connection.execute(ended).all()
        new = [row for row in rows if (row.block_hash, row.log_index) not in self._done]
        held: int | None = None
        for at in range(0, len(new), _AT_ONCE):
            if self.should_stop():
                return block
            some = new[at : at + _AT_ONCE]
            with self.store.read() as connection:
                missing = self._archive.put_results(connection, [row.deal for row in some])
            for row in some:
                if row.deal not in missing or time.time() - row.time > _PATIENCE_SECONDS:
                    self._done.add((row.block_hash, row.log_index))
                elif held is None:
                    held = int(row.block) - 1
        up_to = max(block, min(newest - _TURNING_BLOCKS, newest if held is None else held))
        if up_to > block:
            self._forget(up_to)
        return up_to

    def _forget(self, block: int) -> None:
        """Events up to `block` are not asked for again."""
        with self.store.read() as connection:
            later = connection.execute(
                select(chain_events.c.block_hash, chain_events.c.log_index).where(
                    chain_events.c.block > block, chain_events.c.name.in_(_ENDS)
                )
            )
            self._done &= {(row.block_hash, row.log_index) for row in later}
