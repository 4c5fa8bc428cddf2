"""Whether an account of the chain has a past: money, or orders.

The table of accounts may be younger than the chain: after a rebuild from the chain, or when an older backup
was restored. What happened at an address tells that somebody had it.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from marketplace.chain import ChainReader
from marketplace.store.database import Store
from marketplace.store.tables import chain_events, jobs


def has_past(store: Store, chain: ChainReader, address: str) -> bool:
    """Whether anything was ever deposited or ordered at this address, as far as chain and store know.
    Unavailable when the chain does not answer."""
    now = chain.look(accounts=(address,)).accounts[address]
    if now.free or now.held or now.era:
        return True
    with store.read() as connection:
        return _is_known(connection, address)


def _is_known(connection: Connection, address: str) -> bool:
    ordered = select(jobs.c.id).where(jobs.c.customer == address).limit(1)
    deposited = (
        select(chain_events.c.block)
        .where(chain_events.c.name == "Deposited", chain_events.c.data["account"].as_string() == address)
        .limit(1)
    )
    return any(connection.execute(each).first() is not None for each in (ordered, deposited))
