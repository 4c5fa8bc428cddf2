"""How much one account may keep waiting, so that nobody fills the book for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from marketplace.settings import ServiceSettings
from marketplace.store.tables import jobs, lots
from prixfixe.errors import Conflict
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Bid, Order

WAITING_LOTS: Final = ("free", "matching")  # their money is still in the account
# Made once: making a statement takes longer than running it.
_OPEN: Final = (jobs.c.customer == bindparam("customer"), jobs.c.state.in_(("queued", "running")))
_COUNT: Final = select(
    func.count().filter(jobs.c.kind != "bundle"),
    func.coalesce(func.sum(jobs.c.order["tasks"].as_integer()), 0),
).where(*_OPEN)
_WAITING: Final = (
    select(func.coalesce(func.sum(lots.c["count"] * jobs.c.price), 0))
    .select_from(lots.join(jobs, jobs.c.id == lots.c.job))
    .where(*_OPEN, lots.c.state.in_(WAITING_LOTS))
)


@dataclass(slots=True)
class Load:
    """What an account has that waits or runs. bids, tasks: in number. waiting: what its unmatched lots will
    cost: promised, and still in the account."""

    bids: int
    tasks: int
    waiting: Money

    def add(self, order: Order) -> None:
        """An order that was taken."""
        self.bids += isinstance(order, Bid)
        self.tasks += order.tasks
        self.waiting = Money(self.waiting.units + order.total.units)


def load_of(connection: Connection, customer: str) -> Load:
    """Read it."""
    of = {"customer": customer}
    bids, tasks = connection.execute(_COUNT, of).one()
    return Load(bids, int(tasks), Money(int(connection.execute(_WAITING, of).scalar_one())))


def require_room(load: Load, settings: ServiceSettings, order: Order) -> None:
    """Conflict (code `too-many-open`) when the account would have more bids or more tasks that wait or
    run than one may. Purchases of bundles count by their tasks only: they rest nowhere."""
    bids, tasks = load.bids, load.tasks
    if isinstance(order, Bid) and bids >= settings.max_open_bids:
        raise _too_many(
            f"the account has {bids:,} bids that wait or run, and one may have {settings.max_open_bids:,}",
            "put many tasks into one bid (up to 65,536), or",
            settings.max_open_bids,
        )
    if tasks + order.tasks > settings.max_open_tasks:
        raise _too_many(
            f"the account has {tasks:,} tasks that wait or run, this order has {order.tasks:,}, and one may "
            f"have {settings.max_open_tasks:,}",
            "order fewer, or",
            settings.max_open_tasks,
        )


def _too_many(message: str, instead: str, most: int) -> Conflict:
    return Conflict(
        f"{message}; nothing was charged",
        code="too-many-open",
        hint=f"{instead} wait until some have ended, or cancel what waits (`prixfixe jobs cancel JOB`)",
        retryable=False,
        most=most,
    )
