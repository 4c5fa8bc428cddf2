"""`GET /v1/health`, `GET /v1/ready`, `GET /v1/market`, `GET /v1/protocol`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from marketplace import wellness
from marketplace.api.access import ServicesDep
from prixfixe.protocol import wire
from prixfixe.protocol.description import Description, describe
from prixfixe.protocol.typed_data import Domain

router = APIRouter(tags=["market"])


@router.get("/health")
def health(services: ServicesDep, request: Request, response: Response) -> dict[str, Any]:
    """Whether chain and store answer and the duties live, and how much waits. 503 when something does not.

    A duty that fails and tries again is alive; its `error` says why it fails.
    """
    # Whoever composed the process says how its duties are; an API alone has none.
    probe = getattr(request.app.state, "duties", None)
    response.status_code, answer = wellness.health(services, None if probe is None else probe())
    return answer


@router.get("/ready")
def ready(services: ServicesDep, request: Request, response: Response) -> dict[str, Any]:
    """Whether this process should be sent requests: the tables are its version's, chain and blobs answer,
    somebody leads each duty, and it is not stopping. 503 with what is missing otherwise; health is about the
    process itself, and whether it should be started anew."""
    # Whoever composed the process says which duties a service has.
    duties: Sequence[str] = getattr(request.app.state, "duty_names", ())
    response.status_code, answer = wellness.readiness(services, duties)
    return answer


@router.get("/protocol")
def protocol(services: ServicesDep) -> Description:
    """What is signed here: the EIP-712 domain and types, and where in a quote an order's fields come from."""
    return describe(Domain(services.market.chain_id, services.market.contract))


@router.get("/market")
def market(services: ServicesDep) -> wire.Market:
    """Chain, contract, token, policy and limits of this market."""
    return services.market
