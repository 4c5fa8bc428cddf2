"""A bid that takes the place of another: one leaves the book as the other comes."""

from __future__ import annotations

from sqlalchemy import Connection, select

from marketplace.store.tables import jobs
from marketplace.store.transitions import job_cancelled
from prixfixe.errors import Conflict, InvalidInput, NotFound
from prixfixe.protocol.orders import Bid, Order
from prixfixe.protocol.wire import Reason

_LEFT = "the new order was not taken, and nothing was charged for it"


def make_way(connection: Connection, old: str, order: Order, new: str) -> None:
    """Take the bid `old` of the order's customer off the book, with its reason. new: the order's job.
    NotFound, InvalidInput (a bundle's) or Conflict (over, or a worker has some of it) otherwise; who calls
    undoes it when the new one is not taken."""
    row = connection.execute(
        select(jobs.c.kind, jobs.c.state).where(jobs.c.id == old, jobs.c.customer == order.customer)
    ).one_or_none()
    if row is None:
        raise NotFound(
            f"there is no job {old} of {order.customer} to replace; {_LEFT}",
            code="replaced-unknown",
            hint="see `prixfixe market orders`",
        )
    if row.kind == "bundle" or not isinstance(order, Bid):
        raise InvalidInput(
            f"a bid can take the place of a bid, and nothing of a bundle's order; {_LEFT}",
            code="not-a-bid",
            hint="cancel it and order anew: a bundle's price does not change with the order",
        )
    if row.state in ("settled", "refunded"):
        raise Conflict(
            f"job {old} is {row.state} already, so there is nothing to replace; {_LEFT}",
            code="nothing-to-replace",
            hint="order without replacing it",
        )
    reason = Reason(code="replaced", message=f"replaced by {new}; nothing was charged", fault="customer")
    try:
        job_cancelled(connection, old, reason)
    except Conflict as error:
        raise Conflict(
            f"job {old} cannot be replaced: it was matched, or some of it was; {_LEFT}",
            code="too-late-to-replace",
            hint="what still waits of it leaves the book with `prixfixe market cancel`; order the rest anew",
        ) from error
