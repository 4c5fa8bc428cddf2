"""`GET /v1/sessions/nonce`, `POST` and `DELETE /v1/sessions`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from marketplace.api.access import ServicesDep, WalletSession
from marketplace.api.shares import share_of_address
from prixfixe.protocol import wire
from prixfixe.protocol.fields import Address

router = APIRouter(prefix="/sessions", tags=["sessions"])


@router.get("/nonce", dependencies=[share_of_address("sign-ins")])
def nonce(
    services: ServicesDep,
    response: Response,
    host: Annotated[str, Header()] = "",
    address: Annotated[Address | None, Query()] = None,
) -> wire.Nonce:
    """A nonce for one sign-in message (EIP-4361), and the domain that it must name; of an address also how
    the message must write it."""
    response.headers["Cache-Control"] = "no-store"
    return services.sessions.nonce(host).model_copy(update={"address": address})


@router.post("", dependencies=[share_of_address("sign-ins")])
def open_session(services: ServicesDep, request: wire.SessionRequest, response: Response) -> wire.Session:
    """A token for who signed the message."""
    response.headers["Cache-Control"] = "no-store"
    return services.sessions.open(request)


@router.delete("", status_code=204)
def close_session(services: ServicesDep, token: WalletSession) -> None:
    """End the session whose token is sent, before its day is over."""
    services.sessions.close(token)
