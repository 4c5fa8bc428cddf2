"""Many orders in one request (`POST /v1/jobs/batch`), each answered by itself."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from prixfixe.protocol.fields import Body, Message
from prixfixe.protocol.wire import Job, JobRequest

MOST_JOBS: Final = 100  # in one request

IdempotencyText = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$")]


class KeyedJobRequest(JobRequest):
    """One of several orders. idempotency_key: what the header of that name is to a single one."""

    idempotency_key: IdempotencyText | None = None


class JobBatch(Body):
    """Signed orders, of any customers."""

    jobs: Annotated[tuple[KeyedJobRequest, ...], Field(min_length=1, max_length=MOST_JOBS)]


class JobAnswer(Message):
    """What became of one order: a job, or the problem that a single order would have been answered with.
    new: False when this very order was here before."""

    job: Job | None = None
    new: bool = False
    problem: dict[str, Any] | None = None


class JobAnswers(Message):
    """What became of each, in their order."""

    items: tuple[JobAnswer, ...]
    next: None = None
