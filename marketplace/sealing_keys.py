"""To whom secrets of a worker's jobs are sealed."""

from __future__ import annotations

from sqlalchemy import Connection, delete

from marketplace.store.tables import sealing_keys
from marketplace.store.upsert import put
from prixfixe.protocol.secrets import SignedSealingKey


def keep_sealing_key(connection: Connection, key: str, signed: SignedSealingKey | None) -> None:
    """The one that a worker registered with; none takes an earlier one away. It is verified by then."""
    if signed is None:
        connection.execute(delete(sealing_keys).where(sealing_keys.c.worker == key))
    else:
        put(connection, sealing_keys, {"worker": key, "signed": signed.model_dump(mode="json")})
