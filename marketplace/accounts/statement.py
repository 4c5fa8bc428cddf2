"""The statement of a managed account: every movement that the chain knows of, to the unit.

It is made of the mirrored events alone, never of what the service meant to do: deposits and withdrawals as
the contract told them, orders as deals that were opened, what came back as deals ended, what a judge gave
back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select

from marketplace.accounts.identity import Identity
from marketplace.accounts.top_ups import invoices_by_transaction
from marketplace.chain import ChainReader
from marketplace.store.database import Store
from marketplace.store.tables import cases, chain_events, cursor, deals, jobs
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.deals import Deal


class Statements:
    """Statements, made whenever they are asked for."""

    def __init__(self, store: Store, chain: ChainReader) -> None:
        self._store = store
        self._chain = chain

    def statement(self, identity: Identity, since: int = 0, until: int | None = None) -> wire.Statement:
        """Of the movements from the second `since` up to `until`, both of the chain's clock."""
        identity.require("read")
        with self._store.read() as connection:
            found = sorted(_movements(connection, identity), key=lambda each: each[0])
            block = connection.execute(select(cursor.c.block)).scalar_one_or_none() or 0
        account = self._chain.look(accounts=(identity.address,)).accounts[identity.address]
        opening = balance = 0
        lines = []
        for (at, _), values in found:
            balance += values["amount"]
            if values["time"] < since:
                opening = balance
            elif until is None or values["time"] <= until:
                lines.append(wire.StatementLine(block=at, balance=balance, **values))
        return wire.Statement(
            address=identity.address,
            block=block,
            opening=opening,
            lines=tuple(lines),
            balance=lines[-1].balance if lines else opening,
            on_chain=account.free + account.held,
        )


def _movements(
    connection: Connection, identity: Identity
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """By block and place in it."""
    yield from _in_and_out(connection, identity)
    own = (
        select(deals)
        .join(jobs, jobs.c.id == deals.c.job)
        .where(jobs.c.customer == identity.address)
        .execution_options(yield_per=1000)
    )
    for row in connection.execute(own).mappings():
        total = Deal.from_json(row["deal"]).total.units
        yield _line(row["opened"], "order", row["job"], -total)
        if row["ended"] is not None and row["returned"]:
            yield _line(row["ended"], "returned", row["job"], row["returned"])
    judged = (
        select(cases)
        .join(jobs, jobs.c.id == cases.c.job)
        .where(jobs.c.customer == identity.address, cases.c.state == "guilty")
    )
    for row in connection.execute(judged).mappings():
        if row["returned"]:
            yield _line(row["ended"], "judged", row["job"], row["returned"])


def _in_and_out(
    connection: Connection, identity: Identity
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    invoices = invoices_by_transaction(connection, identity.account)
    query = select(chain_events).where(
        chain_events.c.name.in_(("Deposited", "Withdrawn")),
        chain_events.c.data["account"].as_string() == identity.address,
    )
    for row in connection.execute(query).mappings():
        amount = int(row["data"]["amount"])
        if row["name"] == "Withdrawn":
            yield _line(row, "withdrawal", row["data"]["to"], -amount)
        elif row["transaction"] in invoices:
            yield _line(row, "top-up", invoices[row["transaction"]], amount)
        else:
            yield _line(row, "deposit", row["data"]["from_"], amount)


def _line(where: Any, kind: str, reference: str, amount: int) -> tuple[tuple[int, int], dict[str, Any]]:
    """where: a transaction's reference, or an event's row."""
    values = {
        "time": where["time"],
        "transaction": where["transaction"],
        "kind": kind,
        "reference": reference,
        "amount": amount,
    }
    return (where["block"], where["log_index"]), values
