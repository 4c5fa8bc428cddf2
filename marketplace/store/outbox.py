"""The outbox: what the service wants done on the chain, written in the transaction that decides it.

The relayer sends the rows in the order of their ids. A row names its deal or lot and holds what cannot be
read elsewhere; what may change until it is sent (a deal's `due`) is read from the tables when it is.
`purpose` says the wish: `match:<job>:<lot>:<n>`, `clear:<batch>:<part>:<n>`, and `settle`, `expire`,
`hasten`, `challenge` with `:<deal>:<opening>:<n>`, where n counts the rows of that wish, of which at most
one is pending or sent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.store import states
from marketplace.store.database import notify, tell
from marketplace.store.moves import move
from marketplace.store.tables import deals, transactions
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.typed_data import format_bytes32

Call: TypeAlias = Literal["match", "clear", "settle", "expire", "hasten", "challenge"]

IN_FLIGHT = ("pending", "sent")


def queue_match(connection: Connection, job: str, lot: int, asks: Sequence[dict[str, Any]]) -> bool:
    """A `match` of a lot with signed asks (`{"worker", "ask", "signature"}`); False when one is under way."""
    return _queue(connection, "match", f"{job}:{lot}", {"job": job, "lot": lot, "asks": list(asks)})


def queue_clear(connection: Connection, batch: str, part: int, wish: dict[str, Any]) -> bool:
    """A `clear` of (a part of) a batch: `{"batch", "price", "fills": [{"job", "lot", "asks"}]}`; False when
    one is under way."""
    return _queue(connection, "clear", f"{batch}:{part}", wish)


def queue_settle(
    connection: Connection, deal: str, opening: int, *, root: str, done: int, signatures: Sequence[str]
) -> bool:
    """A `settle` of an open deal with one signature a leg, in the legs' order; False when one is under
    way."""
    result = {"deal": deal, "opening": opening, "root": root, "done": done, "signatures": list(signatures)}
    return _queue(connection, "settle", f"{deal}:{opening}", result)


def queue_expire(connection: Connection, deal: str, opening: int) -> bool:
    """An `expire` of an open deal whose deadline has passed; False when one is under way."""
    return _queue(connection, "expire", f"{deal}:{opening}", {"deal": deal, "opening": opening})


def queue_hasten(connection: Connection, deal: str, opening: int) -> bool:
    """A `hasten` of an open deal whose worker is silent; False when one is under way."""
    return _queue(connection, "hasten", f"{deal}:{opening}", {"deal": deal, "opening": opening})


def queue_challenge(
    connection: Connection, deal: str, opening: int, claim: Claim, proof: Sequence[bytes]
) -> bool:
    """A `challenge` of a settled deal, with the operator's bond; False when one is under way."""
    wish = {"claim": claim.to_json(), "proof": [format_bytes32(each) for each in proof]}
    return _queue(connection, "challenge", f"{deal}:{opening}", {"deal": deal, "opening": opening} | wish)


def job_of(connection: Connection, deal: str, opening: int) -> str | None:
    """The job that a deal belongs to."""
    job = select(deals.c.job).where(deals.c.id == deal, deals.c.opening == opening)
    return connection.execute(job).scalar_one_or_none()


def is_under_way(connection: Connection, call: Call, deal: str, opening: int) -> bool:
    """Whether a deal's wish is pending or sent."""
    last = last_of(connection, call, deal, opening)
    return last is not None and last["state"] in IN_FLIGHT


def deals_under_way(connection: Connection, call: Call) -> set[tuple[str, int]]:
    """The deals, by id and opening, of which such a wish is pending or sent."""
    query = select(transactions.c.purpose).where(
        transactions.c.call == call, transactions.c.state.in_(IN_FLIGHT)
    )
    wishes = (purpose.split(":") for purpose in connection.execute(query).scalars())
    return {(deal, int(opening)) for _, deal, opening, _ in wishes}


def last_match(connection: Connection, job: str, lot: int) -> RowMapping | None:
    """The newest `match` of a lot, whatever its state."""
    return _last(connection, f"match:{job}:{lot}")


def last_of(connection: Connection, call: Call, deal: str, opening: int) -> RowMapping | None:
    """The newest row of a deal's wish, whatever its state."""
    return _last(connection, f"{call}:{deal}:{opening}")


