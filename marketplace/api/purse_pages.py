"""Pages of a managed account's money: limits, where it may leave to, withdrawals. What lets money out is
asked again first."""

from __future__ import annotations

import re
import secrets
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from marketplace.accounts.people import Session
from marketplace.api.access import Cursor, ServicesDep
from marketplace.api.managed import require_managed
from marketplace.api.shares import count_account
from marketplace.api.visitors import (
    Form,
    Reading,
    Sending,
    account_page,
    account_router,
    gone_to,
    parsed,
)
from marketplace.services import Services
from prixfixe.errors import InvalidInput, PrixfixeError
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.money import Money

router = account_router()

_PAGE: Final = 50
_KEY: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def _limits_page(
    request: Request,
    services: Services,
    visitor: Session,
    fault: PrixfixeError | None = None,
    given: dict[str, str] | None = None,
    saved: bool = False,
) -> Response:
    """given: what the form said, when it comes back."""
    found = require_managed(services).balances.account(visitor.identity)
    limits = found.limits
    now = {
        name: "" if value is None else value.plain
        for name, value in (
            ("per_job", limits.per_job),
            ("per_day", limits.per_day),
            ("warn_below", limits.warn_below),
        )
    }
    values: dict[str, Any] = {"account": found, "given": now if given is None else given, "saved": saved}
    return account_page(request, services, visitor, "limits.html", fault, **values)


@router.get("/account/limits")
def limits(request: Request, services: ServicesDep, visitor: Reading, saved: bool = False) -> Response:
    """What the service signs without asking, and when it warns."""
    return _limits_page(request, services, visitor, saved=saved)


@router.post("/account/limits")
def set_limits(request: Request, services: ServicesDep, visitor: Sending, form: Form) -> Response:
    """Other limits, for orders from now on."""
    identity = visitor.identity.require("manage")
    try:
        body = wire.Limits(
            per_job=_dollars(form, "per_job"),
            per_day=_dollars(form, "per_day"),
            warn_below=_dollars(form, "warn_below") or Money(0),
        )
        require_managed(services).spending.set(identity, body)
    except PrixfixeError as error:
        return _limits_page(request, services, visitor, error, form)
    return gone_to("/account/limits?saved=yes")


def _dollars(form: dict[str, str], name: str) -> Money | None:
    """An amount as people write it, to the last unit; None for an empty field."""
    text = form.get(name, "").strip()
    return Money.parse(text) if text else None


def _withdrawals_page(
    request: Request,
    services: Services,
    visitor: Session,
    fault: PrixfixeError | None = None,
    given: dict[str, str] | None = None,
    cursor: str | None = None,
) -> Response:
    managed = require_managed(services)
    past, following = managed.withdrawals.page(visitor.identity, cursor, _PAGE)
    address, now = managed.withdrawals.address_now(visitor.identity)
    values: dict[str, Any] = {
        "balance": managed.balances.of(visitor.identity),
        "address": address,
        "remaining": None if address.next_at is None else max(address.next_at - now, 0),
        "delay": managed.withdrawals.delay,
        "withdrawals": past,
        "cursor": cursor,
        "next": following,
        "given": given or {},
    }
    return account_page(request, services, visitor, "withdrawals.html", fault, **values)


@router.get("/account/withdrawals")
def withdrawals(request: Request, services: ServicesDep, visitor: Reading, cursor: Cursor = None) -> Response:
    """Where money may leave to, what left, and what brings it there without the operator."""
    return _withdrawals_page(request, services, visitor, cursor=cursor)


@router.post("/account/withdrawals")
def withdraw(request: Request, services: ServicesDep, visitor: Sending, form: Form) -> Response:
    """Send money to the fixed address, once it was said twice; the same form sent again is the same
    withdrawal."""
    identity = visitor.identity.require("manage")
    managed = require_managed(services)
    try:
        amount = _dollars(form, "amount")
        if amount is None:
            raise InvalidInput("amount: how much is to leave", code="invalid-request")
        if "sure" not in form:
            to, _ = managed.withdrawals.allowed(identity, amount)
            values: dict[str, Any] = {"amount": amount, "to": to, "key": secrets.token_hex(16)}
            return account_page(request, services, visitor, "withdraw_sure.html", **values)
        answer = gone_to("/account/withdrawals")
        count_account(services, "withdrawals", identity.address, answer)
        managed.withdrawals.withdraw(identity, amount, _key(form))
    except PrixfixeError as error:
        return _withdrawals_page(request, services, visitor, error, form)
    return answer


def _key(form: dict[str, str]) -> str:
    """Of this very form, so that sending it twice takes money once."""
    key = form.get("key", "")
    if not _KEY.fullmatch(key):
        raise InvalidInput("key: the form is not whole; open the page anew", code="invalid-request")
    return key


@router.post("/account/withdrawal-address")
def fix_address(request: Request, services: ServicesDep, visitor: Sending, form: Form) -> Response:
    """Where money may leave to, once it was said twice."""
    identity = visitor.identity.require("manage")
    managed = require_managed(services)
    try:
        body = parsed(wire.NewWithdrawalAddress, form, "address")
        if "sure" not in form:
            delay = managed.withdrawals.delay
            return account_page(request, services, visitor, "address_sure.html", to=body.address, delay=delay)
        managed.withdrawals.fix(identity, body.address)
    except PrixfixeError as error:
        return _withdrawals_page(request, services, visitor, error, form)
    return gone_to("/account/withdrawals")
