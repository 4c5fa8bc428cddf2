"""`/v1/account`: a managed account's money: balance, limits, orders that the service signs, statement,
withdrawals."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from marketplace.api.access import IdempotencyKey, ServicesDep
from marketplace.api.managed import ManagedDep, Manager, Orderer, Reader
from marketplace.api.shares import count_account, share_of_address
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.statements import as_csv

router = APIRouter(prefix="/account", tags=["account"])

NeededKey = Annotated[wire.IdempotencyText, Header(alias="Idempotency-Key")]
_Second = Annotated[int | None, Query(ge=0, lt=2**40)]


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
def top_ups(managed: ManagedDep, identity: Reader) -> dict[str, Any]:
    """What the operator received for the account, newest first."""
    return {"items": managed.top_ups(identity), "next": None}


@router.get("/statement")
def statement(
    managed: ManagedDep, identity: Reader, since: _Second = None, until: _Second = None
) -> wire.Statement:
    """Every movement of the account on the chain, oldest first."""
    return managed.statements.statement(identity, since or 0, until)


@router.get("/statement.csv", response_class=Response)
def statement_csv(
    managed: ManagedDep, identity: Reader, since: _Second = None, until: _Second = None
) -> Response:
    """The same for a spreadsheet."""
    found = managed.statements.statement(identity, since or 0, until)
    headers = {
        "Content-Disposition": f'attachment; filename="statement-{identity.address}.csv"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return Response(as_csv(found), media_type="text/csv; charset=utf-8", headers=headers)


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
def withdrawals(managed: ManagedDep, identity: Reader) -> dict[str, Any]:
    """Newest first."""
    return {"items": managed.withdrawals.listed(identity), "next": None}


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
