"""A job run to its end, for tests of those who look at it afterwards."""

from __future__ import annotations

from prixfixe.protocol import wire
from prixfixe.protocol.deals import Due
from tests.support.service import (
    CHAIN_TIME,
    WORKER,
    World,
    manifest_of,
    refusal,
    refuse_on_chain,
    settle_on_chain,
    success,
)

RESULT = b"month,delay\n1,6.1\n"
TOTALS = b'{"result":{"rows":1},"sentences":["2 rows in, 2 rows used."]}'


def deliver(world: World, job: wire.Job, *, log: str = "", **files: bytes) -> None:
    """The worker runs it, prints `log`, hands in `files` (by default a result and its totals), and is
    paid."""
    outputs = files or {"out_csv": RESULT, "totals_json": TOTALS}
    assignment = world.running(job)
    if log:
        chunk = wire.LogChunk(offset=0, text=log)
        world.worker_post(f"{assignment.attempt}/log", chunk.model_dump(mode="json"))
    for content in outputs.values():
        world.upload(WORKER, content)
    report = success(assignment.deal, manifest_of(**outputs))
    answer = world.worker_post(f"{assignment.attempt}/result", report.model_dump(mode="json"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["accepted"], answer.text
    settle_on_chain(world, assignment.deal, report)


def refuse(world: World, job: wire.Job) -> None:
    """The worker finds the customer's mistake, and the price goes back."""
    assignment = world.running(job)
    report = refusal(assignment.deal, Due(CHAIN_TIME + 124).pack())
    answer = world.worker_post(f"{assignment.attempt}/result", report.model_dump(mode="json"))
    assert answer.status_code == 200, answer.text
    refuse_on_chain(world, assignment.deal, report)
