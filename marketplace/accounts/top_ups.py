"""Top-ups: money that the operator received otherwise and deposits for an account, an invoice once."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.accounts.limits import MOST_UNITS
from marketplace.paging import dated
from marketplace.store import outbox
from marketplace.store.account_tables import accounts, members, people, top_ups
from marketplace.store.database import Store
from marketplace.store.tables import chain_events
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
            _record(connection, number, amount.units, invoice, note)
        elif (known["account"], known["amount"]) != (number, amount.units):
            raise Conflict(
                f"invoice {invoice} is recorded with {Money(known['amount'])} for another account or amount",
                code="invoice-known",
                hint="a correction is an invoice of its own",
            )
        shown = _of(connection, number, invoice)
        sends = known is None or shown.state == "failed"
        if sends:
            outbox.queue_deposit(connection, invoice, address, amount.units)
            shown = _of(connection, number, invoice)
    return shown, sends


def give_play_money(connection: Connection, number: int, address: str, units: int) -> None:
    """To a new account, from the operator's tokens: an invoice that nobody paid."""
    invoice = f"play-money-{number}"
    _record(connection, number, units, invoice, "play money")
    outbox.queue_deposit(connection, invoice, address, units)


def _record(connection: Connection, number: int, units: int, invoice: str, note: str) -> None:
    row = {"invoice": invoice, "account": number, "amount": units, "note": note[:200]}
    connection.execute(insert(top_ups).values(**row, created_at=int(time.time())))


def listed(connection: Connection, account: int) -> tuple[wire.TopUp, ...]:
    """All of one account, newest first."""
    return as_shown(connection, account, connection.execute(_newest(account)).mappings().all())


def as_shown(connection: Connection, account: int, rows: Sequence[RowMapping]) -> tuple[wire.TopUp, ...]:
    """rows: of `top_ups`, some of one account."""
    sent = outbox.newest(connection, "deposit", [row["invoice"] for row in rows])
    failed = any(each["state"] == "failed" for each in sent.values())
    brought = _brought(connection, account) if failed else {}
    return tuple(_shown(row, sent.get(row["invoice"]), brought.get(row["invoice"])) for row in rows)


def page(
    connection: Connection, account: int, cursor: str | None, limit: int
) -> tuple[tuple[wire.TopUp, ...], str | None]:
    """Of one account, newest first, and the cursor of the next page."""
    query = _newest(account)
    rows, following = dated(connection, query, top_ups.c.created_at, top_ups.c.invoice, cursor, limit)
    return as_shown(connection, account, rows), following


def _newest(account: int) -> Select[Any]:
    return (
        select(top_ups, accounts.c.address)
        .join(accounts, accounts.c.number == top_ups.c.account)
        .where(top_ups.c.account == account)
        .order_by(top_ups.c.created_at.desc(), top_ups.c.invoice)
    )


def _of(connection: Connection, account: int, invoice: str) -> wire.TopUp:
    rows = connection.execute(_newest(account).where(top_ups.c.invoice == invoice)).mappings().all()
    return as_shown(connection, account, rows)[0]


def _brought(connection: Connection, account: int) -> dict[str, str]:
    """Of an account's top-ups that the relayer did not deposit because it was done: the transaction that did,
    once its event was read. Of several with the same amount which did which is not told apart: they are
    found among all of the account's."""
    rows = connection.execute(_newest(account)).mappings().all()
    sent = outbox.newest(connection, "deposit", [row["invoice"] for row in rows])
    failed = [each for each in sent.values() if each["state"] == "failed"]
    owners = outbox.deposited_before(connection, failed) if failed else {}
    lost = {
        row["invoice"]: (row["amount"], owners[last["purpose"]])
        for row in reversed(rows)
        if (last := sent.get(row["invoice"])) is not None and last["purpose"] in owners
    }
    if not lost:
        return {}
    query = (
        select(chain_events.c.transaction, chain_events.c.data)
        .where(
            chain_events.c.name == "Deposited",
            chain_events.c.data["account"].as_string() == rows[0]["address"],
        )
        .order_by(chain_events.c.block, chain_events.c.log_index)
    )
    known = {each["hash"] for each in sent.values() if each["state"] == "confirmed"}
    arrived = [each for each in connection.execute(query) if each.transaction not in known]
    found = {}
    for invoice, what in lost.items():
        for event in arrived:
            if (int(event.data["amount"]), event.data["from_"]) == what:
                found[invoice] = event.transaction
                arrived.remove(event)
                break
    return found


def invoices_by_transaction(connection: Connection, account: int) -> dict[str, str]:
    """By the hash of the deposit."""
    return {each.transaction: each.invoice for each in listed(connection, account) if each.transaction}


def _row(connection: Connection, invoice: str) -> RowMapping | None:
    return connection.execute(select(top_ups).where(top_ups.c.invoice == invoice)).mappings().one_or_none()


def _shown(row: RowMapping, sent: RowMapping | None, brought: str | None) -> wire.TopUp:
    """row: of `top_ups`. sent: its newest deposit. brought: by which other transaction it arrived."""
    return wire.TopUp(
        invoice=row["invoice"],
        amount=Money(row["amount"]),
        at=row["created_at"],
        state="confirmed" if brought is not None else "pending" if sent is None else sent["state"],
        transaction=brought or (None if sent is None else sent["hash"]),
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
