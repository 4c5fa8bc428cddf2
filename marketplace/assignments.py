"""Assignments: what a worker is to run, what it says while it runs, and its signed result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Text, bindparam, cast, func, select
from sqlalchemy.engine import RowMapping

from marketplace.blobs import grant, known_sizes, may_read, owned
from marketplace.logs import Logs
from marketplace.retention import Keeping
from marketplace.store.attempting import attempt_unknown, attempts_started
from marketplace.store.database import Store
from marketplace.store.listed import among
from marketplace.store.progress import log_appended, log_bytes, progress_reported, task_ended
from marketplace.store.reports import attempts_reported
from marketplace.store.tables import attempts, bundles, deals, jobs, offers, tasks
from marketplace.store.terms import parsed
from marketplace.workers import Workers
from prixfixe.errors import Conflict, InvalidInput, NotFound, PrixfixeError, Unavailable
from prixfixe.protocol import wire
from prixfixe.protocol.deals import Deal, refusal_root
from prixfixe.protocol.hashing import sha256
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.orders import order_from_json
from prixfixe.protocol.outputs import lot_root
from prixfixe.protocol.product import Product
from prixfixe.protocol.reports import LotReport, most_listing_bytes, most_report_bytes
from prixfixe.protocol.signatures import parse_signature, require_signer
from prixfixe.protocol.typed_data import Domain, format_bytes32

# Made once: making a statement takes longer than running it.
_OF_DEAL: Final = (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening)
_NEXT: Final = (
    select(
        *(attempts.c[name] for name in ("id", "deal", "lot")),
        *(deals.c.deal.label("terms"), deals.c.due, deals.c.deadline),
        *(jobs.c[name] for name in ("order", "offer_id", "image_archive", "product")),
        cast(jobs.c.manifest, Text).label("manifest"),
    )
    .join(deals, _OF_DEAL)
    .join(jobs, jobs.c.id == attempts.c.job)
    .where(
        attempts.c.worker == bindparam("worker"),
        deals.c.state == "open",
        (attempts.c.state == "assigned")
        | ((attempts.c.state == "running") & among(attempts.c.id, "forgotten")),
    )
    .order_by(attempts.c.created_at, attempts.c.id)
    .limit(bindparam("most"))
)
_OWN: Final = select(attempts).where(
    attempts.c.id == bindparam("attempt"), attempts.c.worker == bindparam("worker")
)
_DEAL: Final = select(deals).where(deals.c.id == bindparam("deal"), deals.c.opening == bindparam("opening"))
_REPORTED: Final = (
    select(
        *(attempts.c[name] for name in ("id", "state", "result", "reason", "deal", "opening")),
        *(deals.c.deal.label("terms"), deals.c.due),
        *(jobs.c[name] for name in ("product", "deliver_by", "offer_id")),
    )
    .join(jobs, jobs.c.id == attempts.c.job)
    .outerjoin(deals, _OF_DEAL)
    .where(among(attempts.c.id, "attempts"), attempts.c.worker == bindparam("worker"))
)
_SOLD: Final = (
    select(bundles.c.definition, offers.c.up_to)
    .join(bundles, (bundles.c.id == offers.c.bundle) & (bundles.c.version == offers.c.version))
    .where(offers.c.offer_id == bindparam("offer"))
)


_MOST_MANIFESTS: Final = 4 << 20  # characters of those that are handed out at once


class Assignments:
    """The worker's side of an attempt. Every call names its worker's key; nobody else's attempt exists."""

    def __init__(self, store: Store, logs: Logs, domain: Domain, workers: Workers, keeping: Keeping) -> None:
        self._store = store
        self._logs = logs
        self._domain = domain
        self._workers = workers
        self._keeping = keeping

    def next(self, key: str) -> wire.Assignment | None:
        """The oldest attempt that the worker has not started, or started and lost; None when there is
        none."""
        return next(iter(self.next_each(key, 1)), None)

    def next_each(self, key: str, most: int) -> list[wire.Assignment]:
        """As `next`, the oldest of them, as many as there are and are not too long together."""
        wanted = {"worker": key, "forgotten": list(self._workers.forgotten(key)), "most": most}
        rows: list[RowMapping] = []
        room = _MOST_MANIFESTS
        with self._store.read() as connection:
            for row in connection.execute(_NEXT, wanted).mappings():
                room -= len(row["manifest"])
                if rows and room < 0:
                    break
                rows.append(row)
            sold = {row["offer_id"]: _sold(connection, row["offer_id"]) for row in rows}
        return [_assignment(row, *sold[row["offer_id"]]) for row in rows]

    def start(self, attempt: str, key: str) -> None:
        """The worker runs it now. Saying so twice is no error."""
        for refused in self.start_each([attempt], key).values():
            raise refused

    def start_each(self, wanted: Sequence[str], key: str) -> dict[str, NotFound | Conflict]:
        """As `start` for several, in one transaction; of those that cannot start why."""
        with self._store.write() as connection:
            return attempts_started(connection, wanted, key)

    def log(self, attempt: str, key: str, chunk: wire.LogChunk) -> None:
        """Text and progress of a task, for its customer to see live."""
        with self._store.write() as connection:
            row = own_attempt(connection, attempt, key)
            count = _count(connection, row, chunk.task)
            known = log_bytes(connection, attempt, chunk.task)
            text = self._logs.append(attempt, chunk.task, known, chunk.offset, chunk.text, share=count)
            if text:
                log_appended(connection, attempt, chunk.task, known, text)
            if chunk.progress is not None:
                progress_reported(connection, attempt, chunk.task, chunk.progress)
            if chunk.status is not None:
                task_ended(connection, attempt, chunk.task)

    def longest_report(self, attempt: str, key: str) -> int:
        """How many bytes the report of this attempt may have."""
        with self._store.read() as connection:
            row = own_attempt(connection, attempt, key)
            return most_report_bytes(Deal.from_json(deal_of(connection, row)["deal"]).count)

    def report(self, attempt: str, key: str, report: LotReport) -> wire.ReportAnswer:
        """The signed end of an attempt: checked, stored, and on its way to the contract.

        SignatureError, InvalidInput or Conflict when something is wrong with the report itself; an answer
        that is not accepted when it is sound and came too late. The same report again gives the same answer.
        """
        answer = self.report_each({attempt: report}, key)[attempt]
        if isinstance(answer, PrixfixeError):
            raise answer
        return answer

    def report_each(
        self, reports: Mapping[str, LotReport], key: str
    ) -> dict[str, wire.ReportAnswer | PrixfixeError]:
        """As `report` for several attempts, by id, each with an answer or an error of its own. They are
        stored in one transaction."""
        asked = {"attempts": list(reports), "worker": key}
        with self._store.read() as connection:
            rows = {row["id"]: row for row in connection.execute(_REPORTED, asked).mappings()}
        answers: dict[str, wire.ReportAnswer | PrixfixeError] = {}
        sound: dict[str, LotReport] = {}
        for attempt, report in reports.items():
            try:
                known = self._known(attempt, key, rows.get(attempt), report)
            except PrixfixeError as error:
                answers[attempt] = error
            else:
                if known is None:
                    sound[attempt] = report
                else:
                    answers[attempt] = known
        if sound:
            answers |= self._store_each(key, rows, sound)
        return answers

    def _known(
        self, attempt: str, key: str, row: RowMapping | None, report: LotReport
    ) -> wire.ReportAnswer | None:
        """The answer to a report that was here before; None for a sound one that is to be stored."""
        if row is None:
            raise attempt_unknown(attempt, key)
        if row["terms"] is None:
            raise _taken_back(row["deal"])
        if row["state"] in ("succeeded", "failed"):
            return _answer_again(row, report)
        self._require_sound(key, _terms(row), row, report)
        return None

    def _store_each(
        self, key: str, rows: Mapping[str, RowMapping], sound: Mapping[str, LotReport]
    ) -> dict[str, wire.ReportAnswer | PrixfixeError]:
        answers: dict[str, wire.ReportAnswer | PrixfixeError] = {}
        with self._store.write() as connection:
            whole = {}
            for attempt, report in sound.items():
                row = rows[attempt]
                try:
                    if report.result.done and not _is_delivered(connection, row, report):
                        _require_outputs(connection, report, row["product"], key)
                except PrixfixeError as error:
                    answers[attempt] = error
                else:
                    whole[attempt] = report
            refused = attempts_reported(connection, whole)
            for attempt, report in whole.items():
                if attempt in refused:
                    answers[attempt] = _too_late(refused[attempt])
                    continue
                answers[attempt] = wire.ReportAnswer(accepted=True)
                row = rows[attempt]
                digests = [file.sha256 for task in report.tasks for file in task.outputs.files]
                if report.result.done and digests:
                    grant(connection, digests, _terms(row).customer)
                    self._keeping.keep(connection, digests, row["deliver_by"], row["offer_id"])
            # Slots are free: what waits may be matched with them now.
            self._store.notify(connection, "asks")
        return answers

    def _require_sound(self, key: str, deal: Deal, row: RowMapping, report: LotReport) -> None:
        """The result is about this deal, says what the outputs say, and is signed by the leg's key."""
        result, told = report.result, report.tasks
        require_signer(result.digest(self._domain), parse_signature(report.signature), key)
        if format_bytes32(result.deal) != row["deal"]:
            raise _bad(f"the result is about deal {format_bytes32(result.deal)}, not {row['deal']}")
        if len(told) != deal.count:
            raise _bad(f"the lot has {deal.count} tasks, and the report tells of {len(told)}")
        digests = _listed(deal, report)
        paid = sum(deal.pays_for(task.status) for task in told)
        if result.done != paid:
            raise _bad(f"{paid} of these tasks are paid for, and {result.done} are signed as done")
        if result.done:
            root = lot_root(zip((task.status for task in told), digests, strict=True))
            if result.root != root:
                raise _bad(
                    f"the root of these tasks is {format_bytes32(root)}, signed is "
                    f"{format_bytes32(result.root)}"
                )
        if not result.done and result.root != refusal_root(row["due"]):
            raise Conflict(
                f"a refusal carries the deal's due, {row['due']}, as its root",
                code="due-changed",
                hint="the deal was hastened: read its due again and sign anew",
                fault="provider",
                due=row["due"],
            )


