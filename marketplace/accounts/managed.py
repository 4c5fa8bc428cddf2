"""Managed accounts as one value: what a service with a seed offers beside self-custody."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from marketplace.accounts.keys import ApiKeys
from marketplace.accounts.passwords import Passwords
from marketplace.accounts.people import People
from marketplace.accounts.teams import Teams
from marketplace.settings import ServiceSettings
from marketplace.store.account_tables import accounts
from marketplace.store.database import Store
from prixfixe.errors import ConfigurationError
from prixfixe.seeds import Seed


@dataclass(frozen=True, slots=True)
class Managed:
    """Use cases of managed accounts."""

    people: People
    keys: ApiKeys
    teams: Teams

    @staticmethod
    def build(
        settings: ServiceSettings,
        store: Store,
        seed: Seed,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Managed:
        """ConfigurationError when the store's accounts were derived from another seed."""
        _require_same_seed(store, seed)
        return Managed(
            people=People(store, seed, settings.session_seconds, passwords, clock),
            keys=ApiKeys(store, clock),
            teams=Teams(store, clock),
        )


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
