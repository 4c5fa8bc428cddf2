"""Certificates of jobs: the receipt, checked as anybody checks it, with what the application says of its own
result."""

from __future__ import annotations

import json
from typing import Any, Final

from marketplace.jobs import Jobs
from marketplace.receipts import Receipts, exact
from prixfixe.client.certificates import certificate_of
from prixfixe.client.verification import verify
from prixfixe.errors import InvalidInput, NotFound
from prixfixe.protocol.canonical import canonical_json, require_storable_json
from prixfixe.protocol.certificate import Certificate
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.wire import Market

MOST_TOTALS_BYTES: Final = 64 << 10  # of a file that a provider wrote


def certificate(market: Market, receipts: Receipts, jobs: Jobs, job: str, customer: str) -> Certificate:
    """Of a job that has ended; Conflict before, NotFound for a stranger's."""
    receipt = receipts.receipt(job, customer)
    found = verify(receipt, chain_id=market.chain_id, contract=market.contract, operator=market.operator)
    return certificate_of(receipt, found, _control_totals(receipt, jobs, customer))


def _control_totals(receipt: Receipt, jobs: Jobs, customer: str) -> dict[str, Any] | None:
    """Of a job of one task whose bundle names the file that has them."""
    name = ((receipt.definition or {}).get("proof") or {}).get("control_totals")
    if name is None or receipt.order.tasks != 1 or receipt.outcome != "settled":
        return None
    try:
        blob = jobs.output(receipt.job, name, customer).blob
    except NotFound:  # the application wrote none, or the time is over for which it is kept
        return None
    if blob.size > MOST_TOTALS_BYTES:
        return None
    return read_totals(blob.read())


def read_totals(content: bytes) -> dict[str, Any] | None:
    """The object in a small JSON file that a stranger wrote, a number with a fraction as its text, so that
    none of its digits changes. None for anything else."""
    try:
        require_storable_json(content)
        value = json.loads(content, parse_float=str, parse_constant=_refused)
        found: dict[str, Any] | None = exact(value) if isinstance(value, dict) else None
        canonical_json(found)
    except (InvalidInput, ValueError, RecursionError):
        return None
    return found


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number")
