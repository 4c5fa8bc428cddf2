"""`/v1/account`: a managed account's money: balance, limits, orders that the service signs, statement,
withdrawals."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response

from marketplace.api.access import Cursor, IdempotencyKey, LanguageCode, Limit, ServicesDep, saved
from marketplace.api.managed import ManagedDep, Manager, Orderer, Reader
from marketplace.api.shares import count_account, share_of_address
from marketplace.console import statement_paper
from marketplace.console.languages import LANGUAGES
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.fields import Page
from prixfixe.protocol.statements import as_csv

router = APIRouter(prefix="/account", tags=["account"])

NeededKey = Annotated[wire.IdempotencyText, Header(alias="Idempotency-Key")]
MOST_SECONDS: Final = 2**33  # the year 2242
_Second = Annotated[int | None, Query(ge=0, lt=MOST_SECONDS)]
_PDF: Final = "application/pdf"


@router.get("")
def account(managed: ManagedDep, identity: Reader) -> wire.Account:
    """The account: balance, limits, where its money may leave to."""
    return managed.balances.account(identity)


@router.put("/limits")
def set_limits(managed: ManagedDep, identity: Manager, body: wire.Limits) -> wire.Limits:
    """What the service signs for the account from now on."""
    return managed.spending.set(identity, body)


@router.post("/orders", status_code=201, dependencies=[share_of_address("jobs")])
def order(
    services: ServicesDep,
    managed: ManagedDep,
    identity: Orderer,
    body: wire.ManagedOrder,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> wire.Ordered:
    """Order without a signature: the service quotes where no quote is named, checks the account's limits, and
    signs. 201 for a new job, 200 when this very request was here before."""
    placed = managed.ordering.place(identity, body, idempotency_key)
    response.status_code = 201 if placed.new else 200
    response.headers["Location"] = f"/v1/jobs/{placed.job}"
    balance = managed.balances.of(identity)
    job = services.jobs.get(placed.job, identity.address)
    return wire.Ordered(job=job, new=placed.new, spendable=balance.spendable, low=balance.low)


@router.get("/top-ups")
def top_ups(
    managed: ManagedDep, identity: Reader, cursor: Cursor = None, limit: Limit = 50
) -> Page[wire.TopUp]:
    """What the operator received for the account, newest first."""
    items, following = managed.top_ups(identity, cursor, limit)
    return Page(items=items, next=following)


def _answered_as(request: Request) -> str:
    """The kind of statement that an Accept header asks for."""
    accepted = request.headers.get("accept", "")
    return next((kind for kind in (_PDF, "text/csv") if kind in accepted), "application/json")


@router.get(
    "/statement", response_model=wire.Statement, responses={200: {"content": {_PDF: {}, "text/csv": {}}}}
)
def statement(
    request: Request,
    services: ServicesDep,
    managed: ManagedDep,
    identity: Reader,
    response: Response,
    since: _Second = None,
    until: _Second = None,
    language: LanguageCode = "en",
) -> Any:
    """Every movement of the account on the chain, oldest first; as a PDF or CSV where `Accept` names it."""
    kind = _answered_as(request)
    if kind == _PDF:
        return statement_pdf(services, managed, identity, response, since, until, language)
    if kind == "text/csv":
        return statement_csv(managed, identity, since, until)
    return managed.statements.statement(identity, since or 0, until)


@router.get("/statement.csv", response_class=Response)
def statement_csv(
    managed: ManagedDep, identity: Reader, since: _Second = None, until: _Second = None
) -> Response:
    """The same for a spreadsheet."""
    found = managed.statements.statement(identity, since or 0, until)
    return saved(as_csv(found), "text/csv; charset=utf-8", f"statement-{identity.address}.csv")


@router.get("/statement.pdf", response_class=Response)
def statement_pdf(
    services: ServicesDep,
    managed: ManagedDep,
    identity: Reader,
    response: Response,
    since: _Second = None,
    until: _Second = None,
    language: LanguageCode = "en",
) -> Response:
    """The same for people who keep books: opening and closing balance, and each movement's transaction."""
    count_account(services, "papers", identity.address, response)
    found = managed.statements.statement(identity, since or 0, until)
    written = statement_paper.statement_pdf(
        found, managed.name_of(identity), since, until, LANGUAGES[language]
    )
    return saved(written, _PDF, f"statement-{identity.address}.pdf", response)


@router.get("/withdrawal-address")
def withdrawal_address(managed: ManagedDep, identity: Reader) -> wire.WithdrawalAddress:
    """Where money may leave to."""
    return managed.withdrawals.address(identity)


@router.put("/withdrawal-address")
def fix_withdrawal_address(
    managed: ManagedDep, identity: Manager, body: wire.NewWithdrawalAddress
) -> wire.WithdrawalAddress:
    """Where money may leave to from now on, or, when it had another one or money, after the delay."""
    return managed.withdrawals.fix(identity, body.address)


@router.get("/standing-withdrawal")
def standing_withdrawal(
    services: ServicesDep, managed: ManagedDep, identity: Manager, response: Response
) -> wire.StandingWithdrawal:
    """Signed withdrawals that bring everything to the address without the operator: keep them."""
    count_account(services, "withdrawals", identity.address, response)
    response.headers["Cache-Control"] = "no-store"
    return managed.withdrawals.standing(identity)


@router.get("/withdrawals")
def withdrawals(
    managed: ManagedDep, identity: Reader, cursor: Cursor = None, limit: Limit = 50
) -> Page[wire.Withdrawal]:
    """Newest first."""
    items, following = managed.withdrawals.page(identity, cursor, limit)
    return Page(items=items, next=following)


@router.post("/withdrawals", status_code=201)
def withdraw(
    services: ServicesDep,
    managed: ManagedDep,
    identity: Manager,
    body: wire.WithdrawalRequest,
    idempotency_key: NeededKey,
    response: Response,
) -> wire.Withdrawal:
    """Send money to the fixed address: a dollar at least or all that is spendable, one at a time."""
    count_account(services, "withdrawals", identity.address, response)
    return managed.withdrawals.withdraw(identity, body.amount, idempotency_key)
