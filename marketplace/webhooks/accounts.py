"""News of managed accounts that no transition of the tables tells: money that arrived, money that runs out.

Looked for now and then; what was told once is not told again, whichever process looks.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, func, select, update
from sqlalchemy.engine import Row

from marketplace.accounts.balances import Balances
from marketplace.accounts.identity import Identity
from marketplace.accounts.top_ups import as_shown
from marketplace.store.account_tables import accounts, top_ups
from marketplace.store.database import Store
from marketplace.store.webhook_tables import webhook_endpoints
from marketplace.store.webhooks import told
from prixfixe.protocol.money import Money

_TOP_UP_SECONDS: Final = 7 * 86_400  # within which a deposit arrives, if it does


class AccountNews:
    """Of the accounts that have a webhook."""

    def __init__(self, store: Store, balances: Balances, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._balances = balances
        self._clock = clock

    def look(self) -> None:
        """Tell what is new. Unavailable when the chain does not answer."""
        now = int(self._clock())
        with self._store.read() as connection:
            watched = connection.execute(_WATCHED).all()
            arrived = _arrived(connection, watched, now)
        if not watched:
            return
        held = self._balances.of_all([Identity(row.number, row.address, frozenset()) for row in watched])
        with self._store.write() as connection:
            for address, invoice, amount in arrived:
                data = {"account": address, "invoice": invoice, "amount": str(amount.units)}
                told(connection, address, "account.topped_up", data, invoice)
            for row in watched:
                balance = held[row.address]
                if balance.low == (row.low_since is not None):
                    continue
                connection.execute(
                    update(accounts)
                    .where(accounts.c.number == row.number)
                    .values(low_since=now if balance.low else None)
                )
                if balance.low:
                    data = {"account": row.address, "spendable": str(balance.spendable.units)}
                    data["warn_below"] = str(row.warn_below)
                    told(connection, row.address, "account.low_balance", data, str(now))


_WATCHED: Final = (
    select(
        accounts.c.number,
        accounts.c.address,
        accounts.c.low_since,
        accounts.c.warn_below,
        func.min(webhook_endpoints.c.created_at).label("since"),
    )
    .join(webhook_endpoints, webhook_endpoints.c.account == accounts.c.address)
    .group_by(accounts.c.number, accounts.c.address, accounts.c.low_since, accounts.c.warn_below)
)


def _arrived(
    connection: Connection, watched: Sequence[Row[*tuple[Any, ...]]], now: int
) -> list[tuple[str, str, Money]]:
    """Address, invoice and amount of deposits that the chain has carried out, of those that were asked for
    while there was a webhook."""
    since = {row.number: max(row.since, now - _TOP_UP_SECONDS) for row in watched}
    addresses = {row.number: row.address for row in watched}
    query = select(top_ups).where(top_ups.c.created_at >= now - _TOP_UP_SECONDS)
    found = defaultdict(list)
    for row in connection.execute(query).mappings():
        if row["account"] in since and row["created_at"] >= since[row["account"]]:
            found[row["account"]].append(row)
    return [
        (addresses[account], each.invoice, each.amount)
        for account, rows in found.items()
        for each in as_shown(connection, account, rows)
        if each.state == "confirmed"
    ]
