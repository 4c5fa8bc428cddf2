"""The page of who has a wallet of its own: money and jobs, signed in the browser. The service gives it the
market's numbers and draws jobs; everything else its script asks of `/v1` and of the wallet."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Depends, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, RedirectResponse, Response

from marketplace.api.access import JobId, ServicesDep, signed_in
from marketplace.api.pages import Page, job_values, language_of, page
from marketplace.api.shared_pages import days_of, link_to
from marketplace.api.visitors import Form
from marketplace.services import Services
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.orders import Purchase, Withdraw
from prixfixe.protocol.typed_data import TypedStruct, abi_fields
from prixfixe.protocol.wire import JobState

router = APIRouter(include_in_schema=False, route_class=Page)

# What the page calls on the contract and its token, as Solidity names it.
_CALLS: Final = (
    "account(address)",
    "withdraw(address,uint64)",
    "deposit(uint64)",
    "approve(address,uint256)",
    "balanceOf(address)",
)
_UNKEPT: Final = {"Cache-Control": "no-store"}
# Texts that only scripts show.
WORDS: Final = (
    *("bad_amount", "declined", "lost", "wrong_chain", "sent", "reverted", "unmined", "connect", "injected"),
    *("no_account", "unknown_chain", "sign_in", "ended", "other_account", "altered", "differs", "sign_order"),
    *("withdrawn", "deposited", "handed_over", "deposit_missing", "pay", "other_job"),
)
# Values that scripts put in.
_LATER: Final = {
    name: "{" + name + "}"
    for name in ("text", "chain", "hash", "name", "what", "price", "missing", "spendable", "job")
}


def wallet_values(request: Request, services: Services) -> dict[str, Any]:
    """What the scripts of wallets are told: the market's numbers, and texts."""
    market, text = services.market, language_of(request).text
    numbers = {
        "chain": market.chain_id,
        "contract": market.contract,
        "token": market.token,
        "symbol": market.token_symbol,
        "calls": _selectors(),
        "types": {struct.__name__: _fields(struct) for struct in (Purchase, Withdraw)},
    }
    words = {name: text(f"wallet.{name}", **_LATER) for name in WORDS}
    words |= {f"state.{each}": text(f"state.{each}") for each in get_args(JobState)}
    words["spendable"] = text("run.spendable", **_LATER)
    return {"market": market, "numbers": numbers, "wallet_words": words}


@router.get("/wallet")
def wallet(
    request: Request, services: ServicesDep, bundle: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """Connect, sign in, watch, deposit, withdraw. bundle: what is ordered, which has a page of its own."""
    if bundle:
        listing = services.bundles.listing(bundle, None)
        return RedirectResponse(f"/bundles/{listing.id}/run?wallet=yes", status_code=303)
    return page(request, "wallet.html", **wallet_values(request, services))


Wallet = Annotated[str, Depends(signed_in)]  # asked before a form is read


def _drawn(
    request: Request, services: Services, customer: str, job: str, link: str | None = None
) -> Response:
    return page(request, "job_of_wallet.html", visitor=None, **job_values(services, customer, job, link))


def shown_job(request: Request, services: ServicesDep, customer: Wallet, job: JobId) -> Response:
    """How far a job is, and where its log goes, drawn for its customer's page: for the session of a wallet,
    and no cookie."""
    return _drawn(request, services, customer, job)


def parameters(services: ServicesDep, customer: Wallet, job: JobId) -> Response:
    """What one of its jobs was asked to do, to be asked again of another file."""
    return JSONResponse(services.jobs.parameters(job, customer), headers=_UNKEPT)


def share(request: Request, services: ServicesDep, customer: Wallet, job: JobId, form: Form) -> Response:
    """The job as it is drawn, with a new link to its files, shown this once."""
    token = services.share_links.make(customer, job, days_of(form), f"wallet:{customer}")
    return _drawn(request, services, customer, job, link_to(request, services, token))


def unshare(request: Request, services: ServicesDep, customer: Wallet, job: JobId) -> Response:
    """The job as it is drawn, without links that are good."""
    services.share_links.take_back(customer, job)
    return _drawn(request, services, customer, job)


# What a script asks for: what goes wrong is a problem, as the API says it, and no page.
for _path, _method, _route in (
    ("", "GET", shown_job),
    ("/parameters", "GET", parameters),
    ("/share", "POST", share),
    ("/unshare", "POST", unshare),
):
    router.add_api_route(
        f"/wallet/jobs/{{job}}{_path}", _route, methods=[_method], route_class_override=APIRoute
    )


@cache
def _selectors() -> dict[str, str]:
    return {name.partition("(")[0]: "0x" + keccak256(name.encode())[:4].hex() for name in _CALLS}


def _fields(struct: type[TypedStruct]) -> list[dict[str, str]]:
    return [{"name": each.solidity_name, "type": each.solidity_type} for each in abi_fields(struct)]
