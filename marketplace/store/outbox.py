"""The outbox: what the service wants done on the chain, written in the transaction that decides it.

The relayer sends the rows in the order of their ids. A row names its deal or lot and holds what cannot be
read elsewhere; what may change until it is sent (a deal's `due`) is read from the tables when it is.
`purpose` says the wish: `match:<job>:<lot>:<n>`, `clear:<batch>:<part>:<n>`, and `settle`, `expire`,
`hasten`, `challenge` with `:<deal>:<opening>:<n>`, and for managed accounts `deposit:<invoice>:<n>` and
`withdraw:<id>:<n>`, where n counts the rows of that wish, of which at most one is pending or sent."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, Select, Text, bindparam, cast, func, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.store import states
from marketplace.store.database import notify, tell
from marketplace.store.listed import among
from marketplace.store.many import execute_each
from marketplace.store.moves import move, move_each
from marketplace.store.tables import cursor, deals, lots, transactions
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.orders import Withdraw
from prixfixe.protocol.typed_data import format_bytes32

Call: TypeAlias = Literal["match", "clear", "settle", "expire", "hasten", "challenge", "deposit", "withdraw"]

IN_FLIGHT = ("pending", "sent")
# Why a deposit failed whose authorisation the token had taken; the owner's address is among the arguments.
DEPOSITED: Final = "deposited-already"
# Made once: making a statement takes longer than running it. A range instead of LIKE uses the unique index on
# every database.
_LAST: Final = (
    transactions.c.id
    == select(func.max(transactions.c.id))
    .where(transactions.c.purpose >= bindparam("first"), transactions.c.purpose < bindparam("after"))
    .scalar_subquery()
)
_NAMED: Final = among(transactions.c.purpose, "purposes")
_HEAD: Final = select(
    *(transactions.c[name] for name in ("id", "purpose", "state", "hash", "block", "updated_at"))
)
_CONTENT: Final = select(transactions.c.purpose, cast(transactions.c.arguments, Text).label("arguments"))
_HEADS: Final = (_HEAD.where(_NAMED), _HEAD.where(_LAST))
_CONTENTS: Final = (_CONTENT.where(_NAMED), _CONTENT.where(_LAST))
_JOBS_OF: Final = select(deals.c.id, deals.c.opening, deals.c.job).where(among(deals.c.id, "deals"))
_LEAVING: Final = select(
    *(transactions.c[name] for name in ("id", "hashes", "call", "arguments", "sends"))
).where(among(transactions.c.id, "rows"))
_INSERT: Final = insert(transactions)
_MATCHING: Final = select(lots.c.job, lots.c.lot).where(lots.c.state == "matching")
_READ: Final = select(cursor.c.block).limit(1)
_ENDS: Final = ("settle", "expire", "hasten")  # of what is in the tables once it is read: a deal's state


def queue_matches(connection: Connection, wishes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A `match` of each of several lots: `{"job", "lot", "asks"}`, each ask `{"worker", "ask", "signature"}`.
    Those that were put in: of the others one is under way."""
    return _queue_each(
        connection, "match", [(_lot_subject(each["job"], each["lot"]), each) for each in wishes]
    )


def queue_clear(connection: Connection, batch: str, part: int, wish: dict[str, Any]) -> bool:
    """A `clear` of (a part of) a batch: `{"batch", "price", "fills": [{"job", "lot", "asks"}]}`; False when
    one is under way."""
    return _queue(connection, "clear", f"{batch}:{part}", wish)


def queue_settles(connection: Connection, wishes: Sequence[dict[str, Any]]) -> bool:
    """A `settle` of each of several open deals: `{"deal", "opening", "root", "done", "signatures"}`, one
    signature a leg, in the legs' order. Whether any was put in: of the others one is under way."""
    return bool(
        _queue_each(connection, "settle", [(f"{each['deal']}:{each['opening']}", each) for each in wishes])
    )


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


def queue_deposit(connection: Connection, invoice: str, account: str, amount: int) -> bool:
    """A deposit of the operator's money for an account; False when one for this invoice is under way. Its
    authorisation at the token is the invoice's, so that the chain takes it once, however often it is
    sent."""
    salt = "0x" + hashlib.sha256(f"top-up {invoice}".encode()).hexdigest()
    return _queue(connection, "deposit", invoice, {"account": account, "amount": amount, "salt": salt})


def queue_withdraw(connection: Connection, withdrawal: str, order: Withdraw, signature: bytes) -> bool:
    """A signed withdrawal of a managed account; False when it is under way."""
    wish = {"account": order.account, "order": order.to_json(), "signature": "0x" + signature.hex()}
    return _queue(connection, "withdraw", withdrawal, wish)


