"""How much one account may keep waiting, so that nobody fills the book for all."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from marketplace.settings import ServiceSettings
from marketplace.store.tables import jobs
from prixfixe.errors import Conflict
from prixfixe.protocol.orders import Bid, Order


def require_room(connection: Connection, settings: ServiceSettings, order: Order) -> None:
    """Conflict (code `too-many-open`) when the account would have more bids or more tasks that wait or
    run than one may. Purchases of bundles count by their tasks only: they rest nowhere."""
    open_jobs = (jobs.c.customer == order.customer, jobs.c.state.in_(("queued", "running")))
    bids, tasks = connection.execute(
        select(
            func.count().filter(jobs.c.kind != "bundle"),
            func.coalesce(func.sum(jobs.c.order["tasks"].as_integer()), 0),
        ).where(*open_jobs)
    ).one()
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
