"""What routes share: the services behind the app, and who is asking."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Literal

from fastapi import Depends, Header, Path, Query, Request, Response

from marketplace.api.managed import SAFE_METHODS, Credentials, bearer_of, identity_of
from marketplace.services import Services
from prixfixe.errors import Forbidden, Unauthorized
from prixfixe.protocol.accounts import Scope
from prixfixe.protocol.job_batch import IdempotencyText
from prixfixe.protocol.wire import JobRequest


async def services_of(request: Request) -> Services:
    """The services that the app was made for. Async, so that it costs no hop to a thread."""
    services: Services = request.app.state.services
    return services


Cursor = Annotated[str | None, Query(max_length=160)]
Limit = Annotated[int, Query(ge=1, le=200)]
ServicesDep = Annotated[Services, Depends(services_of)]


def written(body: str, response: Response) -> Response:
    """JSON that an endpoint wrote itself, with the headers that its dependencies gave to `response`.

    For calls that come often: what the framework would do is to check the answer's values again, and to write
    them, each in another thread.
    """
    return Response(body, media_type="application/json", headers=dict(response.headers))


def saved(content: str | bytes, media_type: str, name: str, response: Response | None = None) -> Response:
    """A file to be kept under a name of ours; never shown or stored by who carries it. response: whose
    headers go with it."""
    headers = {
        **({} if response is None else response.headers),
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return Response(content, media_type=media_type, headers=headers)


def caller_with(scope: Scope | None = None) -> Callable[..., str]:
    """A dependency: the address of who asks, a wallet's session or a managed account whose key or role has
    the scope; of None that is `read` for what changes nothing, else `order`."""

    def caller(services: ServicesDep, request: Request, _: Credentials) -> str:
        return _caller(services, request, scope)

    return caller


def _caller(services: Services, request: Request, scope: Scope | None) -> str:
    managed = identity_of(request, services)
    if managed is None:
        return signed_in(services, request)
    needed: Scope = "read" if request.method in SAFE_METHODS else "order"
    return managed.require(scope or needed).address


def may_still(services: Services, request: Request, caller: str) -> bool:
    """Whether what a request brought still stands for `caller`, for answers that take long."""
    try:
        return _caller(services, request, None) == caller
    except (Unauthorized, Forbidden):
        return False


def signed_in(services: ServicesDep, request: Request) -> str:
    """The address that a wallet's session stands for; Unauthorized without one."""
    token = bearer_of(request)
    if token is None:
        raise Unauthorized(
            "the call needs a session",
            hint="sign in (POST /v1/sessions) and send Authorization: Bearer TOKEN",
        )
    return services.sessions.address_of(token)


def wallet_session(services: ServicesDep, request: Request, _: Credentials) -> str:
    """The token of a wallet's session; Unauthorized without one that is good."""
    signed_in(services, request)
    return bearer_of(request) or ""


# The address that signed in; Unauthorized when there is none.
Caller = Annotated[str, Depends(caller_with())]


def caller_for(services: Services, request: Request, orders: Iterable[JobRequest]) -> str | None:
    """Who signed in, asked only where an order replaces another: all else that an order needs is signed."""
    if all(order.replaces is None for order in orders):
        return None
    return signed_in(services, request)


WalletSession = Annotated[str, Depends(wallet_session)]
JobId = Annotated[str, Path(pattern=r"^0x[0-9a-f]{64}$")]
AttemptId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")]
LanguageCode = Annotated[Literal["en", "zh"], Query(description="of what people read")]
BlobName = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
IdempotencyKey = Annotated[IdempotencyText | None, Header(alias="Idempotency-Key")]
