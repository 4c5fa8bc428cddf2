"""What a managed account has, and what of it is promised."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from marketplace.accounts.identity import Identity
from marketplace.accounts.limits import Spending
from marketplace.allowances import load_of
from marketplace.chain import ChainReader
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
        account = self._chain.look(accounts=(identity.address,)).accounts[identity.address]
        with self._store.read() as connection:
            promised = load_of(connection, identity.address).waiting
            waiting = promised + leaving(connection, identity.account)
            warn_below = self._spending.of(connection, identity).warn_below
        kept = self._surety.units if account.held else 0
        spendable = Money(max(account.free - waiting.units - kept, 0))
        return Balance(Money(account.free + account.held), waiting, spendable, spendable < warn_below)

    def account(self, identity: Identity) -> wire.Account:
        """All that the account's people see of it."""
        identity.require("read")
        balance = self.of(identity)
        with self._store.read() as connection:
            row = (
                connection.execute(select(accounts).where(accounts.c.number == identity.account))
                .mappings()
                .one()
            )
            limits = self._spending.of(connection, identity)
            spent = self._spending.spent(connection, identity)
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
            withdrawal=wire.WithdrawalAddress(
                address=row["withdraw_to"], next=row["next_withdraw_to"], next_at=row["next_withdraw_at"]
            ),
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
