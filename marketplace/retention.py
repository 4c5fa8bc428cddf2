"""How long files are kept, and the receipt of what was deleted.

A file is kept until the orders that name it are over for so many days as their bundle promises (`privacy.
retention_days`), or, of any other order, the service's `retention_days`; never for less than the time in
which a deal can be challenged, and not while a case is open. Each order and each result that names a file
moves its end on, so nothing has to be searched for what may still need it. Images of jobs and bundles and
published batches stay. A job's logs go when its files may. What was deleted is written down first; the
leaves and the receipt of the job, which name every file by its digest, stay. A customer may have the files
and logs of its own job deleted earlier (`Retention.forget`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, func, or_, select, update
from sqlalchemy.engine import RowMapping

from marketplace.blobs import Blobs, known_sizes
from marketplace.chain import ChainReader
from marketplace.forgetting import disowned, named_elsewhere, require_over, require_reruns_over, reruns_of
from marketplace.jobs import job_row
from marketplace.logs import Logs
from marketplace.store.database import Store
from marketplace.store.share_tables import share_links
from marketplace.store.tables import (
    attempts,
    batches,
    blob_owners,
    blobs,
    bundles,
    canaries,
    canary_files,
    cases,
    deletions,
    job_events,
    jobs,
    kept_files,
    offers,
    task_logs,
    tasks,
)
from marketplace.store.upsert import parts, put, put_largest
from prixfixe.keys import Signer
from prixfixe.protocol.signatures import statement_digest
from prixfixe.protocol.wire import Deletion, Deletions, Forgotten

log = logging.getLogger(__name__)

TITLE: Final = "Prixfixe deletions"
_DAY: Final = 86_400
_WINDOWS: Final = 3  # of a dispute: the deal's own, a case's, and room
_AT_ONCE: Final = 100  # files in one write
_IN_PARTS: Final = {"yield_per": 1000}
_AGAIN_SECONDS: Final = 7 * _DAY  # before a process began to look
_OVERLAP_SECONDS: Final = 3600  # clocks of several machines, and writes that took long
_OF_CANARIES: Final = (
    select(canary_files.c.sha256)
    .join(canaries, canaries.c.number == canary_files.c.canary)
    .where(canaries.c.removed_at.is_(None))
)


@dataclass(frozen=True, slots=True)
class Keeping:
    """days: for which the service keeps what no bundle speaks of. window: of a dispute, seconds."""

    days: int
    window: int

    def keep(
        self, connection: Connection, digests: Iterable[str], deliver_by: int, offer_id: str | None
    ) -> None:
        """Keep these files for an order."""
        names = list(dict.fromkeys(digests))
        if not names:
            return
        days = self.days if offer_id is None else _days_of(connection, offer_id, self.days)
        until = deliver_by + max(days * _DAY, _WINDOWS * self.window)
        rows = [{"sha256": name, "until": until} for name in names]
        for part in parts(rows):
            put_largest(connection, kept_files, part, "until")


class Retention:
    """Deletes what nobody has to keep any more, and says so."""

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        blobs_: Blobs,
        logs: Logs,
        signer: Signer,
        keeping: Keeping,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._chain = chain
        self._blobs = blobs_
        self._logs = logs
        self._signer = signer
        self._keeping = keeping
        self._clock = clock
        self._since: int | None = None  # what was forgotten before that is deleted

    def sweep(self) -> tuple[int, int]:
        """Delete what is due; how many files and how many jobs' logs."""
        return self._sweep_files(self._chain.look().time), self._sweep_logs()

    def told(self, job: str, customer: str) -> Deletions:
        """What was deleted of a customer's job, signed by the operator."""
        with self._store.read() as connection:
            found = tuple(_deleted(connection, job_row(connection, job, customer)["id"]))
        said = {"job": job, "items": [each.model_dump(mode="json") for each in found]}
        signature = self._signer.sign_digest(statement_digest(TITLE, said))
        return Deletions(
            job=job, items=found, operator=self._signer.address, signature="0x" + signature.hex()
        )

    def forget(self, job: str, customer: str) -> Forgotten:
        """Delete what is kept of a customer's job that is over, before its time: inputs, outputs and logs, of
        the service's own re-runs of it too. What other orders name stays for them. Again deletes what has
        become free since. Conflict until nobody can dispute its results any more."""
        now, window = int(self._clock()), self._keeping.window
        chain_time = self._chain.look().time
        self._blobs.kept.check()  # nothing is forgotten while it cannot be deleted
        with self._store.write() as connection:
            own_row, bought = job_row(connection, job, customer), reruns_of(connection, job)
            require_over(connection, own_row, chain_time, window)
            require_reruns_over(connection, bought, chain_time, window)
            found = [own_row, *bought]
            digests = set(_digests(connection, jobs.c.id.in_([row["id"] for row in found])))
            own, strangers = named_elsewhere(connection, digests, found, _digests)
            gone = list(_deletable(connection, digests - own - strangers))
            _forget(connection, gone, now)
            disowned(connection, strangers - own, found)
            logs = [row for each in found for row in _logs_forgotten(connection, each["id"], now)]
            connection.execute(delete(share_links).where(share_links.c.job == job))
            forgotten = update(jobs).where(jobs.c.id.in_([row["id"] for row in found]))
            connection.execute(forgotten.where(jobs.c.forgotten_at.is_(None)).values(forgotten_at=now))
        for row in logs:
            self._logs.remove(row.attempt, row.task)
        self._blobs.remove([row.sha256 for row in gone])
        with self._store.read() as connection:
            kept = sorted(known_sizes(connection, dict.fromkeys(_digests(connection, jobs.c.id == job))))
        log.info("job %s is forgotten: %d files and %d logs", job, len(gone), len(logs))
        return Forgotten(deletions=self.told(job, customer), kept=tuple(kept))

    def _sweep_files(self, chain_time: int) -> int:
        now = int(self._clock())
        due = or_(
            kept_files.c.until < chain_time,
            # Nobody ever ordered with it.
            and_(kept_files.c.until.is_(None), blobs.c.created_at < now - self._keeping.days * _DAY),
        )
        removed, after, in_cases = 0, "", _InCases()
        self._blobs.kept.check()
        self._blobs.remove(self._forgotten(now - _AGAIN_SECONDS if self._since is None else self._since))
        while True:
            with self._store.write() as connection:
                page = connection.execute(_files_due(due, after)).all()
                kept = in_cases.digests(connection)
                gone = [row for row in page if row.sha256 not in kept]
                _forget(connection, gone, now)
            # After the commit: were it undone, the table would name files that are not there.
            self._blobs.remove([row.sha256 for row in gone])
            removed += len(gone)
            if len(page) < _AT_ONCE:
                self._since = now - _OVERLAP_SECONDS
                return removed
            after = page[-1].sha256

    def _forgotten(self, since: int) -> Sequence[str]:
        """Files that were forgotten lately: the process that did may have ended before it deleted them, or
        the store was away just then."""
        query = select(deletions.c.name).where(deletions.c.kind == "file", deletions.c.at >= since)
        with self._store.read() as connection:
            return connection.execute(query).scalars().all()

    def _sweep_logs(self) -> int:
        now = int(self._clock())
        with self._store.read() as connection:
            kept_in_cases = set(_disputed(connection))
            ended = connection.execute(
                select(jobs.c.id, jobs.c.offer_id, jobs.c.ended_at)
                .where(jobs.c.id.in_(select(attempts.c.job).join(task_logs)), jobs.c.ended_at.is_not(None))
                .where(jobs.c.ended_at < now - _WINDOWS * self._keeping.window)
            ).all()
            days = {
                offer: self._keeping.days
                if offer is None
                else _days_of(connection, offer, self._keeping.days)
                for offer in {row.offer_id for row in ended}
            }
        due = [
            row.id
            for row in ended
            if row.ended_at < now - days[row.offer_id] * _DAY and row.id not in kept_in_cases
        ]
        for job in due:
            with self._store.write() as connection:
                gone = _logs_forgotten(connection, job, now)
            for row in gone:
                self._logs.remove(row.attempt, row.task)
        return len(due)


