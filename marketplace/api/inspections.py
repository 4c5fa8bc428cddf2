"""`/v1/account/inspections`: files looked at before they are paid for, of wallets and of managed accounts.
`/v1/inspections`: the machines of the operator that look."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from marketplace.api.access import Caller, ServicesDep, caller_with
from marketplace.api.shares import count_account, count_address
from marketplace.api.waiting import found_in_time, waited
from marketplace.inspections import TOPIC, topic
from prixfixe.protocol.inspections import (
    Inspection,
    InspectionAnswer,
    InspectionRequest,
    InspectionTask,
)

router = APIRouter(tags=["inspections"])

InspectionId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Orderer = Annotated[str, Depends(caller_with("order"))]
Wait = Annotated[float, Query(ge=0, le=600)]


@router.post("/account/inspections", status_code=201)
def ask(
    services: ServicesDep,
    request: Request,
    owner: Orderer,
    body: InspectionRequest,
    response: Response,
) -> Inspection:
    """Have an uploaded file looked at, in a cage on a machine of the operator's: its columns, or, with the
    job's parameters, the typed table that travels and the units of its price."""
    # A wallet costs nothing: who has a thousand of them is still one address.
    count_address(services, "inspections", request, response)
    count_account(services, "inspections", owner, response)
    return services.inspections.ask(owner, body)


@router.get("/account/inspections/{inspection}")
async def inspection(
    services: ServicesDep, owner: Orderer, inspection: InspectionId, wait: Wait = 0
) -> Inspection:
    """How far it is; waited for up to `wait` seconds while it is not over."""
    return await found_in_time(
        services,
        topic(inspection),
        wait,
        lambda: services.inspections.get(owner, inspection),
        lambda found: found.state in ("done", "failed"),
    )


@router.get("/inspections/next", response_model=None, responses={200: {"model": InspectionTask}})
async def take(services: ServicesDep, caller: Caller, wait: Wait = 0) -> Response:
    """The next file to look at, waited for up to `wait` seconds; 204 when none came. For the operator's
    inspectors."""
    return await waited(services, TOPIC, wait, lambda: services.inspections.next(caller))


@router.post("/inspections/{inspection}/answer", status_code=204)
def answer(services: ServicesDep, caller: Caller, inspection: InspectionId, body: InspectionAnswer) -> None:
    """What was found; the same again is no error."""
    services.inspections.answer(caller, inspection, body)
