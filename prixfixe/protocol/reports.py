"""A worker's report of a lot, bounded by the number of its tasks."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from prixfixe.protocol.fields import Message, OutputManifestField, ResultField, Signature
from prixfixe.protocol.wire import Reason

# Of a report's reasons and cage together: for the first task, and for each further one. An honest worker's
# have some hundreds.
MAX_WORDS_BYTES: Final = 32_768
MORE_WORDS_BYTES: Final = 512
MAX_LOT: Final = 65_535  # tasks, as the contract counts them


class TaskReport(Message):
    """How one task ended. outputs: empty unless it counts (`Deal.pays_for`)."""

    status: Annotated[int, Field(ge=0, le=255)]
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    outputs: OutputManifestField
    reason: Reason | None = None


class LotReport(Message):
    """How the tasks of a lot ended, in their order, with the worker's signature over the root (a refusal when
    `done` is 0). cage: the same for all of them."""

    tasks: Annotated[tuple[TaskReport, ...], Field(min_length=1, max_length=MAX_LOT)]
    result: ResultField
    signature: Signature
    cage: Annotated[dict[str, Any], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _short(self) -> Self:
        """What a worker says in words is kept for ever in job and receipt, so it is bounded."""
        reasons = [task.reason.model_dump(mode="json") for task in self.tasks if task.reason is not None]
        most = MAX_WORDS_BYTES + MORE_WORDS_BYTES * (len(self.tasks) - 1)
        if len(json.dumps([reasons, self.cage], allow_nan=False)) > most:
            raise ValueError(f"reasons and cage have more than {most} bytes of JSON")
        return self

    @property
    def reason(self) -> Reason | None:
        """Why the first task failed that did, in its worker's words."""
        return next((task.reason for task in self.tasks if task.reason is not None), None)

    @property
    def status(self) -> int:
        """That of the first task that failed; 0 when none did."""
        return next((task.status for task in self.tasks if task.status), 0)


def most_listing_bytes(count: int) -> int:
    """How long the list of one task's output files may be, as canonical JSON, in a lot of `count` tasks: so
    that a report can be bounded."""
    return min(900_000, (48 << 20) // count)


def most_report_bytes(count: int) -> int:
    """The longest report of a lot of `count` tasks, in bytes of JSON."""
    return (1 << 20) + count * (most_listing_bytes(count) + MORE_WORDS_BYTES + 256)
