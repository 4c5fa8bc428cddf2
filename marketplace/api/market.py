"""`GET /v1/health`, `GET /v1/ready`, `GET /v1/market`, `GET /v1/protocol`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import func, select

from marketplace.api.access import ServicesDep
from marketplace.store.tables import lots, transactions
from prixfixe.errors import PrixfixeError
from prixfixe.protocol import wire
from prixfixe.protocol.description import Description, describe
from prixfixe.protocol.typed_data import Domain

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


@router.get("/ready")
def ready(services: ServicesDep, request: Request, response: Response) -> dict[str, Any]:
    """Whether this process should be sent requests: the tables are its version's, chain and blobs answer,
    somebody leads each duty, and it is not stopping. 503 with what is missing otherwise; health is about the
    process itself, and whether it should be started anew."""
    missing: list[str] = []
    led: dict[str, bool] = {}
    # Whoever composed the process says which duties a service has.
    duties: Sequence[str] = getattr(request.app.state, "duty_names", ())
    try:
        if not services.store.is_current():
            missing.append("tables: of another version; the newest process brings them up to date")
        with services.store.read() as connection:
            found = services.store.leading.led(connection, duties)
        led = {duty: duty in found for duty in duties}
    except PrixfixeError as error:
        missing.append(f"store: {error.message}")
    missing += [f"leader: nobody does the {duty}" for duty, known in led.items() if not known]
    try:
        services.chain.look()
    except PrixfixeError as error:
        missing.append(f"chain: {error.message}")
    try:
        services.blobs.kept.check()
    except PrixfixeError as error:
        missing.append(f"blobs: {error.message}")
    if services.closing.is_set():
        missing.append("process: it is stopping")
    if missing:
        response.status_code = 503
    return {"ready": not missing, "missing": missing, "led": led}


@router.get("/protocol")
def protocol(services: ServicesDep) -> Description:
    """What is signed here: the EIP-712 domain and types, and where in a quote an order's fields come from."""
    return describe(Domain(services.market.chain_id, services.market.contract))


@router.get("/market")
def market(services: ServicesDep) -> wire.Market:
    """Chain, contract, token, policy and limits of this market."""
    return services.market
