"""How the tasks of a job ended: why, whose fault it was, and what it cost."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.engine import RowMapping

from marketplace.store.tables import deals, lots, tasks
from prixfixe.protocol.money import Money
from prixfixe.protocol.outputs import TaskStatus
from prixfixe.protocol.wire import JobEnd

_Fault: TypeAlias = Literal["none", "customer", "provider", "platform"]
_Key: TypeAlias = tuple[str, str, _Fault]

_OF_STATUS: Final[dict[TaskStatus, _Key]] = {
    TaskStatus.SUCCEEDED: ("done", "done and paid", "none"),
    TaskStatus.EXITED_NON_ZERO: ("exited-non-zero", "the program ended with an error", "customer"),
    TaskStatus.OUT_OF_MEMORY: ("out-of-memory", "the program needed more memory", "customer"),
    TaskStatus.OUT_OF_TIME: ("out-of-time", "the program needed more time", "customer"),
    TaskStatus.OUTPUT_REFUSED: ("output-refused", "its outputs broke the rules", "customer"),
    TaskStatus.INPUT_REFUSED: ("input-refused", "the program refused its input", "customer"),
    TaskStatus.COULD_NOT_START: ("could-not-start", "its worker could not run it", "provider"),
}
_JUDGED: Final[_Key] = (
    "judged-wrong",
    "the arbiter found the result wrong; what it had cost came back",
    "provider",
)
TOLD: Final = (*_OF_STATUS.values(), _JUDGED)  # beside the reasons of lots that ended


def ends_of(connection: Connection, job: RowMapping) -> tuple[JobEnd, ...]:
    """The tasks of a job that is over, by how they ended, most first; nothing before. What it was charged
    falls on the tasks that the contract pays for, equally, as its lots have one price. Of a lot that was
    judged wrong nothing is kept, so whatever its worker said of a task, that is how all of them ended."""
    if job["ended_at"] is None:
        return ()
    counts: Counter[_Key] = Counter()
    paid: Counter[_Key] = Counter()
    pays_for_all = job["kind"] != "bundle" and job["replicas"] > 1
    convicted = and_(deals.c.job == tasks.c.job, deals.c.lot == tasks.c.lot, deals.c.state == "guilty")
    for status, judged, count in connection.execute(
        select(tasks.c.status, deals.c.state, func.count())
        .join(lots, and_(lots.c.job == tasks.c.job, lots.c.lot == tasks.c.lot))
        .outerjoin(deals, convicted)  # at most one of a lot: it is settled once
        .where(tasks.c.job == job["id"], lots.c.state == "settled")
        .group_by(tasks.c.status, deals.c.state)
    ):
        if judged is not None:
            counts[_JUDGED] += count
            continue
        # Its worker was paid by itself and has not reported yet: what it was paid for it had done.
        known = TaskStatus.SUCCEEDED if status is None else TaskStatus(status)
        counts[_OF_STATUS[known]] += count
        if pays_for_all or known is TaskStatus.SUCCEEDED:
            paid[_OF_STATUS[known]] += count
    ended = select(lots.c.reason, lots.c["count"]).where(lots.c.job == job["id"], lots.c.state == "ended")
    for reason, count in connection.execute(ended):
        told = reason or {"code": "ended", "message": "ended before reasons were kept"}
        counts[told["code"], told["message"], told.get("fault", "none")] += count
    total = paid.total()
    return tuple(
        JobEnd(
            code=key[0],
            message=key[1],
            fault=key[2],
            tasks=count,
            charged=Money(job["charged"] * paid[key] // total if total else 0),
        )
        for key, count in counts.most_common()
    )
