"""The page of who has a wallet of its own: money, orders and jobs, each signed in the browser. The service
gives it the market's numbers and an application's parameters; everything else its script asks of `/v1` and of
the wallet."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from marketplace.api.access import JobId, ServicesDep, signed_in
from marketplace.api.pages import Page, page
from marketplace.bundles import stored_definition
from marketplace.console.parameters import parameters
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.orders import Purchase, Withdraw
from prixfixe.protocol.typed_data import TypedStruct, abi_fields

router = APIRouter(include_in_schema=False, route_class=Page)

# What the page calls on the contract and its token, as Solidity names it.
_CALLS: Final = (
    "account(address)",
    "withdraw(address,uint64)",
    "deposit(uint64)",
    "approve(address,uint256)",
    "balanceOf(address)",
)


@router.get("/wallet")
def wallet(
    request: Request, services: ServicesDep, bundle: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """Connect, sign in, order, watch, withdraw. bundle: what is ordered."""
    definition = None
    if bundle:
        listing = services.bundles.listing(bundle, None)
        definition = stored_definition(listing.definition_digest, listing.definition)
    market = services.market
    numbers = {
        "chain": market.chain_id,
        "contract": market.contract,
        "token": market.token,
        "symbol": market.token_symbol,
        "calls": _selectors(),
        "types": {struct.__name__: _fields(struct) for struct in (Purchase, Withdraw)},
        "bundle": None if definition is None else definition.id,
    }
    return page(
        request,
        "wallet.html",
        market=market,
        numbers=numbers,
        definition=definition,
        parameters=() if definition is None else parameters(definition.parameters),
        sample="" if definition is None else _sample(definition),
    )


def shown_job(request: Request, services: ServicesDep, job: JobId) -> Response:
    """How far a job is, drawn for its customer's page: for the session of a wallet, and no cookie."""
    found = services.jobs.get(job, signed_in(services, request))
    return page(request, "job_shown.html", visitor=None, job=found)


# What a script asks for: what goes wrong is a problem, as the API says it, and no page.
router.add_api_route("/wallet/jobs/{job}", shown_job, route_class_override=APIRoute)


@cache
def _selectors() -> dict[str, str]:
    return {name.partition("(")[0]: "0x" + keccak256(name.encode())[:4].hex() for name in _CALLS}


def _fields(struct: type[TypedStruct]) -> list[dict[str, str]]:
    return [{"name": each.solidity_name, "type": each.solidity_type} for each in abi_fields(struct)]


def _sample(definition: BundleDefinition) -> str:
    """Its parameters with their defaults; what must be given is empty."""
    schema: dict[str, Any] = dict(definition.parameters)
    empty: dict[str, Any] = {"array": [], "object": {}, "string": "", "integer": 0, "boolean": False}
    found = {
        name: each.get("default", empty.get(str(each.get("type"))))
        for name, each in schema.get("properties", {}).items()
        if "default" in each or name in schema.get("required", ())
    }
    return json.dumps(found, ensure_ascii=False, indent=1)
