"""The pages on which a file becomes an order: `/bundles/{bundle}`, for who may order from an account, and
`/bundles/{bundle}/run`, also for who has a wallet and for who runs a job again."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from marketplace.api.access import ServicesDep
from marketplace.api.pages import Page, Text, language_of, page, why_no_files
from marketplace.api.visitors import sign_up_values, visitor_of
from marketplace.api.wallet_pages import wallet_values
from marketplace.bundles import stored_definition
from marketplace.console.controls import aggregates, controls
from marketplace.console.parameters import parameters
from marketplace.services import Services
from prixfixe.errors import NotFound
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.schema import defaults
from prixfixe.tables.looked import SOURCE_PARAMETERS

router = APIRouter(include_in_schema=False, route_class=Page)

Job = Annotated[str, Query(pattern=r"^(0x[0-9a-f]{64})?$")]
# Drawn as a table of the file's own columns, where the preflight is that of a table.
_OF_COLUMNS: Final = frozenset({"rows", "columns", "values", "types"})
# Texts that only the page's script shows.
WORDS: Final = (
    *("hashing", "sending", "queued", "look", "make", "seen", "lost", "unreadable", "empty", "large"),
    *("no_rows", "no_values", "priced", "pay", "ordering", "type_of", "use_of", "use_more", "use_other"),
    *("busy", "many", "differ", "spendable"),
    *("type_text", "type_integer", "type_decimal", "type_date", "type_boolean"),
    *("use_none", "use_rows", "use_columns", "use_sum", "use_average", "use_min", "use_max", "use_count"),
    *("use_distinct", "use_share", "source_encoding", "source_delimiter", "source_decimal"),
    *("source_thousands", "source_date_format"),
)
# Values that the page's script puts in.
_LATER: Final = {
    name: "{" + name + "}"
    for name in (
        "name",
        "first",
        "files",
        "percent",
        "rows",
        "columns",
        "units",
        "unit",
        "tier",
        "price",
        "column",
        "spendable",
    )
}


@router.get("/bundles/{bundle}")
def bundle_page(
    request: Request, services: ServicesDep, bundle: str, version: Text | None = None, channel: str = ""
) -> Response:
    """What a bundle does, costs and promises, from its definition, with the way from a file to a result for
    who may order, and the form that leads to it for who has no account yet. channel: by which link one
    came."""
    listing = services.bundles.listing(bundle, version)
    newest = services.bundles.listing(bundle, None)
    definition = stored_definition(listing.definition_digest, listing.definition)
    visitor = None if services.managed is None else visitor_of(request, services)
    no_run = why_no_files(services, newest)
    here = no_run is None and listing.version == newest.version and services.managed is not None
    values: dict[str, Any] = {
        "definition": definition,
        "retired": listing.retired,
        "no_run": no_run,
        "digest": listing.definition_digest,
        "parameters": parameters(definition.parameters),
        "versions": [each for each in services.bundles.listings() if each.id == bundle],
        "visitor": visitor,
        "opens": here and visitor is None,
        "flow": here and visitor is not None and "order" in visitor.identity.scopes,
        **sign_up_values(services, channel, request.url.path),
    }
    if values["flow"]:
        values |= _flow(request, services, definition)
    return page(request, "bundle.html", **values)


@router.get("/bundles/{bundle}/run")
def run_page(
    request: Request, services: ServicesDep, bundle: str, again: Job = "", wallet: bool = False
) -> Response:
    """Choose files, confirm their columns, see the price, pay. again: a job whose parameters are taken.
    wallet: a wallet pays and not the account, also where there are no accounts."""
    listing = services.bundles.listing(bundle, None)
    definition = stored_definition(listing.definition_digest, listing.definition)
    if why_no_files(services, listing):
        raise NotFound(
            f"files for {bundle[:64]} are not taken here",
            code="no-inspectors",
            hint=f"use the command prixfixe run {bundle[:64]}",
        )
    values = _flow(request, services, definition)
    if wallet or services.managed is None:
        values["wallet"] = True
        told = wallet_values(request, services)
        values["of"] = again  # its parameters are for the wallet's session only
        values["words"]["pay"] = told["wallet_words"]["pay"]
        return page(request, "run.html", **values, **told)
    visitor = visitor_of(request, services)
    if visitor is None:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/sign-in?next={quote(request.url.path + query, safe='')}", status_code=303)
    identity = visitor.identity.require("order")
    if again:
        values["again"] = services.jobs.parameters(again, identity.address)
    return page(request, "run.html", **values, visitor=visitor)


def _flow(request: Request, services: Services, definition: BundleDefinition) -> dict[str, Any]:
    """What the way from a file to an order is drawn from, for an account."""
    drawn = controls(definition.parameters)
    kind = definition.inputs.preflight
    elsewhere = SOURCE_PARAMETERS | (_OF_COLUMNS if kind == "table" else frozenset())
    text = language_of(request).text
    return {
        "definition": definition,
        "kind": kind,
        "most": min(definition.inputs.max_bytes, services.settings.max_blob_bytes),
        "uses": aggregates(definition.parameters),
        "again": {},
        "of": "",
        "defaults": defaults(definition.parameters),
        "sources": [each for each in drawn if each.name in SOURCE_PARAMETERS],
        "others": [each for each in drawn if each.name not in elsewhere],
        "words": {name: text(f"run.{name}", **_LATER) for name in WORDS},
        "wallet": False,
    }
