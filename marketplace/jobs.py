"""Jobs as their customers see them: state, events, logs, outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Text, cast, func, select
from sqlalchemy.engine import RowMapping

from marketplace.blobs import Blob, Blobs
from marketplace.ends import ends_of
from marketplace.logs import Logs
from marketplace.paging import numbered, position
from marketplace.store.database import Store
from marketplace.store.disputes import cases_of
from marketplace.store.tables import (
    attempts,
    deals,
    job_events,
    jobs,
    quotes,
    task_logs,
    tasks,
    workers,
)
from marketplace.store.transitions import unstarted_cancelled
from prixfixe.errors import Conflict, NotFound
from prixfixe.protocol import wire
from prixfixe.protocol.disputes import Claim, Ground
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import order_from_json

INLINE_OUTPUTS: Final = 100  # files that a job shows of itself, and a page when nobody says how many
MOST_AHEAD: Final = 100  # jobs that are counted before one: each look at a job counts them
_OVER: Final = ("settled", "refunded")
_NEWEST_EVENTS: Final = 5000  # of any kind, among which a page looks for the log
_NEWEST_LOG_EVENTS: Final = 500
_NEWEST_LOG_CHARACTERS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file of a finished job. name: the last part of its path, for saving it."""

    blob: Blob
    name: str