def deposited_before(connection: Connection, failed: Iterable[RowMapping]) -> dict[str, str]:
    """By purpose, of deposits that failed because the token had taken their authorisation: whose it was."""
    of = transactions.c.purpose.in_([row["purpose"] for row in failed])
    rows = connection.execute(select(transactions.c.purpose, transactions.c.error).where(of)).all()
    return {
        row.purpose: row.error["arguments"]["owner"] for row in rows if row.error.get("code") == DEPOSITED
    }


def last_withdraw(connection: Connection, withdrawal: str) -> RowMapping | None:
    """The newest row of a withdrawal, whatever its state."""
    return _last(connection, "withdraw", withdrawal)


def job_of(connection: Connection, deal: str, opening: int) -> str | None:
    """The job that a deal belongs to."""
    job = select(deals.c.job).where(deals.c.id == deal, deals.c.opening == opening)
    return connection.execute(job).scalar_one_or_none()


def block_read(connection: Connection) -> int:
    """The last block whose events are in the tables."""
    return connection.execute(_READ).scalar_one_or_none() or 0


def is_under_way(last: RowMapping | None, read: int) -> bool:
    """Whether the newest row of a deal's wish is pending or sent, or mined and what it did not in the tables
    yet: that takes as many blocks as the indexer wants on top. read: `block_read`."""
    if last is None:
        return False
    return last["block"] > read if last["state"] == "confirmed" else last["state"] in IN_FLIGHT


def astray(connection: Connection) -> list[int]:
    """Rows of matches whose block, as they say, was read, and whose lot still waits for its deal: the chain
    took that block back before it was read, and has them in another one, perhaps with another end."""
    waiting = [_lot_subject(row.job, row.lot) for row in connection.execute(_MATCHING)]
    if not waiting:
        return []
    read = block_read(connection)
    found = newest(connection, "match", waiting).values()
    return [row["id"] for row in found if row["state"] == "confirmed" and row["block"] <= read]