def _listed(deal: Deal, report: LotReport) -> list[bytes]:
    """The digest of each task. What is not paid for delivers no outputs, and no list of outputs is longer
    than a report can hold."""
    most, digests = most_listing_bytes(deal.count), []
    for place, task in enumerate(report.tasks):
        if task.outputs.files and not (report.result.done and deal.pays_for(task.status)):
            raise _bad(f"the task at place {place} is not paid for, and brings outputs")
        listing = task.outputs.to_bytes()
        if len(listing) > most:
            raise _bad(f"the list of outputs of the task at place {place} has more than {most} bytes")
        digests.append(sha256(listing))
    return digests


def _terms(row: RowMapping) -> Deal:
    """Of an attempt with its deal's `terms`."""
    return parsed(row["deal"], row["terms"])


def _too_late(refused: Conflict) -> wire.ReportAnswer | Conflict:
    """A report that is sound and came too late is answered, not refused."""
    if refused.code != "deal-over":
        return refused
    told = wire.Reason(
        code=refused.code, message=refused.message, hint=refused.hint or "", fault=refused.fault
    )
    return wire.ReportAnswer(accepted=False, reason=told)


def _assignment(row: RowMapping, definition: dict[str, Any] | None, limit: int | None) -> wire.Assignment:
    order, lot = order_from_json(row["order"]), row["lot"]
    first = lot * order.lot
    return wire.Assignment(
        attempt=row["id"],
        deal=_terms(row),
        deal_id=row["deal"],
        due=row["due"],
        deadline=row["deadline"],
        order=order,
        manifest=_manifest(row["manifest"]),
        definition=definition,
        image_archive=row["image_archive"],
        product=Product.from_bytes(bytes.fromhex(row["product"][2:])),
        tasks=tuple(range(first, first + order.lot_size(lot))),
        limit_units=limit,
    )