class Jobs:
    """What a customer may read of its jobs, and the one thing that it may still do: cancel."""

    def __init__(self, store: Store, blobs: Blobs, logs: Logs) -> None:
        self._store = store
        self._blobs = blobs
        self._logs = logs

    def get(self, job: str, customer: str | None) -> wire.Job:
        """One job. customer: None when the caller has shown the order itself. NotFound for a stranger's."""
        with self._store.read() as connection:
            return _view(connection, job_row(connection, job, customer))

    def parameters(self, job: str, customer: str) -> dict[str, Any]:
        """What a job of this customer's was asked to do; NotFound for another's."""
        with self._store.read() as connection:
            return dict(job_row(connection, job, customer)["manifest"]["parameters"])

    def known(self, ids: Iterable[str]) -> dict[str, wire.Job]:
        """Jobs by their ids, for who has shown their orders."""
        with self._store.read() as connection:
            return {job: _view(connection, job_row(connection, job, None)) for job in ids}

    def page(
        self, customer: str, cursor: str | None, limit: int, state: wire.JobState | None = None
    ) -> tuple[tuple[wire.Job, ...], str | None]:
        """The customer's jobs, newest first, and the cursor of the next page. state: only those in it."""
        query = select(jobs).where(jobs.c.customer == customer).order_by(jobs.c.number.desc())
        if state is not None:
            query = query.where(jobs.c.state == state)
        with self._store.read() as connection:
            rows, following = numbered(connection, query, jobs.c.number, cursor, limit)
            return tuple(_view(connection, row) for row in rows), following

    def cancel(self, job: str, customer: str) -> wire.Job:
        """Take back whatever no worker has started: what no worker has ends at once, and its money never left
        the account. Conflict when nothing can be taken back."""
        with self._store.write() as connection:
            row = job_row(connection, job, customer)
            if row["state"] in _OVER:
                if (row["reason"] or {}).get("code") in ("cancelled", "replaced"):
                    return _view(connection, row)
                raise Conflict(f"the job is {row['state']} already", code="job-over")
            if row["cancelled_at"] is None:
                unstarted_cancelled(connection, job)
            return _view(connection, job_row(connection, job, customer))

    def events(
        self, job: str, customer: str, after: int, limit: int = 500
    ) -> tuple[list[wire.JobEvent], bool]:
        """Events with numbers above `after`, in order; and whether the job is over, so none will follow."""
        query = (
            select(job_events)
            .where(job_events.c.job == job, job_events.c.sequence > after)
            .order_by(job_events.c.sequence)
            .limit(limit)
        )
        with self._store.read() as connection:
            row = job_row(connection, job, customer)
            found = [
                wire.JobEvent(id=each["sequence"], kind=each["kind"], data=each["data"])
                for each in connection.execute(query).mappings()
            ]
        return found, row["state"] in _OVER

    def newest_log(self, job: str, customer: str) -> tuple[int, bool]:
        """The number of an event after which no more of the log was told than a page has room for, and
        whether there is any log behind it. At most the newest `_NEWEST_EVENTS` are looked at or follow."""
        of_job = job_events.c.job == job
        newest = select(func.coalesce(func.max(job_events.c.sequence), 0)).where(of_job)
        with self._store.read() as connection:
            job_row(connection, job, customer)
            after, told = int(connection.execute(newest).scalar_one()), 0
            query = (
                select(job_events.c.sequence, func.length(cast(job_events.c.data, Text)))
                .where(of_job, job_events.c.sequence > after - _NEWEST_EVENTS, job_events.c.kind == "log")
                .order_by(job_events.c.sequence.desc())
                .limit(_NEWEST_LOG_EVENTS)
            )
            rows = connection.execute(query).all()
        for sequence, length in rows:
            told += length
            if told > _NEWEST_LOG_CHARACTERS and sequence != rows[0].sequence:
                break
            after = sequence - 1
        return after, bool(rows)

    def log(self, job: str, customer: str, task: int | None = None) -> Iterator[bytes]:
        """The logs of all attempts and tasks, each under a line that names it; of a job of several tasks in
        the order of the tasks. task: of this one only."""
        query = (
            select(attempts.c.id, attempts.c.state, workers.c.name, task_logs.c.task)
            .join(task_logs, task_logs.c.attempt == attempts.c.id)
            .join(workers, workers.c.key == attempts.c.worker, isouter=True)
            .where(attempts.c.job == job)
            .order_by(task_logs.c.task, attempts.c.created_at, attempts.c.opening, attempts.c.id)
        )
        if task is not None:
            query = query.where(task_logs.c.task == task)
        with self._store.read() as connection:
            several = job_row(connection, job, customer)["manifest"]["tasks"] > 1
            rows = connection.execute(query).all()
        if several:
            return self._by_task([(row.task, row.id, row.state, row.name or "a worker") for row in rows])
        return self._joined([(row.id, row.state, row.name or "a worker") for row in rows])

    def outputs(
        self,
        job: str,
        customer: str,
        cursor: str | None = None,
        limit: int = INLINE_OUTPUTS,
        task: int | None = None,
    ) -> tuple[tuple[wire.OutputFileInfo, ...], str | None]:
        """Files of a settled job, none before, and the cursor of the next page. A page holds the files of
        whole tasks: of one at least, and then while there are no more than `limit`. task: only of this
        one."""
        with self._store.read() as connection:
            row = job_row(connection, job, customer)
            after = -1 if cursor is None else position(cursor)
            return _outputs(connection, row, after, limit, task)

    def output(self, job: str, path: str, customer: str) -> OutputFile:
        """One file of a settled job."""
        task: int | None = None
        with self._store.read() as connection:
            row = job_row(connection, job, customer)
            if row["manifest"]["tasks"] > 1:
                first = path.partition("/")[0]
                task = int(first) if first.isascii() and first.isdigit() and len(first) < 8 else None
            known, _ = _outputs(connection, row, -1, INLINE_OUTPUTS, task)
        found = next((file for file in known if file.path == path), None)
        if found is None:
            names = ", ".join(file.path for file in known[:20])
            raise NotFound(
                f"the job has no output {path[:200]!r}",
                code="output-unknown",
                hint=f"it has {names}" if names else "outputs are there once the job is settled",
            )
        if row["forgotten_at"] is not None:
            raise NotFound(
                f"{path[:200]!r} was deleted when the job was forgotten",
                code="job-forgotten",
                hint="`prixfixe jobs deletions JOB` says what was deleted; order it again to have it anew",
            )
        name = path.rpartition("/")[2]
        return OutputFile(self._blobs.find(found.sha256), name)

    def _joined(self, logs: list[tuple[str, str, str]]) -> Iterator[bytes]:
        for number, (attempt, state, worker) in enumerate(logs, 1):
            if len(logs) > 1:
                yield f"--- attempt {number} on {worker}: {state} ---\n".encode()
            yield from self._logs.read(attempt, 0)

    def _by_task(self, logs: list[tuple[int, str, str, str]]) -> Iterator[bytes]:
        for task, attempt, state, worker in logs:
            yield f"--- task {task} on {worker}: {state} ---\n".encode()
            ended = True
            for piece in self._logs.read(attempt, task):
                yield piece
                ended = piece.endswith(b"\n")
            if not ended:
                yield b"\n"


