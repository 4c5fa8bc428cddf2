"""The public depth of one product, kept between looks: only what changed since the last is counted anew.

An ask is shown while a bid's lot would find it (`rules.is_on_the_book`). When time alone changes that, as
its worker fell silent or it expired, it leaves with the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prixfixe.market.depth import Depth, Resting
from prixfixe.market.rules import Conditions, Wanted, is_on_the_book
from prixfixe.market.shelf import EARLY_SECONDS, Standing, Times
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import KIND_BIDS

# One task of anybody's bid: the rules of the depth look at nothing else of a lot.
_ANY_BID: Final = Wanted("", 0, ZERO_ADDRESS, bytes(32), 0, False, 1, 0, 0, kind=KIND_BIDS)


class Display:
    """At most one ask a worker. `now` is the service's time, `conditions.now` the chain's; other conditions
    are the same in all calls."""

    def __init__(self) -> None:
        self.depth = Depth()
        self._asks: dict[str, Standing] = {}
        self._shown: set[str] = set()
        self._bids: Mapping[bytes, Resting] = {}
        self._unseen: set[str] = set()  # workers whose asks changed since the last look
        self._times = (Times(), Times())  # when to look at a worker's ask again, our clock and the chain's
        self._seen = (float("-inf"), float("-inf"))

    @property
    def resting(self) -> int:
        """Asks, shown or not."""
        return len(self._asks)

    @property
    def live(self) -> int:
        """Asks that are shown."""
        return len(self._shown)

    def put(self, worker: str, standing: Standing | None) -> None:
        """A worker's ask from now on; None: it has none. Its account does not matter here."""
        if standing is not None:
            self._asks[worker] = standing
        elif self._asks.pop(worker, None) is None:
            return
        self._unseen.add(worker)

    def bids(self, bids: Mapping[bytes, Resting]) -> None:
        """Exactly these bids rest."""
        for order in self._bids.keys() - bids.keys():
            self.depth.drop(order)
        for order, resting in bids.items():
            self.depth.put(order, resting)
        self._bids = bids

    def become(self, conditions: Conditions, now: float) -> None:
        """Show what is to be seen now."""
        clocks = (now, float(conditions.now))
        due = self._unseen
        if any(clock < seen for clock, seen in zip(clocks, self._seen, strict=True)):
            due |= self._asks.keys()  # a clock was set back: nothing is known any more
            self._times = (Times(), Times())
        else:
            due |= self._times[0].due(now) | self._times[1].due(conditions.now)
        self._seen, self._unseen = clocks, set()
        for worker in due:
            self._show(worker, conditions, now)

    def _show(self, worker: str, conditions: Conditions, now: float) -> None:
        standing = self._asks.get(worker)
        name = worker.encode("ascii")
        if standing is None or not is_on_the_book(_ANY_BID, standing.offered(now), conditions):
            self.depth.drop(name)
            self._shown.discard(worker)
            return
        slots = min(standing.free_slots, standing.ask.slots)
        self.depth.put(name, Resting("ask", standing.ask.price, slots))
        self._shown.add(worker)
        # What is not shown comes back by a change of its own: a heartbeat, a renewal.
        self._times[0].add(worker, standing.heartbeat_at + conditions.heartbeat_seconds - EARLY_SECONDS)
        self._times[1].add(worker, standing.ask.expiry + 1)
