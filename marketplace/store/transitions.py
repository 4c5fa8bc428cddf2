"""Every change of state of a job or lot, with its tasks, each a function of its transition's name.

The transitions are written in `marketplace.store.states`; those of attempts are in
`marketplace.store.attempting`; what the chain's events do to a deal is in `marketplace.store.deals`, built on
these. A transition that finds another state than the one it
leaves raises `Conflict` (code `stale-state`) and the caller's transaction rolls back, so nothing happens
twice. All take the connection of a `Store.write()`, append the job's events and queue the wake-ups that
leave with the commit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Integer, bindparam, func, insert, literal, or_, select, update

from marketplace.store import outbox, states
from marketplace.store.database import notify
from marketplace.store.events import Kind, add_events
from marketplace.store.listed import among, pair_among
from marketplace.store.many import execute_each
from marketplace.store.moves import move, move_each, moving
from marketplace.store.tables import attempts, deals, jobs, lots, tasks
from marketplace.store.terms import terms_of
from prixfixe.errors import Conflict
from prixfixe.protocol.orders import Order, Purchase
from prixfixe.protocol.typed_data import format_bytes32
from prixfixe.protocol.wire import Reason

MAX_TRIES: Final = 3  # deals that a lot gets before it ends for a provider's fault
_PAUSE_SECONDS: Final = 2.0  # before a lot that came back twice is matched again; doubles with each try
_CANCELLED: Final = Reason(
    code="cancelled", message="cancelled while no worker had it; nothing was charged", fault="customer"
)
# Made once: making a statement takes longer than running it.
_STAGES: Final = select(jobs.c.id, jobs.c.state, jobs.c.stage).where(among(jobs.c.id, "jobs"))
_SAY: Final = update(jobs).where(jobs.c.id == bindparam("of")).values(stage=bindparam("said"))
_LOTS: Final = select(lots.c.job, lots.c.lot, lots.c.state, lots.c.tries).where(
    pair_among(lots.c.job, lots.c.lot, "lots")
)
_SAY_WHY: Final = (
    update(lots)
    .where(lots.c.job == bindparam("of"), lots.c.lot == bindparam("at"), lots.c.state == "free")
    .values(waiting_reason=bindparam("why"))
)
_ENDS: Final = select(lots.c.job, lots.c.state).where(among(lots.c.job, "jobs")).distinct()
_KEPT: Final = select(deals.c.job, deals.c.id, deals.c.deal, deals.c.returned).where(
    among(deals.c.job, "jobs"), deals.c.state.in_(("settled", "disputed"))
)
_UNDONE: Final = (
    select(
        tasks.c.job,
        func.count().label("total"),
        func.count().filter(tasks.c.state == "failed").label("failed"),
        func.min(tasks.c.position).filter(tasks.c.state == "failed").label("first"),
    )
    .where(among(tasks.c.job, "jobs"))
    .group_by(tasks.c.job)
)
_REASONS: Final = select(jobs.c.id, jobs.c.reason).where(among(jobs.c.id, "jobs"))
UNSTARTED: Final = ("assigned", "lost")  # attempts that do not keep their customer from taking a lot back


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """What a job needs beside the signed order. kind: of `tables.JOB_KINDS`. product: 32 bytes. replicas:
    legs of each deal. image_archive: blob that holds the image; None: it comes from its registry. whole,
    providers: as in `market.book.Buy`. channel: by which its customer came; None: nobody said."""

    kind: str
    product: bytes
    replicas: int = 1
    image_archive: str | None = None
    whole: bool = False
    providers: tuple[str, ...] | None = None
    channel: str | None = None


# Made once: making a statement takes longer than running it.
_FIRST_STAGE: Final = "waiting for a worker"
_NEWEST_JOB: Final = select(func.coalesce(func.max(jobs.c.number), 0))
_PLACE: Final = insert(jobs)
_PLACE_LOTS: Final = insert(lots).values(
    job=bindparam("job"), lot=bindparam("lot"), count=bindparam("count"), state="free"
)
# The database counts: an order may have tens of thousands of tasks.
_POSITIONS: Final = select(literal(0).label("position")).cte("positions", recursive=True)
_COUNTED: Final = _POSITIONS.union_all(
    select(_POSITIONS.c.position + 1).where(_POSITIONS.c.position + 1 < bindparam("number", type_=Integer))
)
_PLACE_TASKS: Final = insert(tasks).from_select(
    ["job", "position", "lot", "state"],
    select(
        bindparam("job", type_=tasks.c.job.type),
        _COUNTED.c.position,
        _COUNTED.c.position // bindparam("size", type_=Integer),
        literal("queued"),
    ),
)

# --- jobs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placement:
    """An order that was taken. job: the order's digest. quote: id of the one that it accepts."""

    job: str
    quote: str
    order: Order
    signature: str
    manifest: dict[str, Any]
    terms: OrderTerms


