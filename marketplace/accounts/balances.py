"""What a managed account has, and what of it is promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select
from sqlalchemy.engine import RowMapping

from marketplace.accounts.identity import Identity
from marketplace.accounts.limits import Spending
from marketplace.allowances import load_of
from marketplace.chain import AccountView, ChainReader
from marketplace.store.account_tables import accounts, withdrawals
from marketplace.store.database import Store
from marketplace.store.outbox import IN_FLIGHT
from marketplace.store.tables import transactions
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.money import Money


@dataclass(frozen=True, slots=True)
class Balance:
    """held: by the contract, for the account. waiting: promised to orders that nobody has taken, and to
    withdrawals on their way. spendable: the rest."""

    held: Money
    waiting: Money
    spendable: Money
    low: bool


class Balances:
    """Reads the chain and the tables together. surety: what the contract keeps while earnings wait."""

    def __init__(self, store: Store, chain: ChainReader, spending: Spending, surety: Money) -> None:
        self._store = store
        self._chain = chain
        self._spending = spending
        self._surety = surety

    def of(self, identity: Identity) -> Balance:
        """Now. Unavailable when the chain does not answer."""
        view = self._chain.look(accounts=(identity.address,)).accounts[identity.address]
        with self._store.read() as connection:
            return self._balance(connection, identity, view, self._spending.of(connection, identity))

    def of_all(self, identities: Sequence[Identity]) -> dict[str, Balance]:
        """Now, by address, with one look at the chain. Unavailable when it does not answer."""
        views = self._chain.look(accounts=[each.address for each in identities]).accounts
        with self._store.read() as connection:
            return {
                each.address: self._balance(
                    connection, each, views[each.address], self._spending.of(connection, each)
                )
                for each in identities
            }

    def account(self, identity: Identity) -> wire.Account:
        """All that the account's people see of it."""
        identity.require("read")
        look = self._chain.look(accounts=(identity.address,))
        with self._store.read() as connection:
            row = (
                connection.execute(select(accounts).where(accounts.c.number == identity.account))
                .mappings()
                .one()
            )
            limits = self._spending.of(connection, identity)
            spent = self._spending.spent(connection, identity)
            balance = self._balance(connection, identity, look.accounts[identity.address], limits)
        return wire.Account(
            address=row["address"],
            name=row["name"],
            channel=row["channel"],
            created_at=row["created_at"],
            scopes=tuple(sorted(identity.scopes)),
            balance=balance.held,
            waiting=balance.waiting,
            spendable=balance.spendable,
            low=balance.low,
            limits=limits,
            spent_today=spent,
            withdrawal=address_at(row, look.time),
        )

    def _balance(
        self, connection: Connection, identity: Identity, view: AccountView, limits: wire.Limits
    ) -> Balance:
        promised = load_of(connection, identity.address).waiting
        waiting = promised + leaving(connection, identity.account)
        kept = self._surety.units if view.held else 0
        spendable = Money(max(view.free - waiting.units - kept, 0))
        return Balance(Money(view.free + view.held), waiting, spendable, spendable < limits.warn_below)


def address_at(row: RowMapping, now: int) -> wire.WithdrawalAddress:
    """Where the money of an account (a row of `accounts`) may leave to: the next address takes the other's
    place by itself. now: of the chain."""
    if row["next_withdraw_at"] is not None and row["next_withdraw_at"] <= now:
        return wire.WithdrawalAddress(address=row["next_withdraw_to"], next=None, next_at=None)
    return wire.WithdrawalAddress(
        address=row["withdraw_to"], next=row["next_withdraw_to"], next_at=row["next_withdraw_at"]
    )


def leaving(connection: Connection, account: int) -> Money:
    """What withdrawals on their way will take."""
    purpose = "withdraw:" + withdrawals.c.id + ":1"
    query = select(func.coalesce(func.sum(withdrawals.c.amount), 0)).where(
        withdrawals.c.account == account,
        transactions.c.purpose == purpose,
        transactions.c.state.in_(IN_FLIGHT),
    )
    return Money(int(connection.execute(query).scalar_one()))
