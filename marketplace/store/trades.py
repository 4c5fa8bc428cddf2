"""Trades: what was paid for lots that ran, one row a paid leg.

A match is no trade: a deal that is refused or expires has paid nobody. So the rows are written when the
chain says `Settled`, from the deal, its fact and its place alone, and are taken away when the chain takes
that back. A deal that a case found guilty keeps its row, which every question here leaves out.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.store.settling import PAID_STATES
from marketplace.store.tables import chain_events, deals, jobs, trades
from prixfixe.protocol.deals import Deal, Fact
from prixfixe.protocol.typed_data import format_bytes32

_NO_BUNDLE = bytes(32)


def lot_traded(connection: Connection, row: RowMapping, fact: int, where: dict[str, Any]) -> None:
    """The deal of `row` was settled at `where`: one trade for each leg that signed and was paid.

    fact: packed. A settlement that paid nothing is no trade."""
    deal, settled = Deal.from_json(row["deal"]), Fact.unpack(fact)
    product = _product(connection, row["job"])
    if settled.done == 0 or product is None:
        return
    batch = _batch(connection, row["opened"]) if deal.bundle == _NO_BUNDLE else None
    kind = "bundle" if deal.bundle != _NO_BUNDLE else "flat" if batch is None else "auction"
    connection.execute(
        insert(trades),
        [
            {
                "block": where["block"],
                "log_index": where["log_index"],
                "leg": at,
                "time": where["time"],
                "deal": row["id"],
                "opening": row["opening"],
                "product": product,
                "kind": kind,
                "price": leg.pay,
                "tasks": settled.done,
                "provider": leg.provider,
                "worker": leg.key,
                "customer": deal.customer,
                "bundle": format_bytes32(deal.bundle) if kind == "bundle" else None,
                "batch": batch,
            }
            for at, leg in enumerate(deal.legs)
            if settled.signed >> at & 1
        ],
    )


def lot_untraded(connection: Connection, deal: str, opening: int) -> None:
    """The chain took the settlement back."""
    connection.execute(delete(trades).where(trades.c.deal == deal, trades.c.opening == opening))


def executed(*columns: ColumnElement[Any]) -> Select[Any]:
    """A question about trades that stand: of deals that are settled, or disputed and not yet judged."""
    return (
        select(*(columns or trades.c))
        .join(deals, (deals.c.id == trades.c.deal) & (deals.c.opening == trades.c.opening))
        .where(deals.c.state.in_(PAID_STATES))
    )


def _product(connection: Connection, job: str) -> str | None:
    """What was sold, 0x-hex."""
    return connection.execute(select(jobs.c.product).where(jobs.c.id == job)).scalar_one_or_none()


def _batch(connection: Connection, opened: dict[str, Any]) -> str | None:
    """The published batch that opened the deal: named by `Cleared`, which goes before its deals in their
    transaction."""
    cleared = connection.execute(
        select(chain_events.c.data)
        .where(
            chain_events.c.block == opened["block"],
            chain_events.c.transaction == opened["transaction"],
            chain_events.c.log_index < opened["log_index"],
            chain_events.c.name == "Cleared",
        )
        .order_by(chain_events.c.log_index.desc())
        .limit(1)
    ).scalar_one_or_none()
    return None if cleared is None else str(cleared["batch"])
