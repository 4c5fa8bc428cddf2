"""`/v1/jobs`: orders in; state, events, logs, outputs and receipts out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from marketplace.api.access import (
    AttemptId,
    Caller,
    IdempotencyKey,
    JobId,
    Limit,
    ServicesDep,
    caller_for,
    may_still,
    written,
)
from marketplace.api.blobs import blob_response
from marketplace.api.events import MEDIA_TYPE, follow
from marketplace.api.shares import count_address, share_of_address
from marketplace.placing import Placed, Placing
from prixfixe.errors import InvalidInput, PrixfixeError, TooManyRequests
from prixfixe.protocol import wire
from prixfixe.protocol.canonical import canonical_json
from prixfixe.protocol.fields import Page
from prixfixe.protocol.job_batch import JobAnswer, JobAnswers, JobBatch
from prixfixe.protocol.secrets import Seal, SealedSecrets

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("", status_code=201, dependencies=[share_of_address("jobs")])
def place(
    services: ServicesDep,
    order: wire.JobRequest,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> wire.Job:
    """Accept a quote with a signed order, which is all the authority that is needed, unless it replaces
    another one: then also a session. 201 for a new job, 200 when this very order was here before."""
    caller = caller_for(services, request, [order])
    placed = services.orders.place(Placing(order, idempotency_key), caller)
    response.status_code = 201 if placed.new else 200
    response.headers["Location"] = f"/v1/jobs/{placed.job}"
    return services.jobs.get(placed.job, None)


@router.post("/batch", response_model=JobAnswers, dependencies=[share_of_address("jobs")])
def place_batch(
    services: ServicesDep,
    batch: JobBatch,
    request: Request,
    response: Response,
) -> Response:
    """One order or a hundred, of any customers. Each counts, is checked and is answered as if it had come
    alone, in their order: an error in one touches no other."""
    caller = caller_for(services, request, batch.jobs)
    allowed: list[Placing] = []
    refused: list[PrixfixeError] = []
    for number, each in enumerate(batch.jobs):
        try:
            if number:  # the first was counted with the request
                count_address(services, "jobs", request, response)
        except TooManyRequests as error:
            refused = [error] * (len(batch.jobs) - number)
            break
        allowed.append(Placing(each, each.idempotency_key))
    answers: list[Placed | PrixfixeError] = [*services.orders.place_each(allowed, caller), *refused]
    known = services.jobs.known([answer.job for answer in answers if isinstance(answer, Placed)])
    items = [
        JobAnswer(problem=answer.to_problem())
        if isinstance(answer, PrixfixeError)
        else JobAnswer(job=known[answer.job], new=answer.new)
        for answer in answers
    ]
    return written(JobAnswers(items=tuple(items)).model_dump_json(), response)


@router.get("")
def page(
    services: ServicesDep,
    caller: Caller,
    cursor: str | None = None,
    limit: Limit = 50,
    state: wire.JobState | None = None,
) -> Page[wire.Job]:
    """The caller's jobs, newest first. state: only those in it."""
    items, following = services.jobs.page(caller, cursor, limit, state)
    return Page(items=items, next=following)


@router.get("/{job}")
def job(services: ServicesDep, caller: Caller, job: JobId) -> wire.Job:
    """One job."""
    return services.jobs.get(job, caller)


@router.post("/{job}/cancel")
def cancel(services: ServicesDep, caller: Caller, job: JobId) -> wire.Job:
    """End a job that no worker has yet; nothing was charged for it."""
    return services.jobs.cancel(job, caller)


@router.get("/{job}/seals")
def waiting_for_secrets(services: ServicesDep, caller: Caller, job: JobId) -> Page[Seal]:
    """The job's attempts that run now, and to whom its secrets are to be sealed."""
    return Page(items=services.seals.waiting(job, caller))


@router.put("/{job}/seals/{attempt}", status_code=204)
def give_secrets(
    services: ServicesDep, caller: Caller, job: JobId, attempt: AttemptId, secrets: SealedSecrets
) -> None:
    """Secrets of the job, sealed to the worker of this attempt. The newest counts."""
    services.seals.give(job, caller, attempt, secrets)


@router.get("/{job}/events")
async def events(
    request: Request,
    services: ServicesDep,
    caller: Caller,
    job: JobId,
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> Response:
    """What happens to the job, as it happens (server-sent events). `Last-Event-ID` resumes; after: the number
    of an event to begin behind, for who cannot send that header."""
    if last_event_id is not None and not (last_event_id.isascii() and last_event_id.isdigit()):
        raise InvalidInput(f"Last-Event-ID is {last_event_id[:40]!r}, not a number")
    after = max(after, int((last_event_id or "0")[:9]))
    first, over = await run_in_threadpool(services.jobs.events, job, caller, after)
    if over and not first:
        return Response(status_code=204)  # tells a browser's EventSource not to come back
    stream = follow(services, job, caller, after, lambda: may_still(services, request, caller))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type=MEDIA_TYPE, headers=headers)


@router.get("/{job}/log")
def log(
    services: ServicesDep,
    caller: Caller,
    job: JobId,
    task: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
) -> StreamingResponse:
    """The text that the application wrote, all attempts. task: of this one only."""
    pieces = services.jobs.log(job, caller, task)
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return StreamingResponse(pieces, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/{job}/outputs")
def outputs(
    services: ServicesDep,
    caller: Caller,
    job: JobId,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    task: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
) -> Page[wire.OutputFileInfo]:
    """The files of a settled job, in the order of its tasks. A page is longer than `limit` when one task
    alone has more files. task: of this one only."""
    items, following = services.jobs.outputs(job, caller, cursor, limit, task)
    return Page(items=items, next=following)


@router.get("/{job}/outputs/{path:path}")
def output(services: ServicesDep, caller: Caller, job: JobId, path: str, request: Request) -> Response:
    """One file."""
    found = services.jobs.output(job, path, caller)
    return blob_response(request, found.blob, found.name)


@router.get("/{job}/deletions")
def deletions(services: ServicesDep, caller: Caller, job: JobId) -> wire.Deletions:
    """What was deleted of a job, and when, signed by the operator."""
    return services.retention.told(job, caller)


@router.post("/{job}/forget")
def forget(services: ServicesDep, caller: Caller, job: JobId) -> wire.Forgotten:
    """Delete inputs, outputs and logs of a job that is over, before their time; 409 while its results can be
    disputed. Again deletes what other orders have let go since."""
    return services.retention.forget(job, caller)


@router.get("/{job}/receipt")
def receipt(services: ServicesDep, caller: Caller, job: JobId) -> Response:
    """What happened, with every signature, in canonical JSON: anyone can check it without this service."""
    built = services.receipts.receipt(job, caller)
    return Response(canonical_json(built.model_dump(mode="json")), media_type="application/json")
