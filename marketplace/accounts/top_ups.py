"""Top-ups: money that the operator received otherwise and deposits for an account, an invoice once."""

from __future__ import annotations

import re
import time
from typing import Final

from sqlalchemy import Connection, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.accounts.limits import MOST_UNITS
from marketplace.store import outbox
from marketplace.store.account_tables import accounts, members, people, top_ups
from marketplace.store.database import Store
from prixfixe.errors import Conflict, InvalidInput, NotFound
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.money import Money

_INVOICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}", re.ASCII)


def credit(
    store: Store, account: str, amount: Money, invoice: str, note: str = ""
) -> tuple[wire.TopUp, bool]:
    """Record a top-up and have it deposited; True when something is to be sent.

    account: its address, or the e-mail address of its only owner. The same again changes nothing, but one
    whose deposit failed is tried again. NotFound for no such account, Conflict for an invoice that was
    recorded with another account or amount, InvalidInput for what is no invoice number or amount.
    """
    if not _INVOICE.fullmatch(invoice):
        raise InvalidInput(
            f"{invoice[:80]!r} is no invoice number",
            hint="letters, digits and . _ / -, at most 64, the first a letter or digit",
        )
    if amount.require_uint64() == 0:
        raise InvalidInput("a top-up of nothing")
    if amount.units > MOST_UNITS:
        raise InvalidInput(f"a top-up is {MOST_UNITS} units at most")
    with store.write() as connection:
        number, address = _account(connection, account)
        known = _row(connection, invoice)
        if known is None:
            connection.execute(
                insert(top_ups).values(
                    invoice=invoice,
                    account=number,
                    amount=amount.units,
                    note=note[:200],
                    created_at=int(time.time()),
                )
            )
        elif (known["account"], known["amount"]) != (number, amount.units):
            raise Conflict(
                f"invoice {invoice} is recorded with {Money(known['amount'])} for another account or amount",
                code="invoice-known",
                hint="a correction is an invoice of its own",
            )
        shown = _shown(invoice, amount.units, known, outbox.last_deposit(connection, invoice))
        sends = known is None or shown.state == "failed"
        if sends:
            outbox.queue_deposit(connection, invoice, address, amount.units)
            sent = outbox.last_deposit(connection, invoice)
            shown = _shown(invoice, amount.units, _row(connection, invoice), sent)
    return shown, sends


def listed(connection: Connection, account: int) -> tuple[wire.TopUp, ...]:
    """Of one account, newest first."""
    query = (
        select(top_ups)
        .where(top_ups.c.account == account)
        .order_by(top_ups.c.created_at.desc(), top_ups.c.invoice)
    )
    rows = connection.execute(query).mappings().all()
    sent = outbox.newest(connection, "deposit", [row["invoice"] for row in rows])
    return tuple(_shown(row["invoice"], row["amount"], row, sent.get(row["invoice"])) for row in rows)


def invoices_by_transaction(connection: Connection, account: int) -> dict[str, str]:
    """By the hash of the deposit."""
    return {each.transaction: each.invoice for each in listed(connection, account) if each.transaction}


def _row(connection: Connection, invoice: str) -> RowMapping | None:
    return connection.execute(select(top_ups).where(top_ups.c.invoice == invoice)).mappings().one_or_none()


def _shown(invoice: str, amount: int, row: RowMapping | None, sent: RowMapping | None) -> wire.TopUp:
    """row: of `top_ups`. sent: its newest deposit."""
    return wire.TopUp(
        invoice=invoice,
        amount=Money(amount),
        at=int(time.time()) if row is None else row["created_at"],
        state="pending" if sent is None else sent["state"],
        transaction=None if sent is None else sent["hash"],
    )


def _account(connection: Connection, account: str) -> tuple[int, str]:
    query = select(accounts.c.number, accounts.c.address)
    if "@" in account:
        query = (
            query.join(members, members.c.account == accounts.c.number)
            .join(people, people.c.id == members.c.person)
            .where(people.c.email == account.lower(), members.c.role == "owner")
        )
    else:
        query = query.where(accounts.c.address == parse_address(account, name="account"))
    found = connection.execute(query).all()
    if not found:
        raise NotFound(f"there is no managed account {account[:254]}", hint="see `prixfixe admin accounts`")
    if len(found) > 1:
        raise Conflict(f"{account} owns {len(found)} accounts", hint="name the account by its address")
    return int(found[0].number), str(found[0].address)
