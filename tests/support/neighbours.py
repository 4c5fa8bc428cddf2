"""What two processes on one database tell each other."""

from __future__ import annotations

import time

from sqlalchemy import insert

from marketplace.store import tables
from marketplace.store.database import Store


def add(store: Store, nonce: str, *topics: str) -> None:
    """A write of one row, and wake-ups with it."""
    with store.write() as connection:
        connection.execute(insert(tables.nonces).values(nonce=nonce, expires_at=1))
        for topic in topics or ("nonces",):
            store.notify(connection, topic)


def is_heard(teller: Store, hearer: Store) -> bool:
    """Whether a wake-up comes over; that of a new start of the listening, which is for all topics, counts."""
    mark = hearer.sequence()
    teller_topic = f"topic {time.monotonic_ns()}"
    with teller.write() as connection:
        teller.notify(connection, teller_topic)
    return hearer.wait([teller_topic], 0.5, since=mark) == {teller_topic}
