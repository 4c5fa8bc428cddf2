"""What a failed transaction means for who waits for it."""

from __future__ import annotations

import time
from typing import Any, Final

from sqlalchemy import Connection, delete, select
from sqlalchemy.engine import RowMapping

from marketplace.store import outbox, pauses, states, transitions
from marketplace.store.tables import asks, jobs, lots
from prixfixe.errors import ChainError, Conflict
from prixfixe.protocol.wire import Reason

# Nothing that this market does can make these matches pass later: the order itself is refused.
_ORDER_IS_DEAD: Final = {
    "MarketBundleNotLive": ("bundle-ended", "the bundle ended before a worker was found"),
    "MarketBundleMismatch": ("order-refused", "the order names another bundle"),
    "MarketPrice": ("price-changed", "the order names another price than the bundle's"),
    "MarketLotRange": ("order-refused", "the order has no such lot"),
}
# The ask that was chosen does not hold any more: it is forgotten until its worker renews it.
_ASK_IS_DEAD: Final = frozenset(
    {
        "MarketAskKinds",
        "MarketAskProduct",
        "MarketAskCustomer",
        "MarketAskMatcher",
        "MarketAskFree",
        "MarketAskSlots",
        "MarketSelfDeal",
        "MarketSuretyMissing",
        "MarketCost",
    }
)
_FIRST_BACK_OFF_SECONDS: Final = 0.5
_LAST_BACK_OFF_SECONDS: Final = 30.0


def match_failed(connection: Connection, row: RowMapping, error: ChainError) -> None:
    """The lot is free again, later and with the reason, or over when the order itself is refused."""
    job, lot = row["arguments"]["job"], row["arguments"]["lot"]
    found = connection.execute(
        select(lots.c.state, jobs.c.customer)
        .join(jobs, jobs.c.id == lots.c.job)
        .where(lots.c.job == job, lots.c.lot == lot)
    ).one()
    if found.state != "matching":
        return
    number = int(row["purpose"].rpartition(":")[2])
    transitions.lot_unmatched(connection, job, lot, _why(error), time.time() + _back_off(number))
    ended = _order_is_dead(error, found.customer)
    if ended is not None:
        transitions.lot_ended(connection, job, lot, ended, states.LOT_GIVEN_UP)
    elif _ask_is_dead(error, found.customer):
        for leg in row["arguments"]["asks"]:
            connection.execute(
                delete(asks).where(asks.c.worker == leg["worker"], asks.c.signature == leg["signature"])
            )
            pauses.worker_cooled(connection, leg["worker"])


def clear_failed(connection: Connection, row: RowMapping, error: ChainError) -> None:
    """All its lots are free again, later and with the reason."""
    number = int(row["purpose"].rpartition(":")[2])
    for fill in row["arguments"]["fills"]:
        try:
            with connection.begin_nested():
                transitions.lot_unmatched(
                    connection, fill["job"], fill["lot"], _why(error), time.time() + _back_off(number)
                )
        except Conflict:
            continue  # ended, or opened by another's hand


def settle_failed(connection: Connection, row: RowMapping, error: ChainError) -> None:
    """Said to the customer; the reaper sends it anew while that makes sense, or the deal expires."""
    deal = row["arguments"]["deal"]
    job = outbox.job_of(connection, deal, row["arguments"]["opening"])
    if job is not None:
        transitions.stage_said(connection, job, f"settling: {_why(error)}")


def _back_off(number: int) -> float:
    """Seconds before the next try after the n-th failure."""
    return min(_FIRST_BACK_OFF_SECONDS * 2.0 ** min(number - 1, 10), _LAST_BACK_OFF_SECONDS)


def error_json(error: ChainError) -> dict[str, Any]:
    """What the outbox keeps of a failure."""
    return {"message": str(error), "revert": error.revert, "arguments": error.arguments, "code": error.code}


def _order_is_dead(error: ChainError, customer: str) -> Reason | None:
    known = _ORDER_IS_DEAD.get(error.revert or "")
    if known is not None:
        return Reason(code=known[0], message=known[1], hint="ask for a new quote", fault="none")
    if error.revert == "MarketEra" and error.arguments.get("account") == customer:
        message = "the customer ended all orders of that time (bump)"
        return Reason(code="order-ended", message=message, hint="order again", fault="customer")
    if error.revert == "MarketSignature" and error.arguments.get("expected") == customer:
        message = "the contract does not accept the order's signature"
        return Reason(code="bad-signature", message=message, hint="sign the order anew", fault="customer")
    return None


def _ask_is_dead(error: ChainError, customer: str) -> bool:
    if error.revert in _ASK_IS_DEAD:
        return True
    if error.revert == "MarketEra":
        return error.arguments.get("account") != customer
    return error.revert == "MarketSignature" and error.arguments.get("expected") != customer


def _why(error: ChainError) -> str:
    """The decoded reason without the name of the call before it."""
    text = str(error)
    return text.partition(": ")[2] or text