@lru_cache(maxsize=64)
def _manifest(stored: str) -> JobManifest:
    """Of its JSON: the lots of a job come one after the other."""
    return JobManifest.model_validate_json(stored)


def _sold(connection: Connection, offer_id: str | None) -> tuple[dict[str, Any] | None, int | None]:
    """The definition and the largest number of units of an offer; neither for a bid."""
    if offer_id is None:
        return None, None
    found = connection.execute(_SOLD, {"offer": offer_id}).one()
    return found.definition, found.up_to


def own_attempt(connection: Connection, attempt: str, key: str) -> RowMapping:
    """The attempt, if it is this worker's; NotFound otherwise."""
    row = connection.execute(_OWN, {"attempt": attempt, "worker": key}).mappings().one_or_none()
    if row is None:
        raise attempt_unknown(attempt, key)
    return row


def deal_of(connection: Connection, row: RowMapping) -> RowMapping:
    """The deal of an attempt; Unavailable while the chain has taken it back."""
    of = {"deal": row["deal"], "opening": row["opening"]}
    found = connection.execute(_DEAL, of).mappings().one_or_none()
    if found is None:
        raise _taken_back(row["deal"])
    return found


def _taken_back(deal: str) -> Unavailable:
    return Unavailable(f"the chain took deal {deal} back; it may open again", code="deal-taken-back")


