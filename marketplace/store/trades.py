"""Trades: what was paid for lots that ran, one row a paid leg.

A match is no trade: a deal that is refused or expires has paid nobody. So the rows are written when the
chain says `Settled`, from the deal, its fact and its place alone, and are taken away when the chain takes
that back. A deal that a case found guilty keeps its row, which every question here leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.store.listed import among
from marketplace.store.many import execute_each
from marketplace.store.settling import PAID_STATES
from marketplace.store.tables import chain_events, deals, jobs, trades
from marketplace.store.terms import terms_of
from prixfixe.protocol.deals import NO_BUNDLE, Fact
from prixfixe.protocol.typed_data import format_bytes32

# Made once: making a statement takes longer than running it.
_PRODUCTS: Final = select(jobs.c.id, jobs.c.product).where(among(jobs.c.id, "jobs"))
_CLEARED: Final = (
    select(chain_events.c.transaction, chain_events.c.log_index, chain_events.c.data)
    .where(among(chain_events.c.block, "blocks"), chain_events.c.name == "Cleared")
    .order_by(chain_events.c.block, chain_events.c.log_index.desc())
)
_TRADE: Final = insert(trades)


@dataclass(frozen=True, slots=True)
class Paid:
    """A deal that was settled. row: of `deals`. fact: packed. where: `receipt.TransactionReference` as
    JSON."""

    row: RowMapping
    fact: int
    where: dict[str, Any]


def lots_traded(connection: Connection, paid: Sequence[Paid]) -> None:
    """One trade for each leg that signed and was paid. A settlement that paid nothing is no trade."""
    of = list({each.row["job"] for each in paid})
    products = {row.id: row.product for row in connection.execute(_PRODUCTS, {"jobs": of})}
    cleared = _cleared(connection, paid)
    rows = []
    for each in paid:
        row, where, settled = each.row, each.where, Fact.unpack(each.fact)
        deal, product = terms_of(row), products.get(row["job"])
        if settled.done == 0 or product is None:
            continue
        batch = _batch(cleared, row["opened"]) if deal.bundle == NO_BUNDLE else None
        kind = "bundle" if deal.bundle != NO_BUNDLE else "flat" if batch is None else "auction"
        rows += [
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
        ]
    execute_each(connection, _TRADE, rows)


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


def _cleared(connection: Connection, paid: Sequence[Paid]) -> Sequence[Any]:
    """Every `Cleared` of the blocks in which these deals were opened, newest first."""
    blocks = {each.row["opened"]["block"] for each in paid if terms_of(each.row).bundle == NO_BUNDLE}
    return connection.execute(_CLEARED, {"blocks": list(blocks)}).all() if blocks else ()


def _batch(cleared: Sequence[Any], opened: dict[str, Any]) -> str | None:
    """The published batch that opened a deal: named by `Cleared`, which goes before its deals in their
    transaction."""
    for row in cleared:
        if row.transaction == opened["transaction"] and row.log_index < opened["log_index"]:
            return str(row.data["batch"])
    return None