class _InCases:
    """The files of jobs with an open case, each job's read once."""

    def __init__(self) -> None:
        self._jobs: set[str] = set()
        self._digests: set[str] = set()

    def digests(self, connection: Connection) -> set[str]:
        if new := set(_disputed(connection)) - self._jobs:
            self._digests.update(_digests(connection, jobs.c.id.in_(new)))
            self._jobs |= new
        return self._digests


def _files_due(due: ColumnElement[bool], after: str) -> Select[Any]:
    """The next files that may go, by digest."""
    images = select(jobs.c.image_archive).where(jobs.c.image_archive.is_not(None))
    return (
        select(blobs.c.sha256, blobs.c.size)
        .join(kept_files, kept_files.c.sha256 == blobs.c.sha256, isouter=True)
        .where(
            due,
            blobs.c.sha256 > after,
            blobs.c.sha256.not_in(images),
            blobs.c.sha256.not_in(select(bundles.c.image_archive)),
            blobs.c.sha256.not_in(select(func.substr(batches.c.digest, 3))),
            blobs.c.sha256.not_in(_OF_CANARIES),
        )
        .order_by(blobs.c.sha256)
        .limit(_AT_ONCE)
    )


def _deletable(connection: Connection, names: Collection[str]) -> Iterator[Row[Any]]:
    """Of these files those that may go although their time is not over."""
    kept = _InCases().digests(connection)
    for part in parts(sorted(names), _AT_ONCE):
        these = blobs.c.sha256.in_(part)
        yield from (row for row in connection.execute(_files_due(these, "")) if row.sha256 not in kept)


