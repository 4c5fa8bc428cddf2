"""Pages for everybody: prices, bundles, the market, providers, receipts, documents."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from marketplace.api import problems
from marketplace.api.access import ServicesDep, saved
from marketplace.api.managed import COOKIE as COOKIE_OF_SESSION
from marketplace.api.shares import share_of_address
from marketplace.bundles import stored_definition
from marketplace.console import charts, documents
from marketplace.console.assets import asset_at
from marketplace.console.controls import controls
from marketplace.console.languages import COOKIE, LANGUAGES, Language, chosen
from marketplace.console.price_history import histories, percent
from marketplace.console.rendering import HEADERS, render
from marketplace.services import Services
from prixfixe.client.certificates import grouped, left_out
from prixfixe.client.verification import parse_receipt, verify
from prixfixe.errors import InvalidInput, NotFound, PrixfixeError
from prixfixe.protocol.accounts import channel_of
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.fields import Address
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import BundleListing

_LEVELS: Final = 200
_TRADES: Final = 300
_SHOWN: Final = 20
_DAYS: Final = 30
_MOST_FIELDS: Final = 20
_YEAR: Final = 365 * 86_400
_GZIP: Final = re.compile(r"(?:^|,)\s*gzip\s*(?!;\s*q=0(?:\.0*)?\s*(?:,|$))(?:;|,|$)", re.IGNORECASE)
_OUTCOMES: Final = ("paid", "unsigned", "refused", "expired", "guilty")


def inside(place: str) -> str:
    """A path of this service to go on to; the first page for anything else."""
    own = place.startswith("/") and place[1:2] not in ("/", "\\") and place.isprintable()
    return place if own and place.isascii() else "/"


def language_of(request: Request) -> Language:
    return chosen(request.cookies.get(COOKIE), request.headers.get("accept-language"))


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the first of each name; InvalidInput for what is none."""
    if not is_form(request):
        raise InvalidInput("this is no form", code="invalid-request")
    try:
        fields = parse_qs((await request.body()).decode("ascii"), max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise InvalidInput("this is no form", code="invalid-request") from error
    return {name: values[0] for name, values in fields.items()}


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A document in the reader's language."""
    document = render(template, language_of(request), request.url.path, enter=_enter(request), **values)
    return HTMLResponse(document, status_code=status, headers=dict(HEADERS))


def _enter(request: Request) -> str | None:
    """As `render` takes it."""
    services: Services = request.app.state.services
    if services.managed is None:
        return None
    return "account" if COOKIE_OF_SESSION in request.cookies else "sign_in"


def _error_page(request: Request, error: PrixfixeError) -> Response:
    problems.log_fault(request, error)
    return page(request, "error.html", error.status, error=error)


class Page(APIRoute):
    """Answers errors with a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                return _error_page(request, InvalidInput(f"{first['loc'][-1]}: {first['msg']}"))
            except PrixfixeError as error:
                return _error_page(request, error)

        return handle


router = APIRouter(include_in_schema=False, route_class=Page)


def install(app: FastAPI) -> None:
    """A page also for what no route answers, when a person asked."""
    app.add_exception_handler(HTTPException, _unknown)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wants = "text/html" in request.headers.get("accept", "")
    if not wants or request.url.path.startswith("/v1/") or error.status_code != 404:
        return await problems.unknown(request, error)
    missing = PrixfixeError(
        f"there is nothing at {request.url.path[:200]}", code="unknown-route", fault="customer"
    )
    return page(request, "error.html", 404, error=missing)


@router.get("/assets/{name}")
async def asset(request: Request, name: str) -> Response:
    """A style or a script; its name holds its digest."""
    found = asset_at(f"/assets/{name}")
    headers = {
        "Cache-Control": f"public, max-age={_YEAR}, immutable",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    if _takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return Response(found.packed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


@router.get("/language/{code}")
async def language(request: Request, code: str, back: str = "/") -> Response:
    """Remember a language, and go back to where it was chosen: a path of this service and nowhere else."""
    if code not in LANGUAGES:
        raise InvalidInput(f"there is no language {code[:20]!r}", hint=f"choose from: {', '.join(LANGUAGES)}")
    answer = RedirectResponse(inside(back), status_code=303)
    answer.set_cookie(COOKIE, code, max_age=_YEAR, httponly=True, samesite="lax")
    return answer


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the calculator was given."""

    bundle: str
    units: str
    replicas: int


@dataclass(frozen=True, slots=True)
class _Priced:
    total: Money
    units: int
    unit: str
    tier: str


Text = Annotated[str, Query(max_length=64)]


@router.get("/")
def prices(
    request: Request,
    services: ServicesDep,
    bundle: Text = "",
    units: Text = "",
    replicas: int = 1,
    channel: str = "",
) -> Response:
    """What is sold, with a calculator, and what machine time costs. channel: by which link one came; an
    account that is opened from here keeps it."""
    sold = _sold(services)
    asked = _Asked(bundle, units, replicas)
    values: dict[str, Any] = {
        "bundles": sold,
        "replicas": sorted({number for each in sold for number in each.replicas}),
        "asked": asked,
        "indexes": services.trades.indexes(),
        "channel": channel_of(channel),
    }
    return page(request, "prices.html", **values, **_calculated(sold, asked))


@router.get("/prices")
def price(
    request: Request, services: ServicesDep, bundle: Text = "", units: Text = "", replicas: int = 1
) -> Response:
    """The calculator's answer alone."""
    return page(request, "price.html", **_calculated(_sold(services), _Asked(bundle, units, replicas)))


def _sold(services: Services) -> list[BundleDefinition]:
    """The newest version of each bundle that is sold."""
    newest: dict[str, BundleDefinition] = {}
    for listing in services.bundles.listings():
        if not listing.retired and listing.id not in newest:
            newest[listing.id] = stored_definition(listing.definition_digest, listing.definition)
    return list(newest.values())


def _calculated(sold: list[BundleDefinition], asked: _Asked) -> dict[str, Any]:
    """As a quote computes it: the tier that the units fall into, times the replicas."""
    typed = asked.units.translate({ord(each): None for each in ",. '_\u00a0\u202f"})
    definition = next((each for each in sold if each.id == asked.bundle), sold[0] if sold else None)
    if not typed or definition is None:
        return {}
    try:
        if not (typed.isascii() and typed.isdigit()):
            raise InvalidInput(f"{asked.units!r} is no number of {definition.unit}")
        tier = definition.tier_for(int(typed))
        count = definition.require_replicas(asked.replicas)
    except PrixfixeError as error:
        return {"fault": error}
    return {"price": _Priced(tier.price * count, int(typed), definition.unit, tier.name)}


@router.get("/bundles/{bundle}/sample")
def sample(services: ServicesDep, bundle: str, version: Text | None = None) -> Response:
    """A small table that the bundle takes, for everybody."""
    listing = services.bundles.listing(bundle, version)
    found = stored_definition(listing.definition_digest, listing.definition).sample
    if found is None:
        raise NotFound(f"{listing.id} {listing.version} was published without a sample", code="no-sample")
    return saved(found.content, "text/csv", found.name)


def takes_files(services: Services, bundle: str | None) -> bool:
    """Whether files can be run from the page of a bundle, as its newest version is sold."""
    if bundle is None:
        return False
    try:
        listing = services.bundles.listing(bundle, None)
    except NotFound:
        return False
    return not why_no_files(services, listing)


def job_values(services: Services, customer: str, job: str, link: str | None) -> dict[str, Any]:
    """What a page of a job is drawn from, for its customer. link: to its files, made just now and shown this
    once."""
    after, logged = services.jobs.newest_log(job, customer)  # first: what is new follows
    found = services.jobs.get(job, customer)
    return {
        "job": found,
        "after": after,
        "logged": logged,
        "again": takes_files(services, found.bundle),
        "links": services.share_links.count(customer, job),
        "link": link,
    }


NoRun = Literal["retired", "inspectors", "parameters"]


def why_no_files(services: Services, listing: BundleListing) -> NoRun | None:
    """What keeps files from being run from the page of a bundle; None when nothing does."""
    definition = stored_definition(listing.definition_digest, listing.definition)
    if listing.retired:
        return "retired"
    kind = definition.inputs.preflight
    if kind != "none" and not services.inspections.offered:
        return "inspectors"
    # The page's table of columns says what a table is grouped by and adds up.
    own = {"rows", "values"} if kind == "table" else set()
    given = own | {each.name for each in controls(definition.parameters)}
    return None if given.issuperset(definition.parameters.get("required", ())) else "parameters"


@router.get("/pricing")
def pricing(request: Request, services: ServicesDep) -> Response:
    """Every version and offer that was ever listed."""
    found = tuple(histories(services.bundles.listings()))
    return page(request, "pricing.html", histories=found, percent=percent)


@router.get("/market")
def market(request: Request, services: ServicesDep) -> Response:
    """Every product, with its index."""
    return page(request, "market.html", indexes=services.trades.indexes())


@router.get("/market/{product:path}")
def product_page(request: Request, services: ServicesDep, product: str) -> Response:
    """Depth, trades and price index of a product, drawn."""
    chosen_product = Product.read(product)
    trades, _ = services.trades.page(chosen_product, None, _TRADES)
    index = services.trades.index(chosen_product)
    book = services.book.book(chosen_product, _LEVELS)
    spoken = language_of(request)
    return page(
        request,
        "product.html",
        book=book,
        index=index,
        depth=charts.depth(book.bids, book.asks, spoken),
        points=charts.points(trades, index, spoken),
        trades=trades[:_SHOWN],
    )


@router.get("/providers")
def providers(request: Request, services: ServicesDep) -> Response:
    """What the chain says of each provider."""
    return page(request, "providers.html", records=services.reputations.records(), outcomes=_OUTCOMES)


@router.get("/providers/{provider}")
def provider_page(request: Request, services: ServicesDep, provider: Address) -> Response:
    """One provider's record, pay and machines."""
    found = services.income.activity(provider, _DAYS)
    (record,) = services.reputations.records(provider).items
    return page(request, "provider.html", record=record, found=found, outcomes=_OUTCOMES)


@router.get("/receipts")
def receipts(request: Request) -> Response:
    """Where a receipt is checked."""
    return page(request, "receipts.html", text="")


@router.post("/receipts", dependencies=[share_of_address("quotes")])
async def check_receipt(request: Request, services: ServicesDep) -> Response:
    """Check one: JSON as it was issued, or a form with its text."""
    text, shown = await request.body(), ""
    if is_form(request):
        shown = (await form_of(request)).get("receipt", "")
        text = shown.encode("utf-8", "replace")
    market = services.market
    try:
        receipt = await run_in_threadpool(parse_receipt, text.strip())
        found = await run_in_threadpool(
            verify,
            receipt,
            chain_id=market.chain_id,
            contract=market.contract,
            operator=market.operator,
        )
    except PrixfixeError as error:
        return page(request, "receipts.html", 422, text=shown, fault=error)
    return page(
        request,
        "receipts.html",
        text=shown,
        receipt=receipt,
        found=found,
        checked=tuple(grouped(found)),
        not_checked=tuple(left_out(receipt, found)),
    )


@router.get("/docs")
def documents_page(request: Request) -> Response:
    """The documents of this version."""
    return page(request, "documents.html", groups=documents.grouped())


@router.get("/docs/{name:path}")
def document_page(request: Request, name: str) -> Response:
    """One document."""
    packed = packed_document(name, language_of(request).code, _enter(request))
    headers = {**HEADERS, "Vary": f"{HEADERS['Vary']}, Accept-Encoding"}
    if not _takes_gzip(request):
        return HTMLResponse(gzip.decompress(packed), headers=headers)
    # Only what is everybody's: how well a page packs that holds a secret and what somebody wrote tells of it.
    return HTMLResponse(packed, headers={**headers, "Content-Encoding": "gzip"})


@cache
def packed_document(name: str, language: str, enter: str | None) -> bytes:
    """The page of a document, made once: it takes longer than to send it, and anybody may ask. There are few
    documents; NotFound, which is not kept, for any other."""
    document, body = documents.document(name), documents.body(name)
    path = f"/docs/{name}"
    made = render("document.html", LANGUAGES[language], path, enter=enter, document=document, body=body)
    return gzip.compress(made.encode(), mtime=0)


def _takes_gzip(request: Request) -> bool:
    return _GZIP.search(request.headers.get("accept-encoding", "")) is not None
