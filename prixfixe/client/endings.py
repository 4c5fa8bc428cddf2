"""How a job ended, in words and as an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prixfixe.errors import PrixfixeError

if TYPE_CHECKING:
    from prixfixe.protocol.wire import Job


class NotDelivered(PrixfixeError):
    """A job ended without a result; the whole price is back in the account."""

    default_code = "not-delivered"
    default_fault = "provider"
    title = "The job ended without a result"
    exit_code = 4


class BadInputFound(PrixfixeError):
    """A job ended because of its input or parameters; the whole price is back in the account."""

    default_code = "input-refused"
    default_fault = "customer"
    title = "The job could not work with this input"
    exit_code = 3


def money_sentence(job: Job) -> str:
    """What happened to the money, in one sentence."""
    if job.state == "settled":
        back = sum((dispute.returned.units for dispute in job.disputes), 0)
        if back:
            from prixfixe.protocol.money import Money

            return f"{job.charged} was charged; {Money(back)} came back, because the result was judged wrong"
        if job.kind != "bundle" and job.charged != job.quoted:
            return f"{job.charged} was charged, of at most {job.quoted}"
        return (
            f"{job.charged} was charged, as quoted"
            if job.charged == job.quoted
            else f"{job.charged} was charged; {job.quoted - job.charged} came back for a replica or task "
            "that does not count"
        )
    if job.state == "refunded":
        return f"nothing was charged: {job.quoted} is back in your account"
    if job.state == "running":
        return f"the contract holds {job.quoted} for it until there is a result or the deadline passes"
    return f"nothing is charged until a worker is found; {job.quoted} waits in your account"


def require_delivered(job: Job) -> None:
    """NotDelivered when the job ended without a result, with the reason that the service gives."""
    if job.state == "settled":
        return
    reason = job.reason
    because = clean(reason.message) if reason is not None else "the job ended without a result"
    kind = BadInputFound if reason is not None and reason.fault == "customer" else NotDelivered
    values: dict[str, Any] = dict(reason.details) if reason is not None else {}
    raise kind(
        f"{because.rstrip('.')}; {money_sentence(job)}",
        code=reason.code if reason is not None else None,
        hint=clean(reason.hint) if reason is not None and reason.hint else None,
        job=job.id,
        charged=str(job.charged.units),
        state=job.state,
        reason=values or None,
    )


def clean(text: str) -> str:
    """Text from a stranger's program, without what a terminal would obey (escape sequences, other
    controls)."""
    return "".join(char if char in "\n\t" or (char.isprintable()) else "\ufffd" for char in text)
