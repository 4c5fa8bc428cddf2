"""What a worker's report does: the end of its attempt, and of the deal when there is nobody to wait for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, cast

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store import rounds, states
from marketplace.store.attempting import attempt_row, worker_name
from marketplace.store.events import add_event
from marketplace.store.listed import among
from marketplace.store.many import execute_each
from marketplace.store.moves import move_each, moving
from marketplace.store.pauses import workers_did_well
from marketplace.store.settling import PAID_STATES, Standing, settle_when_said, standing_of
from marketplace.store.tables import attempts, deals, jobs, tasks
from marketplace.store.terms import terms_of
from marketplace.store.transitions import stage_said, stages_said
from prixfixe.errors import Conflict
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.typed_data import format_bytes32
from prixfixe.protocol.wire import Reason

UNTOLD: Final = Reason(code="failed", message="the job failed")  # of an attempt whose worker does not say why
# Made once: making a statement takes longer than running it.
_ATTEMPTS: Final = select(attempts).where(among(attempts.c.id, "attempts"))
_DEALS: Final = select(deals).where(among(deals.c.id, "deals"))
_LOT_TASKS: Final = select(jobs.c.id, jobs.c.order["lot"].as_integer().label("tasks")).where(
    among(jobs.c.id, "jobs")
)
_END_TASKS: Final = (
    update(tasks)
    .where(
        tasks.c.job == bindparam("of"),
        tasks.c.position >= bindparam("first"),
        tasks.c.position < bindparam("after"),
        # Spelled out: a list of values cannot be part of a statement that is executed for many rows.
        (tasks.c.state == "queued") | (tasks.c.state == "running"),
    )
    .values(
        state=bindparam("ended"),
        status=bindparam("as"),
        outputs=bindparam("with", type_=tasks.c.outputs.type),
        files=bindparam("number"),
    )
)


def attempt_reported(connection: Connection, attempt: str, report: LotReport) -> None:
    """assigned, running, opened or lost -> succeeded or failed, and `settle` in the outbox when that can be.

    The caller has checked signature, root and outputs. Conflict when the attempt has ended, its deal ended
    in another way than this report says (a worker that settled by itself reports the same root afterwards),
    or it is one of several replicas and no quorum has agreed on its result.
    """
    for refused in attempts_reported(connection, {attempt: report}).values():
        raise refused


def attempts_reported(connection: Connection, reports: Mapping[str, LotReport]) -> dict[str, Conflict]:
    """As `attempt_reported`, of several attempts, by id; of those that were not taken why, which undoes
    nothing of the others."""
    found = {row["id"]: row for row in connection.execute(_ATTEMPTS, {"attempts": list(reports)}).mappings()}
    ids = list({row["deal"] for row in found.values()})
    of = {(row["id"], row["opening"]): row for row in connection.execute(_DEALS, {"deals": ids}).mappings()}
    alone, plain = [], []
    for attempt, report in reports.items():
        row = found.get(attempt)
        deal = None if row is None else of.get((row["deal"], row["opening"]))
        if row is None or deal is None or not _is_plain(row, deal, report):
            alone.append(attempt)
        else:
            plain.append(_Told(row, deal, report, [task.model_dump(mode="json") for task in report.tasks]))
    _take(connection, plain)
    refused = {}
    for attempt in alone:
        try:
            with connection.begin_nested():
                _reported_alone(connection, attempt, reports[attempt])
        except Conflict as error:
            refused[attempt] = error
    return refused


@dataclass(frozen=True, slots=True)
class _Told:
    """An attempt, its deal, what its worker reports, and that as JSON of each task."""

    row: RowMapping
    deal: RowMapping
    report: LotReport
    tasks: list[dict[str, Any]]

    @property
    def lot(self) -> tuple[str, int]:
        return self.row["job"], self.row["lot"]


def _is_plain(row: RowMapping, deal: RowMapping, report: LotReport) -> bool:
    """The only leg of an open deal, and in a state that its report ends: nearly all are."""
    legs = len(terms_of(deal).legs)
    return deal["state"] == "open" and legs == 1 and row["state"] in _ending(report).sources


def _ending(report: LotReport) -> states.Transition:
    return states.ATTEMPT_SUCCEEDED if report.result.done else states.ATTEMPT_FAILED


def _take(connection: Connection, told: Sequence[_Told]) -> None:
    """End plain ones, with the lots' tasks, and have them settled."""
    _end_attempts(connection, told)
    said = [
        cast(
            RowMapping,
            {**each.row, "result": each.report.result.to_json(), "signature": each.report.signature},
        )
        for each in told
    ]
    standings = [
        Standing(each.deal, terms_of(each.deal), [own], None) for each, own in zip(told, said, strict=True)
    ]
    settle_when_said(connection, standings)
    lots_ended(connection, {each.lot: each.tasks for each in told})
    paid = [each for each in told if each.report.result.done]
    back = {each.row["job"]: "giving the money back" for each in told if not each.report.result.done}
    stages_said(connection, back | {each.row["job"]: "settling" for each in paid})


