"""Managed accounts as their operator sees them: from the tables alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from marketplace.store.account_tables import accounts, members, people, top_ups
from prixfixe.protocol.money import Money


@dataclass(frozen=True, slots=True)
class Listed:
    """owners: their e-mail addresses. credited: by top-ups, deposited or on their way."""

    number: int
    address: str
    name: str
    channel: str
    created_at: int
    owners: tuple[str, ...]
    credited: Money

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "address": self.address,
            "name": self.name,
            "channel": self.channel,
            "created_at": self.created_at,
            "owners": list(self.owners),
            "credited": str(self.credited.units),
        }


def list_accounts(connection: Connection) -> tuple[Listed, ...]:
    """All, in the order in which they were opened."""
    owning = (
        select(members.c.account, people.c.email)
        .join(people, people.c.id == members.c.person)
        .where(members.c.role == "owner")
        .order_by(people.c.email)
    )
    owners: dict[int, list[str]] = {}
    for row in connection.execute(owning):
        owners.setdefault(row.account, []).append(row.email)
    sums = select(top_ups.c.account, func.sum(top_ups.c.amount).label("sum")).group_by(top_ups.c.account)
    credited = {row.account: int(row.sum) for row in connection.execute(sums)}
    return tuple(
        Listed(
            number=row["number"],
            address=row["address"],
            name=row["name"],
            channel=row["channel"],
            created_at=row["created_at"],
            owners=tuple(owners.get(row["number"], ())),
            credited=Money(credited.get(row["number"], 0)),
        )
        for row in connection.execute(select(accounts).order_by(accounts.c.number)).mappings()
    )
