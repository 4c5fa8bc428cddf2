"""How a run ended, in the words that its customer reads: from facts to status and reason, pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from prixfixe.errors import PrixfixeError
from prixfixe.protocol.outputs import TaskStatus
from prixfixe.protocol.wire import Reason
from worker.containers import Run

EXIT_PARAMETERS: Final = 64
EXIT_DATA: Final = 65
_KILLED: Final = (137, 143)  # 128 + SIGKILL, SIGTERM: from outside, since the limits are told apart above
_DETAILS: Final = ("file", "row", "column", "value")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the product allowed: for the sentence that says what was exceeded."""

    seconds: float
    memory_mib: int
    disk_mib: int


def judge(run: Run, limits: Limits) -> tuple[TaskStatus, Reason | None]:
    """Status and, unless it succeeded, the reason. Outputs are judged by `worker.outputs`, later.

    A bundle's application that fails on inputs which passed every check is the platform's to answer for:
    trying it elsewhere would fail alike. Only a run that the worker's machine broke is the provider's.
    """
    if run.stopped_for == "time":
        return TaskStatus.OUT_OF_TIME, Reason(
            code="out-of-time",
            message=f"the task did not end within its {limits.seconds:g} seconds and was stopped",
            hint="nothing is charged; a smaller input, or a larger tier, has more time for each row",
            fault="platform",
            details={"limit_seconds": limits.seconds},
        )
    if run.stopped_for in ("log", "disk"):
        what = (
            "printed more than a task may"
            if run.stopped_for == "log"
            else f"wrote more than {limits.disk_mib} MiB"
        )
        return TaskStatus.OUTPUT_REFUSED, Reason(
            code=f"{run.stopped_for}-limit",
            message=f"the task {what} and was stopped",
            hint="nothing is charged",
            fault="platform",
        )
    if run.stopped_for is not None:
        return could_not_start("the worker was stopped before the task ended")
    if run.exit_code == 0:
        return TaskStatus.SUCCEEDED, None
    if run.exit_code is None:
        return could_not_start("the container never ran")
    if run.oom_killed:
        return TaskStatus.OUT_OF_MEMORY, Reason(
            code="out-of-memory",
            message=f"the task needed more than its {limits.memory_mib} MiB of memory and was stopped",
            hint="nothing is charged; a smaller input, or a larger tier, may fit",
            fault="platform",
            details={"limit_mib": limits.memory_mib},
        )
    if run.exit_code in (EXIT_PARAMETERS, EXIT_DATA):
        return TaskStatus.INPUT_REFUSED, _told_by_job(run)
    if run.exit_code in _KILLED:
        return TaskStatus.EXITED_NON_ZERO, Reason(
            code="killed",
            message="the task was killed on the worker's machine, neither for time nor for memory",
            hint="it is tried on another worker",
            fault="provider",
            details={"exit_code": run.exit_code},
        )
    return TaskStatus.EXITED_NON_ZERO, Reason(
        code="exited-non-zero",
        message=f"the program ended with exit code {run.exit_code}"
        + (f": {run.last_line}" if run.last_line else ""),
        hint="nothing is charged; the log says more",
        fault="platform",
        details={"exit_code": run.exit_code},
    )


def could_not_start(why: str, error: PrixfixeError | None = None) -> tuple[TaskStatus, Reason]:
    """A run that never began, or that the worker's machine lost. The provider's fault unless the error says
    otherwise."""
    fault = error.fault if error is not None else "provider"
    return TaskStatus.COULD_NOT_START, Reason(
        code=error.code if error is not None else "could-not-start",
        message=error.message if error is not None else why,
        hint=(error.hint or "") if error is not None else "it is tried on another worker",
        fault=fault,
    )


def shortened(reason: Reason, most: int) -> Reason:
    """A reason of at most `most` bytes as JSON: a lot of many tasks may have as many."""
    if _length(reason) <= most:
        return reason
    short = reason.model_copy(update={"details": {}})
    for part in ("hint", "message"):
        over = _length(short) - most
        if over > 0:
            # A character takes up to twelve bytes of escaped JSON; cutting by one for each byte is enough.
            text = getattr(short, part)
            short = short.model_copy(update={part: text[: max(0, len(text) - over - 3)] + "..."})
    return short


def _length(reason: Reason) -> int:
    return len(json.dumps(reason.model_dump(mode="json"))) + 2  # and what parts it from the next


def _told_by_job(run: Run) -> Reason:
    """The reason that the program itself gave: its text is a stranger's, so it is bounded and typed here."""
    told = run.error or {}
    parameters = run.exit_code == EXIT_PARAMETERS
    message = told.get("message")
    details = {
        name: value[:200] if isinstance(value, str) else value
        for name in _DETAILS
        if isinstance(value := told.get(name), str | int) and not isinstance(value, bool)
    }
    code = told.get("code")
    return Reason(
        code=code[:64] if isinstance(code, str) and code else "bad-parameters" if parameters else "bad-data",
        message=message[:1000]
        if isinstance(message, str) and message
        else f"the program refused its {'parameters' if parameters else 'input'}"
        + (f": {run.last_line}" if run.last_line else ""),
        hint=hint[:500] if isinstance(hint := told.get("hint"), str) else "",
        fault="customer",
        details=details,
    )
