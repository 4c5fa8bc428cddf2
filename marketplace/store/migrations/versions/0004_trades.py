"""Trades: what was paid for settled lots.

Deals that were settled before are written as trades too, from their own rows.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    made = op.create_table(
        "trades",
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("deal", sa.String(length=66), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(length=66), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("worker", sa.String(length=42), nullable=False),
        sa.Column("customer", sa.String(length=42), nullable=False),
        sa.Column("bundle", sa.String(length=66), nullable=True),
        sa.Column("batch", sa.String(length=66), nullable=True),
        sa.CheckConstraint("kind IN ('bundle', 'flat', 'auction')", name=op.f("ck_trades_kind_known")),
        sa.PrimaryKeyConstraint("block", "log_index", "leg", name=op.f("pk_trades")),
    )
    op.create_index("ix_trades_product_time", "trades", ["product", "time"], unique=False)
    op.create_index("ix_trades_worker_time", "trades", ["worker", "time"], unique=False)
    op.create_index("ix_trades_deal", "trades", ["deal", "opening"], unique=False)
    assert made is not None
    rows = [row for deal in _settled() for row in _trades(*deal)]
    if rows:
        op.bulk_insert(made, rows)


def downgrade() -> None:
    op.drop_table("trades")


def _settled() -> list[tuple[object, ...]]:
    """Every deal that has paid, which until now was a bundle's, with its product."""
    found = op.get_bind().execute(
        sa.text(
            "SELECT deals.id, deals.opening, deals.deal, deals.fact, deals.ended, offers.product FROM deals"
            " JOIN jobs ON jobs.id = deals.job JOIN offers ON offers.offer_id = jobs.offer_id"
            " WHERE deals.fact IS NOT NULL"
        )
    )
    return [tuple(row) for row in found]


def _trades(
    identity: object, opening: object, deal: object, fact: object, ended: object, product: object
) -> list[dict[str, object]]:
    terms, place = _json(deal), _json(ended)
    word = int(str(fact))
    done, signed = word & 0xFFFF, word >> 16 & 0xFFFF
    return [
        {
            "block": place["block"],
            "log_index": place["log_index"],
            "leg": at,
            "time": place["time"],
            "deal": identity,
            "opening": opening,
            "product": product,
            "kind": "bundle",
            "price": int(leg["pay"]),
            "tasks": done,
            "provider": leg["provider"],
            "worker": leg["key"],
            "customer": terms["customer"],
            "bundle": terms["bundle"],
            "batch": None,
        }
        for at, leg in enumerate(terms["legs"])
        if signed >> at & 1 and done
    ]


def _json(value: object) -> dict[str, Any]:
    found = json.loads(value) if isinstance(value, str) else value
    assert isinstance(found, dict)
    return found
