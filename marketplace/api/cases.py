"""`/v1/cases/{deal}`: the file of an open case, for the arbiter."""

from __future__ import annotations

from fastapi import APIRouter

from marketplace.api.access import Caller, JobId, ServicesDep
from prixfixe.protocol import wire

router = APIRouter(prefix="/cases", tags=["cases"])


@router.get("/{deal}")
def case(services: ServicesDep, caller: Caller, deal: JobId) -> wire.CaseFile:
    """What the arbiter needs to run a challenged task again. Nobody else has it; nor has it, once the case is
    over."""
    return services.cases.file(deal, caller)
