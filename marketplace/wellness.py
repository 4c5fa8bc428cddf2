"""How a process of the service is: what its health pages tell, whether or not it serves the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from marketplace.services import Services
from marketplace.store.tables import lots, transactions
from prixfixe.errors import PrixfixeError


def health(services: Services, duties: Sequence[dict[str, Any]] | None) -> tuple[int, dict[str, Any]]:
    """(HTTP status, answer) of `GET /v1/health`. duties: how those of this process are; None: it has none."""
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
    if duties is not None:
        answer["duties"] = duties
        if not all(duty["running"] for duty in duties):
            answer["status"] = "unwell"
    return 200 if answer["status"] == "ok" else 503, answer


def readiness(services: Services, duties: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """(HTTP status, answer) of `GET /v1/ready`. duties: names of all that the service has, whoever does
    them."""
    missing: list[str] = []
    led: dict[str, bool] = {}
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
    return 503 if missing else 200, {"ready": not missing, "missing": missing, "led": led}
