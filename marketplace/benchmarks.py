"""What workers say of their machines: the newest signed statement of each."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from marketplace.store.tables import benchmarks
from marketplace.store.upsert import put
from prixfixe.errors import InvalidInput
from prixfixe.protocol.benchmarks import SignedBenchmark
from prixfixe.protocol.typed_data import Domain

_AHEAD_SECONDS: Final = 300  # of the service's clock


def require_own(signed: SignedBenchmark, key: str, domain: Domain, now: float) -> None:
    """InvalidInput when it is of another worker, market or time; VerificationFailed when this key has not
    signed it."""
    said = signed.benchmark
    if said.key != key or (said.contract, said.chain_id) != (domain.verifying_contract, domain.chain_id):
        raise InvalidInput(
            f"the benchmark is of {said.key} on market {said.contract}, chain {said.chain_id}",
            code="benchmark-elsewhere",
            fault="provider",
        )
    signed.verify()
    if said.at > now + _AHEAD_SECONDS:
        raise InvalidInput(
            f"the benchmark is of {said.at}, and it is {int(now)}",
            code="benchmark-time",
            hint="set the machine's clock",
            fault="provider",
        )


def keep_newest(connection: Connection, signed: SignedBenchmark, now: float) -> None:
    """Keep it unless a newer one of this worker is there."""
    said = signed.benchmark
    known = connection.execute(select(benchmarks.c.at).where(benchmarks.c.worker == said.key)).scalar()
    if known is None or said.at >= known:
        row = {
            "worker": said.key,
            "at": said.at,
            "signed": signed.model_dump(mode="json"),
            "received_at": int(now),
        }
        put(connection, benchmarks, row)


def newest(connection: Connection, key: str) -> SignedBenchmark | None:
    """The last one that was kept of a worker."""
    found = connection.execute(select(benchmarks.c.signed).where(benchmarks.c.worker == key)).scalar()
    return None if found is None else SignedBenchmark.model_validate(found)