def _count(connection: Connection, row: RowMapping, task: int) -> int:
    """Tasks of the attempt's lot; InvalidInput when `task` is none of them."""
    of_lot = (tasks.c.job == row["job"], tasks.c.lot == row["lot"])
    known, count = connection.execute(
        select(func.count().filter(tasks.c.position == task), func.count()).where(*of_lot)
    ).one()
    if not known:
        raise InvalidInput(f"task {task} is not of this attempt's lot", code="task-unknown", fault="provider")
    return int(count)


def _answer_again(row: RowMapping, report: LotReport) -> wire.ReportAnswer:
    if row["result"] != report.result.to_json():
        raise Conflict(
            "another result of this attempt is here already", code="already-reported", fault="provider"
        )
    if row["state"] == "failed" and report.result.done:
        return wire.ReportAnswer(accepted=False, reason=wire.Reason.model_validate(row["reason"]))
    return wire.ReportAnswer(accepted=True)


def _require_outputs(connection: Connection, report: LotReport, product: str, key: str) -> None:
    """Every file is here, whole, before the customer's money goes to whoever made it. product: its code.

    And the worker has shown that it has the bytes: naming the digest of a stranger's file must not open it to
    a customer.
    """
    files = [file for task in report.tasks for file in task.outputs.files]
    if not files:
        return
    digests = [file.sha256 for file in files]
    sizes, own = known_sizes(connection, digests), owned(connection, digests, key)
    missing = [
        file
        for file in files
        if file.sha256 not in sizes or (file.sha256 not in own and not may_read(connection, file.sha256, key))
    ]
    if missing:
        raise Conflict(
            f"{len(missing)} output files are not uploaded, such as {missing[0].path!r}",
            code="outputs-missing",
            hint="upload them (PUT /v1/blobs/{sha256}), then report again",
            fault="provider",
            retryable=True,
            missing=[file.sha256 for file in missing[:100]],
        )
    for file in files:
        if sizes[file.sha256] != file.size:
            raise _bad(f"output {file.path!r} has {sizes[file.sha256]} bytes, the manifest says {file.size}")
    room = Product.from_bytes(bytes.fromhex(product[2:])).disk_mib << 20
    for task in report.tasks:
        if task.outputs.total_size > room:
            raise _bad(f"the outputs have {task.outputs.total_size} bytes, the product's disk {room}")


def _is_delivered(connection: Connection, row: RowMapping, report: LotReport) -> bool:
    """Whether a replica of the attempt has brought these very outputs, which the root names: nobody needs to
    bring them twice."""
    if row["state"] != "opened":
        return False
    query = select(attempts.c.result).where(
        attempts.c.deal == row["deal"],
        attempts.c.opening == row["opening"],
        attempts.c.state == "succeeded",
        attempts.c.id != row["id"],
    )
    result = report.result.to_json()
    return result in connection.execute(query).scalars().all()


def _bad(message: str, **values: Any) -> InvalidInput:
    return InvalidInput(message, code="bad-report", fault="provider", **values)
