"""Routes that count: each takes one of the caller's share, and says in its headers what is left."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request, Response

from marketplace.api.access import Caller, ServicesDep
from marketplace.services import Services
from marketplace.shares import Kind, Left


def share_of_address(kind: Kind) -> Any:
    """Counts by the client's network address: for what needs no account, or makes one."""

    async def count(services: ServicesDep, request: Request, response: Response) -> None:
        count_address(services, kind, request, response)

    return Depends(count)


def count_address(services: Services, kind: Kind, request: Request, response: Response) -> None:
    """One more of the share of a request's network address, for a request that holds several."""
    peer = request.client.host if request.client is not None else None
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    _tell(response, services.shares.take(kind, services.shares.client(peer, forwarded)))


def share_of_account(kind: Kind) -> Any:
    """Counts by the account that is signed in."""

    async def count(services: ServicesDep, caller: Caller, response: Response) -> None:
        count_account(services, kind, caller, response)

    return Depends(count)


def count_account(services: Services, kind: Kind, account: str, response: Response) -> None:
    """One more of the share of an account."""
    _tell(response, services.shares.take(kind, account))


def _tell(response: Response, left: Left | None) -> None:
    if left is not None:
        response.headers.update(left.headers())
