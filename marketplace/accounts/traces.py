"""Whether an account of the chain has a past: money, or orders.

The table of accounts may be younger than the chain: after a rebuild from the chain, or when an older backup
was restored. What happened at an address tells that somebody had it.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from marketplace.chain import AccountView
from marketplace.store.tables import chain_events, jobs


def has_past(connection: Connection, address: str, account: AccountView) -> bool:
    """Whether anything was ever deposited or ordered at this address, as far as the chain (`account`, as it
    is now) and the store know."""
    if account.free or account.held or account.era:
        return True
    ordered = select(jobs.c.id).where(jobs.c.customer == address).limit(1)
    deposited = (
        select(chain_events.c.block)
        .where(chain_events.c.name == "Deposited", chain_events.c.data["account"].as_string() == address)
        .limit(1)
    )
    return any(connection.execute(each).first() is not None for each in (ordered, deposited))