def job_row(connection: Connection, job: str, customer: str | None) -> RowMapping:
    """A job of this customer, of anyone when None; NotFound when there is none."""
    query = select(jobs).where(jobs.c.id == job)
    if customer is not None:
        query = query.where(jobs.c.customer == customer)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(
            f"there is no job {job[:80]!r} of yours",
            code="job-unknown",
            hint="see `prixfixe jobs list`; jobs belong to the key that ordered them",
        )
    return row


def _view(connection: Connection, row: RowMapping) -> wire.Job:
    quote: dict[str, Any] = connection.execute(
        select(quotes.c.quote).where(quotes.c.id == row["quote"])
    ).scalar_one()
    tried = connection.execute(select(func.count()).select_from(deals).where(deals.c.job == row["id"]))
    return wire.Job(
        id=row["id"],
        kind=row["kind"],
        state=row["state"],
        bundle=quote.get("bundle"),
        version=quote.get("version"),
        tier=quote.get("tier"),
        image=row["image"],
        tasks=row["manifest"]["tasks"],
        quoted=Money(int(quote["total"])),
        charged=Money(row["charged"]),
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        attempts=tried.scalar_one(),
        progress=row["progress"],
        stage=row["stage"],
        reason=None if row["reason"] is None else wire.Reason.model_validate(row["reason"]),
        outputs=_outputs(connection, row)[0],
        output_count=_output_count(connection, row),
        ends=ends_of(connection, row),
        disputes=tuple(_dispute(case, row) for case in cases_of(connection, row["id"])),
        ahead=_ahead(connection, row),
    )


def _ahead(connection: Connection, job: RowMapping) -> int | None:
    """Older jobs of the product that wait too: the matcher looks at lots in this order. None of a job that
    does not wait, or whose turn an auction decides."""
    if job["state"] != "queued" or job["kind"] == "auction":
        return None
    older = (
        select(jobs.c.id)
        .where(
            jobs.c.product == job["product"],
            jobs.c.state == "queued",
            jobs.c.kind != "auction",
            jobs.c.number < job["number"],
        )
        .limit(MOST_AHEAD)
    )
    return int(connection.execute(select(func.count()).select_from(older.subquery())).scalar_one())


def _dispute(case: RowMapping, job: RowMapping) -> wire.JobDispute:
    claim, lot = Claim.from_json(case["claim"]), order_from_json(job["order"]).lot
    return wire.JobDispute(
        state=case["state"],
        ground=Ground(claim.ground).word,
        task=case["lot"] * lot + claim.index,
        challenger=case["challenger"],
        bond=Money(case["bond"]),
        until=case["until"],
        returned=Money(case["returned"] or 0),
    )


def _outputs(
    connection: Connection,
    row: RowMapping,
    after: int = -1,
    limit: int = INLINE_OUTPUTS,
    only: int | None = None,
) -> tuple[tuple[wire.OutputFileInfo, ...], str | None]:
    """Files of the tasks beyond `after`, and where to go on; with several tasks each has its number as a
    folder."""
    if row["state"] != "settled":
        return (), None
    query = (
        select(tasks.c.position, tasks.c.outputs, tasks.c.files)
        .where(tasks.c.job == row["id"], tasks.c.files > 0, tasks.c.position > after)
        .order_by(tasks.c.position)
        .limit(limit + 1)  # each has a file, so more would be beyond the page
    )
    if only is not None:
        query = query.where(tasks.c.position == only)
    several = row["manifest"]["tasks"] > 1
    page: list[wire.OutputFileInfo] = []
    for task in connection.execute(query):
        if page and len(page) + task.files > limit:
            return tuple(page), str(after)
        after = task.position
        page += (
            wire.OutputFileInfo(
                path=f"{task.position}/{file['path']}" if several else file["path"],
                sha256=file["sha256"],
                size=file["size"],
            )
            for file in task.outputs["files"]
        )
    return tuple(page), None


def _output_count(connection: Connection, row: RowMapping) -> int:
    if row["state"] != "settled":
        return 0
    query = select(func.coalesce(func.sum(tasks.c.files), 0)).where(tasks.c.job == row["id"])
    return int(connection.execute(query).scalar_one())
