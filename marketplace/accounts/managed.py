"""Managed accounts as one value: what a service with a seed offers beside self-custody."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from marketplace.accounts import top_ups
from marketplace.accounts.balances import Balances
from marketplace.accounts.identity import Identity
from marketplace.accounts.keys import ApiKeys
from marketplace.accounts.limits import Spending
from marketplace.accounts.open_sessions import OpenSessions
from marketplace.accounts.ordering import Ordering
from marketplace.accounts.passwords import Passwords
from marketplace.accounts.people import People
from marketplace.accounts.statement import Statements
from marketplace.accounts.teams import Teams
from marketplace.accounts.withdrawals import Withdrawals
from marketplace.bid_quotes import BidQuotes
from marketplace.chain import ChainReader
from marketplace.orders import Orders
from marketplace.quotes import Quotes
from marketplace.settings import ServiceSettings
from marketplace.store.account_tables import accounts
from marketplace.store.database import Store
from prixfixe.errors import ConfigurationError
from prixfixe.protocol.accounts import TopUp
from prixfixe.protocol.money import Money
from prixfixe.protocol.typed_data import Domain
from prixfixe.seeds import Seed


@dataclass(frozen=True, slots=True)
class Door:
    """What of the market everybody's orders go through, and managed accounts' too."""

    settings: ServiceSettings
    store: Store
    chain: ChainReader
    domain: Domain
    surety: Money
    quotes: Quotes
    bid_quotes: BidQuotes
    orders: Orders
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Managed:
    """Use cases of managed accounts."""

    store: Store
    people: People
    sessions: OpenSessions
    keys: ApiKeys
    teams: Teams
    spending: Spending
    balances: Balances
    ordering: Ordering
    statements: Statements
    withdrawals: Withdrawals

    @staticmethod
    def build(market: Door, seed: Seed, passwords: Passwords | None = None) -> Managed:
        """ConfigurationError when the store's accounts were derived from another seed."""
        store, clock = market.store, market.clock
        _require_same_seed(store, seed)
        spending = Spending(store, clock)
        balances = Balances(store, market.chain, spending, market.surety)
        ordering = Ordering(
            store, market.domain, seed, market.quotes, market.bid_quotes, market.orders, spending, clock
        )
        delay = market.settings.withdrawal_delay_seconds
        return Managed(
            store=store,
            people=People(
                store,
                market.chain,
                seed,
                market.settings.session_seconds,
                passwords,
                clock,
                market.settings.play_money_units,
            ),
            sessions=OpenSessions(store, clock),
            keys=ApiKeys(store, clock),
            teams=Teams(store, clock),
            spending=spending,
            balances=balances,
            ordering=ordering,
            statements=Statements(store, market.chain),
            withdrawals=Withdrawals(store, market.chain, market.domain, seed, balances, delay, clock),
        )

    def name_of(self, identity: Identity) -> str:
        """Of the account, in its owner's words."""
        identity.require("read")
        query = select(accounts.c.name).where(accounts.c.number == identity.account)
        with self.store.read() as connection:
            return str(connection.execute(query).scalar_one())

    def top_ups(
        self, identity: Identity, cursor: str | None, limit: int
    ) -> tuple[tuple[TopUp, ...], str | None]:
        """What the operator received for the account, newest first, and the cursor of the next page."""
        identity.require("read")
        with self.store.read() as connection:
            return top_ups.page(connection, identity.account, cursor, limit)


def _require_same_seed(store: Store, seed: Seed) -> None:
    """Else the money of every account would be out of reach, and nobody told before the first order."""
    oldest = select(accounts.c.number, accounts.c.address).order_by(accounts.c.number).limit(1)
    with store.read() as connection:
        row = connection.execute(oldest).one_or_none()
    if row is not None and seed.signer(row.number).address != row.address:
        raise ConfigurationError(
            f"account {row.number} has the address {row.address}, and another one by this seed",
            code="another-seed",
            hint="start the service with the seed that its accounts were made with",
        )
