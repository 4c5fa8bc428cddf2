"""`GET /v1/health`, `GET /v1/market`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import func, select

from marketplace.api.access import ServicesDep
from marketplace.store.tables import lots, transactions
from prixfixe.errors import PrixfixeError
from prixfixe.protocol import wire

router = APIRouter(tags=["market"])


@router.get("/health")
def health(services: ServicesDep, request: Request, response: Response) -> dict[str, Any]:
    """Whether chain and store answer and the duties live, and how much waits. 503 when something does not.

    A duty that fails and tries again is alive; its `error` says why it fails.
    """
    answer: dict[str, Any] = {"status": "ok", "version": services.market.version}
    try:
        view = services.chain.look()
        answer |= {"chain_block": view.block, "chain_time": view.time}
    except PrixfixeError as error:
        answer |= {"status": "unwell", "chain": error.message}
    try:
        with services.store.read() as connection:
            waiting = select(func.count()).select_from(lots).where(lots.c.state == "free")
            unsent = select(func.count()).select_from(transactions).where(transactions.c.state == "pending")
            answer |= {
                "waiting_lots": connection.execute(waiting).scalar_one(),
                "pending_transactions": connection.execute(unsent).scalar_one(),
            }
    except Exception as error:
        answer |= {"status": "unwell", "store": type(error).__name__}
    # Whoever composed the process says how its duties are; an API alone has none.
    probe = getattr(request.app.state, "duties", None)
    if probe is not None:
        answer["duties"] = probe()
        if not all(duty["running"] for duty in answer["duties"]):
            answer["status"] = "unwell"
    if answer["status"] != "ok":
        response.status_code = 503
    return answer


@router.get("/market")
def market(services: ServicesDep) -> wire.Market:
    """Chain, contract, token, policy and limits of this market."""
    return services.market