def job_placed(
    connection: Connection,
    *,
    job: str,
    quote: str,
    order: Order,
    signature: str,
    manifest: dict[str, Any],
    terms: OrderTerms,
) -> None:
    """As `jobs_placed`, of one."""
    jobs_placed(connection, [Placement(job, quote, order, signature, manifest, terms)])


def jobs_placed(connection: Connection, placed: Sequence[Placement]) -> None:
    """New jobs: queued, their lots free, their tasks queued."""
    if not placed:
        return
    newest, now = int(connection.execute(_NEWEST_JOB).scalar_one()), int(time.time())
    rows = [_job_row(each, newest + at, now) for at, each in enumerate(placed, start=1)]
    execute_each(connection, _PLACE, rows)
    execute_each(
        connection,
        _PLACE_LOTS,
        [
            {"job": each.job, "lot": index, "count": each.order.lot_size(index)}
            for each in placed
            for index in range(each.order.lots)
        ],
    )
    execute_each(
        connection,
        _PLACE_TASKS,
        [{"job": each.job, "size": each.order.lot, "number": each.order.tasks} for each in placed],
    )
    first = {"state": "queued", "stage": _FIRST_STAGE}
    add_events(connection, [(each.job, "state", first) for each in placed])
    notify(connection, "lots")


def _job_row(placed: Placement, number: int, now: int) -> dict[str, Any]:
    order, terms = placed.order, placed.terms
    return {
        "id": placed.job,
        "number": number,
        "customer": order.customer,
        "quote": placed.quote,
        "kind": terms.kind,
        "order": order.to_json(),
        "signature": placed.signature,
        "manifest": placed.manifest,
        "image": placed.manifest["image"],
        "image_archive": terms.image_archive,
        "offer_id": format_bytes32(order.bundle) if isinstance(order, Purchase) else None,
        "product": format_bytes32(terms.product),
        "price": order.price,
        "replicas": terms.replicas,
        "whole": terms.whole,
        "providers": None if terms.providers is None else list(terms.providers),
        "state": "queued",
        "stage": _FIRST_STAGE,
        "charged": 0,
        "expiry": order.expiry,
        "deliver_by": order.deliver_by,
        "created_at": now,
        "channel": terms.channel,
    }


def job_cancelled(connection: Connection, job: str, reason: Reason = _CANCELLED) -> None:
    """queued or running -> refunded by its customer. Conflict once any lot is settled, matched or being
    matched: one that came back from a worker is not."""
    told = reason.model_dump(mode="json")
    free = moving(states.LOT_CANCELLED).where(lots.c.job == job)
    moved = connection.execute(free.values(reason=told)).rowcount
    total = connection.execute(select(func.count()).where(lots.c.job == job)).scalar_one()
    if moved != total:
        raise Conflict(
            "the job cannot be cancelled: a worker has it already",
            code="already-matched",
            hint="if no result arrives by its deadline the whole price comes back by itself",
        )
    connection.execute(update(jobs).where(jobs.c.id == job).values(reason=told))
    _end_jobs(connection, [job])
    notify(connection, "lots")


def unstarted_cancelled(connection: Connection, job: str) -> None:
    """Whatever no worker has started is taken back by its customer: free lots end now, and their money is
    free; one that is matched, or being matched, ends when its worker, told at its start, refuses it, or the
    deal expires. What is started stays sold. Conflict when nothing is left to take back."""
    running = select(deals.c.lot).join(
        attempts, (attempts.c.deal == deals.c.id) & (attempts.c.opening == deals.c.opening)
    )
    started = running.where(deals.c.job == job, deals.c.state == "open", attempts.c.state.not_in(UNSTARTED))
    back = connection.execute(
        select(lots.c.lot, lots.c.state)
        .where(
            lots.c.job == job,
            lots.c.state.in_(("free", "matching", "open")),
            lots.c.lot.not_in(started.scalar_subquery()),
        )
        .order_by(lots.c.lot)
    ).all()
    if not back:
        raise Conflict(
            "nothing of the job can be taken back: workers have started all that is not over",
            code="already-matched",
            hint="what is started stays sold; if no result arrives by its deadline the price comes back by "
            "itself",
        )
    connection.execute(update(jobs).where(jobs.c.id == job).values(cancelled_at=int(time.time())))
    for row in back:
        if row.state == "free":
            lot_ended(connection, job, row.lot, _CANCELLED, states.LOT_CANCELLED)
    stage_said(connection, job, "cancelled; what a worker has started goes on")
    for worker in connection.execute(
        select(attempts.c.worker).where(attempts.c.job == job, attempts.c.state == "assigned")
    ).scalars():
        notify(connection, f"worker:{worker}")
    notify(connection, "lots")