def last_matches(connection: Connection, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The arguments, as JSON, of the newest `match` of each of these lots (job and index), whatever its
    state; none for a lot that never had one."""
    subjects = {_lot_subject(*lot): lot for lot in wanted}
    found = _newest(connection, "match", subjects, _CONTENTS)
    return {subjects[subject]: row["arguments"] for subject, row in found.items()}


def newest(connection: Connection, call: Call, subjects: Iterable[str]) -> dict[str, RowMapping]:
    """By subject, the newest row of its wish, of those that have one: `id`, `purpose`, `state`,
    `hash`, `block` and `updated_at`."""
    return _newest(connection, call, subjects, _HEADS)


def _newest(
    connection: Connection, call: Call, subjects: Iterable[str], how: tuple[Select[Any], Select[Any]]
) -> dict[str, RowMapping]:
    """A wish's rows are counted from 1, and nearly all have one at most: only of those that have a second is
    more than that asked. how: what is read of those that are named, and of the last of one wish."""
    named, of_many = how
    prefixes = {f"{call}:{subject}": subject for subject in subjects}
    found: dict[str, RowMapping] = {}
    purposes = [f"{prefix}:{number}" for prefix in prefixes for number in (1, 2)]
    for row in connection.execute(named, {"purposes": purposes}).mappings().all():
        prefix, _, number = row["purpose"].rpartition(":")
        if number == "2":
            # ';' follows ':' in ASCII.
            last = connection.execute(of_many, {"first": prefix + ":", "after": prefix + ";"})
            found[prefixes[prefix]] = last.mappings().one()
        else:
            found.setdefault(prefixes[prefix], row)
    return found


def last_of(connection: Connection, call: Call, deal: str, opening: int) -> RowMapping | None:
    """The newest row of a deal's wish, whatever its state."""
    return _last(connection, call, f"{deal}:{opening}")


def transactions_sent(
    connection: Connection, rows: Sequence[int], *, nonce: int, transaction_hash: str
) -> None:
    """pending or sent -> sent, of all rows that leave as one. Stored before the bytes leave, so that no crash
    can hide a hash."""
    found = connection.execute(_LEAVING, {"rows": list(rows)}).all()
    for row, named in zip(found, _named(connection, [row.arguments for row in found]), strict=True):
        tell(connection, f"{row.call} sent", transaction=transaction_hash, **named)
    values = [
        {
            "nonce": nonce,
            "hash": transaction_hash,
            "hashes": row.hashes if transaction_hash in row.hashes else [*row.hashes, transaction_hash],
            "sends": row.sends + 1,
        }
        for row in found
    ]
    _move_each(connection, states.TRANSACTION_SENT, [row.id for row in found], values)


def transaction_not_raised(connection: Connection, row: int, transaction_hash: str, why: str) -> None:
    """sent -> sent: the node did not take it with higher fees; what it took before, of this hash, counts
    on."""
    _move(connection, states.TRANSACTION_SENT, row, hash=transaction_hash, error={"message": why})


def transaction_dropped(connection: Connection, row: int, why: str) -> None:
    """sent -> pending: the pool lost it and its nonce went to another. Its hashes stay known."""
    _move(connection, states.TRANSACTION_DROPPED, row, nonce=None, hash=None, error={"message": why})
    notify(connection, "transactions")


def transactions_confirmed(
    connection: Connection, rows: Sequence[int], *, transaction_hash: str, block: int, gas_used: Sequence[int]
) -> None:
    """sent -> confirmed, of rows that one transaction carried out. gas_used: of each, its share."""
    values = [
        {"hash": transaction_hash, "block": block, "gas_used": share, "error": None} for share in gas_used
    ]
    _move_each(connection, states.TRANSACTION_CONFIRMED, rows, values)


def transaction_revived(connection: Connection, row: int) -> None:
    """confirmed -> sent: the chain took its block back. All its hashes are still known."""
    _move(connection, states.TRANSACTION_REVIVED, row, block=None, gas_used=None)


def transaction_failed(
    connection: Connection, row: int, error: dict[str, Any], *, block: int | None = None
) -> None:
    """pending or sent -> failed, with the decoded reason (`{"revert", "message", "arguments"}`)."""
    _move(connection, states.TRANSACTION_FAILED, row, error=error, block=block)


def _queue(connection: Connection, call: Call, subject: str, arguments: dict[str, Any]) -> bool:
    return bool(_queue_each(connection, call, [(subject, arguments)]))


def _queue_each(
    connection: Connection, call: Call, wishes: Sequence[tuple[str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Put in a row of each subject and its arguments, unless one is under way; the arguments put in."""
    if not wishes:
        return []
    known = newest(connection, call, [subject for subject, _ in wishes])
    now = time.time()
    mined = call in _ENDS and any(last["state"] == "confirmed" for last in known.values())
    read = block_read(connection) if mined else sys.maxsize
    rows, put_in = [], []
    for subject, arguments in wishes:
        last = known.get(subject)
        if is_under_way(last, read):
            continue
        number = 1 if last is None else int(last["purpose"].rpartition(":")[2]) + 1
        put_in.append(arguments)
        rows.append(
            {
                "purpose": f"{call}:{subject}:{number}",
                "call": call,
                "arguments": arguments,
                "state": "pending",
                "hashes": [],
                "sends": 0,
                "created_at": now,
                "updated_at": now,
            }
        )
    if not rows:
        return []
    execute_each(connection, _INSERT, rows)
    notify(connection, "transactions")
    for named in _named(connection, put_in):
        tell(connection, f"{call} goes to the relayer", **named)
    return put_in


def _named(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each row's arguments the ids of what it is about, for the log."""
    ids = [each["deal"] for each in rows if "deal" in each]
    found = connection.execute(_JOBS_OF, {"deals": ids}) if ids else ()
    known = {(row.id, row.opening): row.job for row in found}
    named: list[dict[str, Any]] = []
    for each in rows:
        if "fills" in each:
            named.append({"batch": each["batch"], "jobs": sorted({fill["job"] for fill in each["fills"]})})
        elif "account" in each:
            named.append({"account": each["account"]})
        elif "deal" in each:
            named.append({"job": known.get((each["deal"], each["opening"])), "deal": each["deal"]})
        else:
            named.append({"job": each["job"], "lot": each["lot"]})
    return named


def _lot_subject(job: str, lot: int) -> str:
    return f"{job}:{lot}"


def _last(connection: Connection, call: Call, subject: str) -> RowMapping | None:
    return newest(connection, call, [subject]).get(subject)


def _move(connection: Connection, how: states.Transition, row: int, **values: Any) -> None:
    move(connection, how, {"id": row}, updated_at=time.time(), **values)


def _move_each(
    connection: Connection, how: states.Transition, rows: Sequence[int], values: Sequence[dict[str, Any]]
) -> None:
    now = {"updated_at": time.time()}
    move_each(connection, how, [{"id": row} for row in rows], [now | each for each in values])
