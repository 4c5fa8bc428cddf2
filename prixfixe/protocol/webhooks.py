"""Webhooks on the wire: endpoints, what they are told, and how far that is (docs/webhooks.md)."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import Field, StringConstraints

from prixfixe.protocol.fields import Address, Body, Message, Seconds

EventType: TypeAlias = Literal[
    "job.queued",
    "job.running",
    "job.settled",
    "job.refunded",
    "account.topped_up",
    "account.low_balance",
    "webhook.test",
]
TYPES: Final[tuple[str, ...]] = get_args(EventType)
Url = Annotated[str, StringConstraints(min_length=8, max_length=2048, pattern=r"^https?://[\x21-\x7e]+$")]
Description = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Events = Annotated[tuple[EventType, ...], Field(min_length=1, max_length=len(TYPES))]
MessageId = Annotated[str, StringConstraints(pattern=r"^msg_[0-9a-f]{32}$")]


class EndpointRequest(Body):
    """Where to tell an account's news. events: which; all when left out."""

    url: Url
    description: Description = ""
    events: Events | None = None


class EndpointChange(Body):
    """What is left out stays. enabled: true begins again after a service gave up, with all that waits."""

    url: Url | None = None
    description: Description | None = None
    events: Events | None = None
    enabled: bool | None = None


class Endpoint(Message):
    """state: a disabled one is told nothing until it is enabled. reason: why it is disabled. failing_since:
    the first attempt that failed since one went well. old_secret_until: both secrets sign until then."""

    id: str
    account: Address
    url: str
    description: str
    events: tuple[str, ...] | None
    state: Literal["enabled", "disabled"]
    reason: str
    failing_since: Seconds | None
    old_secret_until: Seconds | None
    created_at: Seconds


class NewEndpoint(Message):
    """The one time that a secret is shown."""

    secret: str
    endpoint: Endpoint


class Delivery(Message):
    """One message on its way to one endpoint. attempts: so far. next_at: of a pending one. status: of the
    last answer; error: what went wrong with it."""

    message: str
    type: str
    created_at: Seconds
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    next_at: Seconds | None
    tried_at: Seconds | None
    status: int | None
    error: str


class ReplayRequest(Body):
    """Either one message, or all since a second, also those that came before the endpoint was there."""

    message: MessageId | None = None
    since: Seconds | None = None


class Replayed(Message):
    """How many messages go out again."""

    count: int
