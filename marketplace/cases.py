"""What the arbiter may see while a case is open: the job as it was sold, its inputs, its leaves, its outputs.

Nobody else has a case, and when it is over neither has the arbiter.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.store.database import Store
from marketplace.store.disputes import open_cases
from marketplace.store.tables import bundles, jobs, quotes, tasks
from prixfixe.errors import NotFound
from prixfixe.protocol import wire
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.orders import Purchase
from prixfixe.protocol.outputs import OutputManifest


class Cases:
    """Open cases, for the contract's arbiter alone."""

    def __init__(self, store: Store, arbiter: str) -> None:
        self._store = store
        self._arbiter = arbiter

    def file(self, deal: str, reader: str) -> wire.CaseFile:
        """Everything that a judge needs to run the deal's tasks again. NotFound for anybody but the arbiter,
        and once the case is over."""
        with self._store.read() as connection:
            found = [case for case in open_cases(connection) if case["deal"] == deal]
            if reader != self._arbiter or not found:
                raise NotFound(
                    f"there is no open case of deal {deal[:80]!r} for {reader}", code="case-unknown"
                )
            return _file(connection, found[0])

    def may_read(self, connection: Connection, sha256: str, reader: str) -> bool:
        """Whether a blob belongs to an open case and the arbiter asks for it."""
        if reader != self._arbiter:
            return False
        return any(sha256 in set(_evidence(connection, case)) for case in open_cases(connection))


def _file(connection: Connection, case: RowMapping) -> wire.CaseFile:
    job = connection.execute(select(jobs).where(jobs.c.id == case["job"])).mappings().one()
    bundle = _bundle(connection, job)
    return wire.CaseFile(
        deal_id=case["deal"],
        purchase=Purchase.from_json(job["order"]),
        manifest=JobManifest.model_validate(job["manifest"]),
        definition=bundle["definition"],
        image_archive=bundle["image_archive"],
        tasks=tuple(
            wire.CaseTask(
                index=task["position"],
                status=task["status"],
                outputs=OutputManifest.from_json(task["outputs"]),
            )
            for task in _tasks(connection, case)
            if task["outputs"] is not None
        ),
    )


def _evidence(connection: Connection, case: RowMapping) -> Iterator[str]:
    """Digests of the blobs that a case is about: inputs, image, outputs."""
    job = connection.execute(select(jobs).where(jobs.c.id == case["job"])).mappings().one()
    yield from (file["sha256"] for file in job["manifest"]["inputs"])
    yield _bundle(connection, job)["image_archive"]
    for task in _tasks(connection, case):
        yield from (file["sha256"] for file in (task["outputs"] or {"files": []})["files"])


def _bundle(connection: Connection, job: RowMapping) -> RowMapping:
    quote = connection.execute(select(quotes.c.quote).where(quotes.c.id == job["quote"])).scalar_one()
    query = select(bundles).where(bundles.c.id == quote["bundle"], bundles.c.version == quote["version"])
    return connection.execute(query).mappings().one()


def _tasks(connection: Connection, case: RowMapping) -> list[RowMapping]:
    query = select(tasks).where(tasks.c.job == case["job"], tasks.c.lot == case["lot"])
    return list(connection.execute(query.order_by(tasks.c.position)).mappings().all())