def transactions_sent(
    connection: Connection, rows: Sequence[int], *, nonce: int, transaction_hash: str
) -> None:
    """pending or sent -> sent, of all rows that leave as one. Stored before the bytes leave, so that no crash
    can hide a hash."""
    columns = (transactions.c.id, transactions.c.hashes, transactions.c.call, transactions.c.arguments)
    found = connection.execute(select(*columns).where(transactions.c.id.in_(rows)))
    for row, known, call, arguments in found.all():
        tell(connection, f"{call} sent", transaction=transaction_hash, **_named(connection, arguments))
        _move(
            connection,
            states.TRANSACTION_SENT,
            row,
            nonce=nonce,
            hash=transaction_hash,
            hashes=known if transaction_hash in known else [*known, transaction_hash],
            sends=transactions.c.sends + 1,
        )


def transaction_not_raised(connection: Connection, row: int, transaction_hash: str, why: str) -> None:
    """sent -> sent: the node did not take it with higher fees; what it took before, of this hash, counts
    on."""
    _move(connection, states.TRANSACTION_SENT, row, hash=transaction_hash, error={"message": why})


def transaction_dropped(connection: Connection, row: int, why: str) -> None:
    """sent -> pending: the pool lost it and its nonce went to another. Its hashes stay known."""
    _move(connection, states.TRANSACTION_DROPPED, row, nonce=None, hash=None, error={"message": why})
    notify(connection, "transactions")


def transaction_confirmed(
    connection: Connection, row: int, *, transaction_hash: str, block: int, gas_used: int
) -> None:
    """sent -> confirmed. gas_used: its share of the transaction's."""
    _move(
        connection,
        states.TRANSACTION_CONFIRMED,
        row,
        hash=transaction_hash,
        block=block,
        gas_used=gas_used,
        error=None,
    )


def transaction_revived(connection: Connection, row: int) -> None:
    """confirmed -> sent: the chain took its block back. All its hashes are still known."""
    _move(connection, states.TRANSACTION_REVIVED, row, block=None, gas_used=None)


def transaction_failed(
    connection: Connection, row: int, error: dict[str, Any], *, block: int | None = None
) -> None:
    """pending or sent -> failed, with the decoded reason (`{"revert", "message", "arguments"}`)."""
    _move(connection, states.TRANSACTION_FAILED, row, error=error, block=block)


def _queue(connection: Connection, call: Call, subject: str, arguments: dict[str, Any]) -> bool:
    last = _last(connection, f"{call}:{subject}")
    if last is not None and last["state"] in IN_FLIGHT:
        return False
    number = 1 if last is None else int(last["purpose"].rpartition(":")[2]) + 1
    now = time.time()
    connection.execute(
        insert(transactions).values(
            purpose=f"{call}:{subject}:{number}",
            call=call,
            arguments=arguments,
            state="pending",
            hashes=[],
            sends=0,
            created_at=now,
            updated_at=now,
        )
    )
    notify(connection, "transactions")
    tell(connection, f"{call} goes to the relayer", **_named(connection, arguments))
    return True


def _named(connection: Connection, arguments: dict[str, Any]) -> dict[str, Any]:
    """The ids of what a row is about, for the log."""
    if "fills" in arguments:
        return {"batch": arguments["batch"], "jobs": sorted({fill["job"] for fill in arguments["fills"]})}
    if "deal" in arguments:
        deal, opening = arguments["deal"], arguments["opening"]
        return {"job": job_of(connection, deal, opening), "deal": deal}
    return {"job": arguments["job"], "lot": arguments["lot"]}


def _last(connection: Connection, prefix: str) -> RowMapping | None:
    # A range instead of LIKE: it uses the unique index on every database. ';' follows ':' in ASCII.
    newest = (
        select(func.max(transactions.c.id))
        .where(transactions.c.purpose >= prefix + ":", transactions.c.purpose < prefix + ";")
        .scalar_subquery()
    )
    return (
        connection.execute(select(transactions).where(transactions.c.id == newest)).mappings().one_or_none()
    )


def _move(connection: Connection, how: states.Transition, row: int, **values: Any) -> None:
    move(connection, how, {"id": row}, updated_at=time.time(), **values)