def _end_attempts(connection: Connection, told: Sequence[_Told]) -> None:
    now = int(time.time())
    for how in (states.ATTEMPT_SUCCEEDED, states.ATTEMPT_FAILED):
        some = [each for each in told if _ending(each.report) is how]
        values = [
            {
                "status": each.report.status,
                "seconds": sum(task.seconds for task in each.report.tasks),
                "tasks": each.tasks,
                "result": each.report.result.to_json(),
                "signature": each.report.signature,
                "reason": None
                if each.report.result.done
                else (each.report.reason or UNTOLD).model_dump(mode="json"),
                "cage": each.report.cage,
                "started_at": now if each.row["started_at"] is None else each.row["started_at"],
                "ended_at": now,
            }
            for each in some
        ]
        move_each(connection, how, [{"id": each.row["id"]} for each in some], values)
        if some and how is states.ATTEMPT_SUCCEEDED:
            workers_did_well(connection, {each.row["worker"] for each in some})


def _reported_alone(connection: Connection, attempt: str, report: LotReport) -> None:
    """One of several replicas, or one whose deal is over, or that ended before."""
    row = attempt_row(connection, attempt)
    standing = standing_of(connection, row["deal"], row["opening"])
    deal, done = standing.row, report.result.done > 0
    root = format_bytes32(report.result.root)
    if deal["state"] != "open" and not (deal["state"] in PAID_STATES and deal["root"] == root):
        raise Conflict(
            f"the deal is {deal['state']}: this result came too late",
            code="deal-over",
            hint="nothing is paid for it; stop working on it",
            fault="provider",
        )
    if standing.round is not None:
        _require_agreed(standing, row, report)
    told = _Told(row, deal, report, [task.model_dump(mode="json") for task in report.tasks])
    _end_attempts(connection, [told])
    if deal["state"] != "open":
        lots_ended(connection, {told.lot: told.tasks})
        add_event(connection, row["job"], "state", {"state": "settled", "stage": "outputs delivered"})
        return
    settled = rounds.advance(connection, row["deal"], row["opening"])
    if done or settled:
        lots_ended(connection, {told.lot: told.tasks})
        stage_said(connection, row["job"], "settling" if done else "giving the money back")
    else:
        stage_said(connection, row["job"], f"{worker_name(connection, row['worker'])} could not run it")


def _require_agreed(standing: Standing, row: RowMapping, report: LotReport) -> None:
    """Of several replicas one reports what a quorum signed, its own word among it; or that it could not."""
    assert standing.round is not None
    done, said = report.result.done > 0, (format_bytes32(report.result.root), report.result.done)
    agreed = said in [(each["root"], each["done"]) for each in (standing.round, standing.row)]
    if done and (not agreed or row["result"] != report.result.to_json()):
        raise Conflict(
            "no quorum of replicas has signed this result",
            code="not-agreed",
            hint="commit, open, and wait for the round to agree before delivering",
            fault="provider",
        )
    if not done and row["commitment"] is not None:
        raise Conflict(
            "a result was committed to: it cannot be refused any more",
            code="committed-already",
            fault="provider",
        )


def reports_count_again(connection: Connection, job: str, lot: int, deal: str, opening: int) -> None:
    """The tasks of a deal's lot are what its workers reported before the chain took something back; what was
    tried meanwhile may have queued them again."""
    reported = select(attempts.c.state, attempts.c.tasks).where(
        attempts.c.deal == deal,
        attempts.c.opening == opening,
        attempts.c.state.in_(("failed", "succeeded")),
        attempts.c.status.is_not(None),  # else it was outvoted and never reported
    )
    # Of several replicas the one that delivered says how the tasks ended, after all that failed.
    for attempt in sorted(connection.execute(reported).all(), key=lambda each: str(each.state)):
        connection.execute(moving(states.TASK_RESUMED).where(tasks.c.job == job, tasks.c.lot == lot))
        lots_ended(connection, {(job, lot): attempt.tasks})


def lots_ended(connection: Connection, told: Mapping[tuple[str, int], Sequence[dict[str, Any]]]) -> None:
    """queued or running -> succeeded or failed, for each task of these lots (job and index). told: of each
    lot a `TaskReport` of each task, as JSON, in the lot's order."""
    if not told:
        return
    of = list({job for job, _ in told})
    sizes = {row.id: int(row.tasks) for row in connection.execute(_LOT_TASKS, {"jobs": of})}
    rows = []
    for (job, lot), all_tasks in told.items():
        at = lot * sizes[job]
        # Those that ended alike and follow one another go as one.
        for (status, outputs), alike in groupby(all_tasks, lambda each: (each["status"], each["outputs"])):
            first, at = at, at + sum(1 for _ in alike)
            ended = (states.TASK_FAILED if status else states.TASK_SUCCEEDED).target
            row = {"of": job, "first": first, "after": at, "ended": ended, "as": status, "with": outputs}
            rows.append({**row, "number": len(outputs["files"])})
    execute_each(connection, _END_TASKS, rows)
