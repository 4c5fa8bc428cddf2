"""The public depth of every product, kept in this process between looks: what a look costs does not grow with
the asks that rest, only with what changed and with the bids."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from marketplace.chain import ChainView
from marketplace.live_asks import LiveAsks
from marketplace.resting import MarketTerms
from marketplace.store.tables import jobs, lots
from prixfixe.market.auction import leg_limit
from prixfixe.market.depth import Resting
from prixfixe.market.display import Display
from prixfixe.market.rules import UNPAID
from prixfixe.protocol.typed_data import format_bytes32

# Made once: making a statement takes as long as running it.
_WAITING: Final = (
    select(jobs.c.id, jobs.c.price, jobs.c.replicas, func.count(lots.c.lot).label("free"))
    .join(lots, (lots.c.job == jobs.c.id) & (lots.c.state == "free"))
    .where(jobs.c.product == bindparam("code"), jobs.c.kind == "auction", jobs.c.expiry >= bindparam("now"))
    .group_by(jobs.c.id)
    # Out until it is funded, as the last batch found it.
    .having(func.coalesce(func.max(lots.c.waiting_reason), "") != UNPAID)
)


class LiveDepth:
    """One per process; used from any thread."""

    def __init__(self, terms: MarketTerms, live: LiveAsks, clock: Callable[[], float] = time.time) -> None:
        self._terms = terms
        self._live = live
        self._clock = clock
        self._lock = threading.Lock()
        self._displays: dict[str, Display] = {}

    @contextmanager
    def seen(self, connection: Connection, product: bytes, view: ChainView) -> Iterator[Display]:
        """What is to be seen of a product now. Keep it short: others wait."""
        code = format_bytes32(product)
        with self._lock:
            for worker, changed, standing in self._live.changed(connection):
                self._display(changed).put(worker, standing)
            display = self._display(code)
            display.bids(_bids(connection, code, view))
            display.become(self._terms.conditions(view.time), self._clock())
            yield display

    def _display(self, code: str) -> Display:
        if code not in self._displays:
            self._displays[code] = Display()
        return self._displays[code]


def _bids(connection: Connection, code: str, view: ChainView) -> Mapping[bytes, Resting]:
    waiting = connection.execute(_WAITING, {"code": code, "now": view.time})
    return {
        bytes.fromhex(row.id[2:]): Resting(
            "bid", leg_limit(row.price, row.replicas, view.fee_bps), row.free * row.replicas
        )
        for row in waiting
    }