def _forget(connection: Connection, files: Sequence[Row[Any]], now: int) -> None:
    """Files are nobody's any more, which is written down."""
    names = [row.sha256 for row in files]
    connection.execute(delete(blob_owners).where(blob_owners.c.sha256.in_(names)))
    connection.execute(delete(kept_files).where(kept_files.c.sha256.in_(names)))
    connection.execute(delete(blobs).where(blobs.c.sha256.in_(names)))
    for row in files:
        put(connection, deletions, {"kind": "file", "name": row.sha256, "size": row.size, "at": now})


def _logs_forgotten(connection: Connection, job: str, now: int) -> Sequence[Row[Any]]:
    """The logs of a job are nobody's any more, which is written down; which they were."""
    of_job = select(attempts.c.id).where(attempts.c.job == job)
    found = connection.execute(select(task_logs).where(task_logs.c.attempt.in_(of_job))).all()
    connection.execute(delete(task_logs).where(task_logs.c.attempt.in_(of_job)))
    connection.execute(delete(job_events).where(job_events.c.job == job, job_events.c.kind == "log"))
    for row in found:
        name = f"{row.attempt}-{row.task}"
        put(connection, deletions, {"kind": "log", "name": name, "size": row.bytes, "at": now})
    return found


def files_of(manifest: dict[str, Any]) -> list[str]:
    """The digests of what every task of a job reads."""
    return [file["sha256"] for file in (*manifest["inputs"], *filter(None, [manifest.get("matrix")]))]


def _days_of(connection: Connection, offer_id: str, default: int) -> int:
    """As the offer's bundle promises."""
    definition = connection.execute(
        select(bundles.c.definition)
        .join(offers, and_(offers.c.bundle == bundles.c.id, offers.c.version == bundles.c.version))
        .where(offers.c.offer_id == offer_id)
    ).scalar_one_or_none()
    promised = (definition or {}).get("privacy", {}).get("retention_days")
    return default if promised is None else int(promised)


def _disputed(connection: Connection) -> Sequence[str]:
    return connection.execute(select(cases.c.job).where(cases.c.state == "open").distinct()).scalars().all()


def _digests(connection: Connection, these: ColumnElement[bool]) -> Iterator[str]:
    """Of the files of these jobs (a condition on their table), inputs first."""
    manifests = select(jobs.c.manifest).where(these)
    outputs = (
        select(tasks.c.outputs)
        .join(jobs, jobs.c.id == tasks.c.job)
        .where(these, tasks.c.files > 0)
        .order_by(tasks.c.job, tasks.c.position)
    )
    for manifest in connection.execute(manifests, execution_options=_IN_PARTS).scalars():
        yield from files_of(manifest)
    for listing in connection.execute(outputs, execution_options=_IN_PARTS).scalars():
        yield from (file["sha256"] for file in listing["files"])


def _deleted(connection: Connection, job: str) -> Iterator[Deletion]:
    of_job = select(attempts.c.id).where(attempts.c.job == job).order_by(attempts.c.created_at)
    names = [*_digests(connection, jobs.c.id == job)]
    known: dict[str, RowMapping] = {}
    for part in parts(names):
        # What was sent again after that is there.
        there = select(blobs.c.sha256)
        query = select(deletions).where(
            deletions.c.kind == "file", deletions.c.name.in_(part), deletions.c.name.not_in(there)
        )
        known |= {row["name"]: row for row in connection.execute(query).mappings()}
    yield from (_deletion(known[name]) for name in dict.fromkeys(names) if name in known)
    for attempt in connection.execute(of_job).scalars():
        of_attempt = and_(deletions.c.name >= f"{attempt}-", deletions.c.name < f"{attempt}.")
        query = select(deletions).where(deletions.c.kind == "log", of_attempt).order_by(deletions.c.name)
        yield from map(_deletion, connection.execute(query).mappings())


def _deletion(row: RowMapping) -> Deletion:
    return Deletion(kind=row["kind"], name=row["name"], size=row["size"], at=row["at"])
