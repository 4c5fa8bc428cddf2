"""`/v1/workers`, `/v1/assignments`, `/v1/attempts`: the worker's side."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from marketplace import seals
from marketplace.api.access import AttemptId, Caller, ServicesDep
from marketplace.api.limits import bounded_body, parse_body, parsed
from marketplace.api.problems import log_fault, malformed
from marketplace.api.waiting import found_in_time, waited
from marketplace.store.rounds import topic
from prixfixe.errors import PrixfixeError
from prixfixe.protocol import wire
from prixfixe.protocol.benchmarks import SignedBenchmark
from prixfixe.protocol.fields import Address, Body
from prixfixe.protocol.lot_batch import (
    MOST_LOTS,
    Assignments,
    AttemptName,
    ReportAnswers,
    Reported,
    StartAnswers,
    Started,
    Starting,
)
from prixfixe.protocol.prices import Earnings, WorkerWhy
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.secrets import SealedSecrets

router = APIRouter(tags=["workers"])


@router.post("/workers")
def register(
    services: ServicesDep, caller: Caller, registration: wire.WorkerRegistration
) -> wire.WorkerStatus:
    """A worker comes, or comes back. The session is its key's; the contract must know the key."""
    return services.workers.register(caller, registration)


@router.post("/workers/heartbeat")
def heartbeat(services: ServicesDep, caller: Caller, beat: wire.Heartbeat) -> wire.HeartbeatAnswer:
    """A sign of life, with new asks; after three missing ones the worker's attempts are lost."""
    return services.workers.beat(caller, beat)


@router.post("/workers/benchmark", status_code=204)
def benchmark(services: ServicesDep, caller: Caller, signed: SignedBenchmark) -> None:
    """How fast the worker says that its machine is; the newest is kept."""
    services.workers.benchmark(caller, signed)


@router.get("/workers/{key}")
def status(services: ServicesDep, caller: Caller, key: Address) -> wire.WorkerStatus:
    """Heartbeat, deals and earnings, for the worker and its provider."""
    return services.workers.status(key, caller)


@router.get("/workers/{key}/earnings")
def earnings(
    services: ServicesDep,
    caller: Caller,
    key: Address,
    days: Annotated[int, Query(ge=1, le=366)] = 30,
) -> Earnings:
    """What it was paid by day, product and bundle, and what still waits, for the worker and its provider."""
    return services.income.earnings(key, caller, days)


