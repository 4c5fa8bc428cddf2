"""The page of a managed account's statement: a period is chosen, and taken away as a file."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query, Request
from starlette.responses import Response

from marketplace.api.access import ServicesDep
from marketplace.api.managed import require_managed
from marketplace.api.purse import MOST_SECONDS
from marketplace.api.visitors import Reading, account_page, account_router
from prixfixe.errors import InvalidInput, PrixfixeError

router = account_router()

_SHOWN: Final = 100
_DAY: Final = 86_400

Day = Annotated[str, Query(max_length=20)]


@router.get("/account/statement")
def statement(
    request: Request, services: ServicesDep, visitor: Reading, first: Day = "", last: Day = ""
) -> Response:
    """Opening and closing balance of a period, its newest movements, and all of them as files."""
    values: dict[str, Any] = {"first": first, "last": last, "found": None}
    try:
        since, until = _midnight(first), _midnight(last)
        until = None if until is None else until + _DAY - 1
        if since is not None and until is not None and until < since:
            raise InvalidInput(f"{last} is before {first}", code="invalid-request")
        found = require_managed(services).statements.statement(visitor.identity, since or 0, until)
    except PrixfixeError as error:
        return account_page(request, services, visitor, "statement.html", error, **values)
    given = {"since": since, "until": until}
    query = urlencode({name: value for name, value in given.items() if value is not None})
    values |= {"found": found, "lines": found.lines[: -_SHOWN - 1 : -1], "query": query}
    return account_page(request, services, visitor, "statement.html", **values)


def _midnight(day: str) -> int | None:
    """The first second of a day in UTC; None for no day."""
    if not day:
        return None
    try:
        seconds = int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp())
    except ValueError as error:
        raise InvalidInput(
            f"{day!r} is no day", code="invalid-request", hint="write it as 2026-11-22"
        ) from error
    if not 0 <= seconds < MOST_SECONDS - _DAY:
        raise InvalidInput(f"{day} is no day of a chain", code="invalid-request")
    return seconds