def is_cancelled(connection: Connection, job: str) -> bool:
    """Whether its customer has taken back what no worker had started."""
    query = select(jobs.c.cancelled_at).where(jobs.c.id == job)
    return connection.execute(query).scalar_one() is not None


def stage_said(connection: Connection, job: str, stage: str) -> None:
    """The few words for people that a job shows, with an event when they changed. No change of state."""
    stages_said(connection, {job: stage})


def stages_said(connection: Connection, stages: Mapping[str, str]) -> None:
    """As `stage_said`, of several jobs."""
    if not stages:
        return
    news = [
        (row.id, row.state, stages[row.id][:200])
        for row in connection.execute(_STAGES, {"jobs": list(stages)})
        if row.state in ("queued", "running") and row.stage != stages[row.id][:200]
    ]
    if news:
        execute_each(connection, _SAY, [{"of": job, "said": stage} for job, _, stage in news])
        add_events(
            connection, [(job, "state", {"state": state, "stage": stage}) for job, state, stage in news]
        )


# --- lots ---------------------------------------------------------------------------------------------------


def lots_of(connection: Connection, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Any]:
    """State and tries of these lots (job and index)."""
    found = connection.execute(_LOTS, {"lots": list(wanted)}) if wanted else ()
    return {(row.job, row.lot): row for row in found}


def lots_matched(
    connection: Connection, wishes: Mapping[tuple[str, int], Sequence[dict[str, Any]]]
) -> list[tuple[str, int]]:
    """free -> matching, with a `match` of each in the outbox. wishes: by job and lot, `{"worker", "ask",
    "signature"}` one a leg. Gives those that are matched: one that is not free any more, or of which a match
    is under way, is left as it is."""
    found = lots_of(connection, list(wishes))
    free = [lot for lot in wishes if lot in found and found[lot].state == "free"]
    queued = outbox.queue_matches(
        connection, [{"job": job, "lot": lot, "asks": list(wishes[job, lot])} for job, lot in free]
    )
    keys = [{"job": each["job"], "lot": each["lot"]} for each in queued]
    move_each(connection, states.LOT_MATCHED, keys, [{"waiting_reason": None}] * len(keys))
    stages_said(connection, {each["job"]: "paying into the contract" for each in queued})
    return [(each["job"], each["lot"]) for each in queued]


def lot_unmatched(connection: Connection, job: str, lot: int, why: str, not_before: float) -> None:
    """matching -> free: the match failed. why: in words. not_before: service clock, when to try again."""
    values = {"waiting_reason": why, "not_before": not_before}
    move(connection, states.LOT_UNMATCHED, {"job": job, "lot": lot}, **values)
    if end_if_cancelled(connection, job, lot):
        return
    stage_said(connection, job, f"waiting for a worker: {why}")
    notify(connection, "lots")


def end_if_cancelled(connection: Connection, job: str, lot: int) -> bool:
    """A lot that is free again ends when its customer has cancelled meanwhile; whether it did."""
    if not is_cancelled(connection, job):
        return False
    lot_ended(connection, job, lot, _CANCELLED, states.LOT_CANCELLED)
    return True


def lots_wait(connection: Connection, whys: Mapping[tuple[str, int], str]) -> None:
    """Lots that matched nothing say why, by job and index; of those that are free still. No change of
    state."""
    found = lots_of(connection, list(whys))
    said = {lot: why for lot, why in whys.items() if lot in found and found[lot].state == "free"}
    if not said:
        return
    rows = [{"of": job, "at": lot, "why": why} for (job, lot), why in said.items()]
    execute_each(connection, _SAY_WHY, rows)
    stages_said(connection, {job: f"waiting for a worker: {why}" for (job, _), why in said.items()})


def lot_freed(connection: Connection, job: str, lot: int, why: str) -> None:
    """open -> free: refused by a worker's fault or expired; its unfinished tasks are queued again, and the
    second worker is tried at once, the next after a pause that doubles with each try."""
    key = {"job": job, "lot": lot}
    tried = select(lots.c.tries).where(lots.c.job == job, lots.c.lot == lot)
    tries = connection.execute(tried).scalar_one()
    pause = _PAUSE_SECONDS * 2 ** (tries - 2) if tries > 1 else 0.0
    move(connection, states.LOT_FREED, key, waiting_reason=why, not_before=time.time() + pause)
    tasks_queued_again(connection, job, lot)
    stage_said(connection, job, f"looking for another worker: {why}")
    notify(connection, "lots")


