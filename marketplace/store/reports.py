"""What a worker's report does: the end of its attempt, and of the deal when there is nobody to wait for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, cast

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store import rounds, states
from marketplace.store.events import add_event
from marketplace.store.moves import move
from marketplace.store.settling import PAID_STATES, Standing, settle_when_said, standing_of
from marketplace.store.tables import jobs, tasks
from marketplace.store.transitions import attempt_row, stage_said, worker_did_well, worker_name
from prixfixe.errors import Conflict
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.typed_data import format_bytes32

# Made once: making a statement takes longer than running it.
_LOT_TASKS: Final = select(jobs.c.order["lot"].as_integer()).where(jobs.c.id == bindparam("job"))
_END_TASK: Final = (
    update(tasks)
    .where(
        tasks.c.job == bindparam("of"),
        tasks.c.position == bindparam("at"),
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


def attempt_reported(connection: Connection, attempt: str, report: LotReport, signature: str) -> None:
    """assigned, running, opened or lost -> succeeded or failed, and `settle` in the outbox when that can be.

    The caller has checked signature, root and outputs. Conflict when the attempt has ended, its deal ended
    in another way than this report says (a worker that settled by itself reports the same root afterwards),
    or it is one of several replicas and no quorum has agreed on its result.
    """
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
    told = [task.model_dump(mode="json") for task in report.tasks]
    reason = None if done or report.reason is None else report.reason.model_dump(mode="json")
    result, now = report.result.to_json(), int(time.time())
    move(
        connection,
        states.ATTEMPT_SUCCEEDED if done else states.ATTEMPT_FAILED,
        {"id": attempt},
        status=report.status,
        seconds=sum(task.seconds for task in report.tasks),
        tasks=told,
        result=result,
        signature=signature,
        reason=reason,
        cage=report.cage,
        started_at=now if row["started_at"] is None else row["started_at"],
        ended_at=now,
    )
    if done:
        worker_did_well(connection, row["worker"])
    if deal["state"] != "open":
        tasks_ended(connection, row["job"], row["lot"], told)
        add_event(connection, row["job"], "state", {"state": "settled", "stage": "outputs delivered"})
        return
    if standing.round is None:
        said = cast(RowMapping, {**row, "result": result, "signature": signature})
        now_said = [said if each["id"] == attempt else each for each in standing.attempts]
        settled = settle_when_said(connection, replace(standing, attempts=now_said))
    else:
        settled = rounds.advance(connection, row["deal"], row["opening"])
    if done or settled or standing.round is None:
        tasks_ended(connection, row["job"], row["lot"], told)
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


def tasks_ended(connection: Connection, job: str, lot: int, told: Sequence[dict[str, Any]]) -> None:
    """queued or running -> succeeded or failed, for each task of the lot. told: a `TaskReport` of each, as
    JSON, in the lot's order."""
    first = lot * int(connection.execute(_LOT_TASKS, {"job": job}).scalar_one())
    connection.execute(
        _END_TASK,
        [
            {
                "of": job,
                "at": first + place,
                "ended": (states.TASK_FAILED if each["status"] else states.TASK_SUCCEEDED).target,
                "as": each["status"],
                "with": each["outputs"],
                "number": len(each["outputs"]["files"]),
            }
            for place, each in enumerate(told)
        ],
    )
