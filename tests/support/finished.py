"""A job run to its end, for tests of those who look at it afterwards."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select

from marketplace.store import disputes
from marketplace.store.tables import deals, tasks
from prixfixe.protocol import wire
from prixfixe.protocol.deals import Due, Fact
from prixfixe.protocol.disputes import Claim, Ground
from prixfixe.protocol.outputs import OutputManifest
from prixfixe.protocol.reports import LotReport
from tests.support.service import (
    CHAIN_TIME,
    CUSTOMER,
    WORKER,
    World,
    manifest_of,
    refusal,
    refuse_on_chain,
    settle_on_chain,
    success,
    where,
)

WINDOW = 600
RESULT = b"month,delay\n1,6.1\n"
TOTALS = b'{"result":{"rows":1},"sentences":["2 rows in, 2 rows used."]}'


def deliver(world: World, job: wire.Job, *, log: str = "", **files: bytes) -> None:
    """The worker runs it, prints `log`, hands in `files` (by default a result and its totals), and is
    paid."""
    assignment = world.running(job)
    if log:
        chunk = wire.LogChunk(offset=0, text=log)
        world.worker_post(f"{assignment.attempt}/log", chunk.model_dump(mode="json"))
    hand_in(world, assignment, **(files or {"out_csv": RESULT, "totals_json": TOTALS}))


def hand_in(world: World, assignment: wire.Assignment, **outputs: bytes) -> LotReport:
    """The worker of a running job reports these files, and is paid; its report."""
    for content in outputs.values():
        world.upload(WORKER, content)
    report = success(assignment.deal, manifest_of(**outputs))
    answer = world.worker_post(f"{assignment.attempt}/result", report.model_dump(mode="json"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["accepted"] is True, answer.text
    settle_on_chain(world, assignment.deal, report)
    return report


def challenge(world: World, job: wire.Job, lot: int = 0) -> None:
    """Its customer says that a lot's first result is wrong: what the indexer does at `Challenged`."""
    with world.store.write() as connection:
        deal = connection.execute(_deal(job, lot)).mappings().one()
        first = select(tasks.c.outputs).where(tasks.c.job == job.id, tasks.c.lot == lot)
        outputs = connection.execute(first.order_by(tasks.c.position).limit(1)).scalar_one()
        claim = Claim(Ground.WRONG, 0, 0, OutputManifest.from_json(outputs).digest)
        disputes.case_opened(
            connection,
            deal["id"],
            challenger=CUSTOMER.address,
            claim=claim,
            until=where(3)["time"] + WINDOW,
            bond=5_000_000,
            fees=[1_000_000],
            where=where(3),
        )


def end_case(world: World, job: wire.Job, outcome: str, lot: int = 0) -> None:
    """What the indexer does at `Judged` and `Lapsed`. outcome: guilty, acquitted or lapsed."""
    with world.store.write() as connection:
        deal = connection.execute(_deal(job, lot)).mappings().one()
        fact = Fact.unpack(int(deal["fact"]))
        if outcome == "guilty":
            disputes.case_judged(connection, deal["id"], guilty=True, fee=1_000_000, fact=0, where=where(4))
            return
        # One second passed since the challenge.
        after = Fact(fact.done, fact.signed, fact.time + 1, fact.past_cases + 1).pack()
        if outcome == "acquitted":
            disputes.case_judged(
                connection, deal["id"], guilty=False, fee=5_000_000, fact=after, where=where(4)
            )
        else:
            disputes.case_lapsed(connection, deal["id"], fact=after, where=where(4))


def _deal(job: wire.Job, lot: int) -> Select[Any]:
    return select(deals).where(deals.c.job == job.id, deals.c.lot == lot)


def refuse(world: World, job: wire.Job) -> None:
    """The worker finds the customer's mistake, and the price goes back."""
    assignment = world.running(job)
    report = refusal(assignment.deal, Due(CHAIN_TIME + 124).pack())
    answer = world.worker_post(f"{assignment.attempt}/result", report.model_dump(mode="json"))
    assert answer.status_code == 200, answer.text
    refuse_on_chain(world, assignment.deal, report)