@router.get("/workers/{key}/why")
def why(
    services: ServicesDep,
    caller: Caller,
    key: Address,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> WorkerWhy:
    """Why the newest lots of its products did not come to it, for the worker and its provider."""
    return services.why.why(key, caller, limit)


@router.get("/assignments", response_model=None, responses={200: {"model": wire.Assignment}})
async def assignment(
    services: ServicesDep, caller: Caller, wait: Annotated[float, Query(ge=0, le=600)] = 0
) -> Response:
    """The next assignment, waited for up to `wait` seconds; 204 when none came."""
    return await waited(services, f"worker:{caller}", wait, lambda: services.assignments.next(caller))


@router.get("/assignments/batch", response_model=None, responses={200: {"model": Assignments}})
async def assignments(
    services: ServicesDep,
    caller: Caller,
    wait: Annotated[float, Query(ge=0, le=600)] = 0,
    most: Annotated[int, Query(ge=1, le=MOST_LOTS)] = MOST_LOTS,
) -> Response:
    """As many of the worker's assignments as there are, oldest first, the first waited for up to `wait`
    seconds; 204 when none came. Those that are not started come again."""

    def look() -> str | None:
        found = services.assignments.next_each(caller, most)
        return Assignments(items=tuple(found)).model_dump_json() if found else None

    found = await found_in_time(services, f"worker:{caller}", wait, look, bool)
    return Response(found, media_type="application/json") if found else Response(status_code=204)


@router.post("/attempts/start")
def start_each(services: ServicesDep, caller: Caller, starting: Starting) -> StartAnswers:
    """These attempts run now. Each is answered as if it had come alone; saying it again is no error."""
    refused = services.assignments.start_each(starting.attempts, caller)
    problems = {attempt: error.to_problem() for attempt, error in refused.items()}
    items = [Started(attempt=each, problem=problems.get(each)) for each in starting.attempts]
    return StartAnswers(items=tuple(items))


class _NamedReport(Body):
    attempt: AttemptName
    report: Any  # read one by one: who sends one that cannot be read loses no other


class _LotReports(Body):
    """`LotReports`, before what is reported is read."""

    reports: Annotated[tuple[_NamedReport, ...], Field(min_length=1, max_length=MOST_LOTS)]


@router.post("/attempts/results")
async def results(services: ServicesDep, caller: Caller, request: Request) -> ReportAnswers:
    """The signed ends of several attempts. Each is checked and answered as if it had come alone: an error in
    one touches no other. The same again is no error."""
    body = await request.body()

    def take() -> ReportAnswers:
        given = parse_body(_LotReports, body).reports
        answers: dict[str, wire.ReportAnswer | PrixfixeError] = {}
        readable: dict[str, LotReport] = {}
        for each in given:
            try:
                readable[each.attempt] = parsed(LotReport, each.report)
            except RequestValidationError as error:
                answers[each.attempt] = malformed(request, error)
            except PrixfixeError as error:
                answers[each.attempt] = error
        answers |= services.assignments.report_each(readable, caller)
        items = []
        for each in given:
            answer = answers[each.attempt]
            if isinstance(answer, PrixfixeError):
                log_fault(request, answer)
                items.append(Reported(attempt=each.attempt, problem=answer.to_problem()))
            else:
                items.append(Reported(attempt=each.attempt, answer=answer))
        return ReportAnswers(items=tuple(items))

    return await run_in_threadpool(take)


@router.post("/attempts/{attempt}/start", status_code=204)
def start(services: ServicesDep, caller: Caller, attempt: AttemptId) -> None:
    """The attempt runs now."""
    services.assignments.start(attempt, caller)


@router.post("/attempts/{attempt}/log", status_code=204)
def log(services: ServicesDep, caller: Caller, attempt: AttemptId, chunk: wire.LogChunk) -> None:
    """Text and progress of the application; the same offset again is no error."""
    services.assignments.log(attempt, caller, chunk)


@router.get("/attempts/{attempt}/secrets", response_model=None, responses={200: {"model": SealedSecrets}})
async def secrets(
    services: ServicesDep, caller: Caller, attempt: AttemptId, wait: Annotated[float, Query(ge=0, le=600)] = 0
) -> Response:
    """What the customer sealed to this worker, waited for up to `wait` seconds; 204 when nothing came."""
    return await waited(services, seals.topic(attempt), wait, lambda: services.seals.take(attempt, caller))


@router.post("/attempts/{attempt}/commit", status_code=204)
def commit(services: ServicesDep, caller: Caller, attempt: AttemptId, request: wire.CommitRequest) -> None:
    """One of several replicas has a result, and says so before it shows it; the same again is no error."""
    services.rounds.commit(attempt, caller, request)


@router.post("/attempts/{attempt}/open", status_code=204)
def open_(services: ServicesDep, caller: Caller, attempt: AttemptId, request: wire.OpenRequest) -> None:
    """The result behind the commitment, once the round is opening; the same again is no error."""
    services.rounds.open(attempt, caller, request)


@router.get("/attempts/{attempt}/round")
async def round_(
    services: ServicesDep,
    caller: Caller,
    attempt: AttemptId,
    after: str = "",
    wait: Annotated[float, Query(ge=0, le=600)] = 0,
) -> wire.Round:
    """How the replicas stand, as soon as it is another state than `after`, or after `wait` seconds."""
    deal, found = await run_in_threadpool(services.rounds.look, attempt, caller)
    if found.state != after:
        return found
    return await found_in_time(
        services,
        topic(deal),
        wait,
        lambda: services.rounds.look(attempt, caller)[1],
        lambda found: found.state != after,
    )


@router.post(
    "/attempts/{attempt}/result",
    openapi_extra={
        "requestBody": {
            "content": {"application/json": {"schema": LotReport.model_json_schema()}},
            "required": True,
        }
    },
)
async def result(
    services: ServicesDep, caller: Caller, attempt: AttemptId, request: Request
) -> wire.ReportAnswer:
    """The signed end of the attempt; the same again is no error. A lot's report grows with its tasks, so its
    body is bounded by them."""
    most = await run_in_threadpool(services.assignments.longest_report, attempt, caller)
    body = await bounded_body(request, most)

    def take() -> wire.ReportAnswer:
        return services.assignments.report(attempt, caller, parse_body(LotReport, body))

    return await run_in_threadpool(take)