def tasks_queued_again(connection: Connection, job: str, lot: int) -> None:
    """running, succeeded or failed -> queued: what was said of a lot's tasks counts no more."""
    of = (tasks.c.job == job, tasks.c.lot == lot)
    connection.execute(moving(states.TASK_QUEUED_AGAIN).where(*of).values(status=None, outputs=None, files=0))
    # Those of a lost attempt are queued already, as far as it was: it might have come back.
    connection.execute(
        update(tasks).where(*of, or_(tasks.c.progress > 0, tasks.c.over)).values(progress=0.0, over=False)
    )
    where = (lots.c.job == job, lots.c.lot == lot)
    connection.execute(update(lots).where(*where).values(progress=0.0, over=0))
    several = connection.execute(select(func.count()).where(tasks.c.job == job)).scalar_one() > 1
    if not several:
        connection.execute(update(jobs).where(jobs.c.id == job).values(progress=None))


def lot_ended(
    connection: Connection,
    job: str,
    lot: int,
    reason: Reason,
    how: states.Transition = states.LOT_ENDED,
) -> None:
    """open -> ended: nothing is paid for it. The last lot's end ends the job. how: `LOT_GIVEN_UP` or
    `LOT_CANCELLED` for one that is free (a match under way has the last word), `LOT_CLOSED` by the chain."""
    told = reason.model_dump(mode="json")
    move(connection, how, {"job": job, "lot": lot}, waiting_reason=None, reason=told)
    connection.execute(
        update(jobs).where(jobs.c.id == job, jobs.c.state.in_(("queued", "running"))).values(reason=told)
    )
    _end_jobs(connection, [job])


def lots_settled(connection: Connection, settled: Sequence[tuple[str, int]]) -> None:
    """open -> settled. The last lot's end ends the job."""
    keys = [{"job": job, "lot": lot} for job, lot in settled]
    move_each(connection, states.LOT_SETTLED, keys, [{"waiting_reason": None}] * len(keys))
    _end_jobs(connection, dict.fromkeys(job for job, _ in settled))


def _end_jobs(connection: Connection, of: Iterable[str]) -> None:
    """queued or running -> settled or refunded, of those of which no lot is left to do. The one place where a
    job ends."""
    # The database tells them apart: a job may have thousands of lots, and each of them asks here at its end.
    ends: dict[str, set[str]] = {job: set() for job in of}
    for row in connection.execute(_ENDS, {"jobs": list(ends)}) if ends else ():
        ends[row.job].add(row.state)
    over = [job for job in ends if ends[job] <= {"settled", "ended"}]
    if not over:
        return
    kept, now = charges(connection, over), int(time.time())
    whole = [job for job in over if ends[job] == {"settled"}]
    reasons = _not_done(connection, whole)
    told = {job: {"charged": kept[job], "ended_at": now, "stage": ""} for job in over}
    values = [told[job] | {"reason": reasons[job], "progress": 1.0} for job in whole]
    move_each(connection, states.JOB_SETTLED, [{"id": job} for job in whole], values)
    rest = [job for job in over if job not in reasons]
    for how in (states.JOB_SETTLED, states.JOB_REFUNDED):
        some = [job for job in rest if ("settled" in ends[job]) == (how is states.JOB_SETTLED)]
        move_each(connection, how, [{"id": job} for job in some], [told[job] for job in some])
    if rest:
        reasons |= {row.id: row.reason for row in connection.execute(_REASONS, {"jobs": rest})}
    news: list[tuple[str, Kind, dict[str, Any]]] = []
    for job in over:
        state = "settled" if "settled" in ends[job] else "refunded"
        end = {"state": state, "charged": str(kept[job]), "reason": reasons[job]}
        news.append((job, "state", {"state": state, "stage": ""}))
        news.append((job, "end", end))
    add_events(connection, news)


def _not_done(connection: Connection, of: Sequence[str]) -> dict[str, dict[str, Any] | None]:
    """The reasons of jobs of which every lot is paid; None of one of which every task is."""
    reasons: dict[str, dict[str, Any] | None] = {}
    for row in connection.execute(_UNDONE, {"jobs": list(of)}) if of else ():
        reason = Reason(
            code="tasks-failed",
            message=f"{row.failed} of {row.total} tasks failed, the first of them task {row.first}",
            hint="the receipt names each, with its reason; what was not done was not charged",
        )
        reasons[row.job] = reason.model_dump(mode="json") if row.failed else None
    return reasons


def charged(connection: Connection, job: str) -> int:
    """What the contract has kept of a job's money: the price of the settled deals less what they returned.
    One that is disputed still counts; one that was found guilty does not."""
    return charges(connection, [job])[job]


def charges(connection: Connection, of: Sequence[str]) -> dict[str, int]:
    """As `charged`, of several jobs."""
    kept = dict.fromkeys(of, 0)
    for row in connection.execute(_KEPT, {"jobs": list(of)}).mappings():
        kept[row["job"]] += terms_of(row).total.units - row["returned"]
    return kept
