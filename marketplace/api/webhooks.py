"""`/v1/webhooks`: where an account's news are told; for its owners' sessions and keys with the scope
`manage`, and for wallets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from marketplace.api.access import Limit, ServicesDep, caller_with
from marketplace.api.shares import count_account
from prixfixe.protocol import webhooks as wire
from prixfixe.protocol.fields import Page

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


# Whose webhooks they are.
Owner = Annotated[str, Depends(caller_with("manage"))]
EndpointId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@router.get("")
def listed(services: ServicesDep, owner: Owner) -> Page[wire.Endpoint]:
    """The account's webhooks, newest first: never their secrets."""
    return Page(items=services.webhooks.listed(owner))


@router.post("", status_code=201)
def add(
    services: ServicesDep, owner: Owner, body: wire.EndpointRequest, response: Response
) -> wire.NewEndpoint:
    """Have a server of yours told of news, signed with a secret that is shown this once."""
    response.headers["Cache-Control"] = "no-store"
    return services.webhooks.add(owner, body)


@router.get("/{endpoint}")
def get(services: ServicesDep, owner: Owner, endpoint: EndpointId) -> wire.Endpoint:
    """One webhook."""
    return services.webhooks.get(owner, endpoint)


@router.patch("/{endpoint}")
def change(
    services: ServicesDep, owner: Owner, endpoint: EndpointId, body: wire.EndpointChange
) -> wire.Endpoint:
    """Another URL or other events; disable it, or enable it again."""
    return services.webhooks.change(owner, endpoint, body)


@router.delete("/{endpoint}", status_code=204)
def remove(services: ServicesDep, owner: Owner, endpoint: EndpointId) -> None:
    """Tell it nothing any more."""
    services.webhooks.remove(owner, endpoint)


@router.post("/{endpoint}/rotate")
def rotate(services: ServicesDep, owner: Owner, endpoint: EndpointId, response: Response) -> wire.NewEndpoint:
    """Another secret, shown this once; for a day messages are signed with both."""
    response.headers["Cache-Control"] = "no-store"
    return services.webhooks.rotate(owner, endpoint)


@router.post("/{endpoint}/test", status_code=202)
def test(services: ServicesDep, owner: Owner, endpoint: EndpointId, response: Response) -> wire.Delivery:
    """Send a message that says only that it is a test. Whether it arrived is among the deliveries."""
    count_account(services, "webhook-tests", owner, response)
    return services.webhooks.test(owner, endpoint)


@router.get("/{endpoint}/deliveries")
def deliveries(
    services: ServicesDep,
    owner: Owner,
    endpoint: EndpointId,
    cursor: Annotated[str | None, Query(max_length=60)] = None,
    limit: Limit = 50,
) -> Page[wire.Delivery]:
    """What it was told in the last thirty days and is to be told, newest first."""
    items, following = services.webhooks.deliveries(owner, endpoint, cursor, limit)
    return Page(items=items, next=following)


@router.post("/{endpoint}/replay", status_code=202)
def replay(
    services: ServicesDep, owner: Owner, endpoint: EndpointId, body: wire.ReplayRequest, response: Response
) -> wire.Replayed:
    """Send one message again, or all since a time."""
    count_account(services, "webhook-tests", owner, response)
    return services.webhooks.replay(owner, endpoint, body)
