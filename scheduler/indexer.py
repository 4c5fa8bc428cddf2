"""The indexer: reads the contract's events in the chain's order and lets each move the tables once.

Events and cursor move in one transaction. The cursor holds the hash of the last block read; when the chain
has another block there, it was re-organised: events of blocks that are gone are undone, newest first, and
reading goes on from the last block with an event that is still there. A tip that changes between two
questions is noticed by comparing hashes and read again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby, islice
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store import batches, disputes, openings, rewind
from marketplace.store import deals as deal_events
from marketplace.store.database import Store
from marketplace.store.listed import among
from marketplace.store.many import execute_each
from marketplace.store.settling import NO_SIGNATURE
from marketplace.store.tables import attempts, chain_events, cursor, deals
from marketplace.store.terms import terms_of
from prixfixe.chain import events
from prixfixe.chain.client import Block, MarketClient
from prixfixe.chain.events import LogPosition, MarketEvent
from prixfixe.chain.reverts import skipped
from prixfixe.errors import ConfigurationError, Unavailable
from prixfixe.protocol.deals import Deal, Fact, Offer
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.money import Money
from scheduler.calls import settlements_in
from scheduler.duty import Duty

log = logging.getLogger(__name__)

CURSOR: Final = "market"
_TOGETHER: Final = 500  # events, whose deals are held in memory at once
_Signed: TypeAlias = events.Settled | events.Refused
# Made once: making a statement takes longer than running it.
_STORED: Final = select(chain_events.c.block, chain_events.c.log_index).where(
    chain_events.c.block.between(bindparam("first"), bindparam("last"))
)
_STORE: Final = insert(chain_events)
_POSITION: Final = select(cursor).where(cursor.c.name == CURSOR)
_OPEN_DEALS: Final = select(deals.c.id, deals.c.deal, deals.c.opening).where(
    among(deals.c.id, "deals"), deals.c.state == "open"
)
_REPORTED: Final = select(
    *(attempts.c[name] for name in ("deal", "opening", "worker", "signature", "result"))
).where(among(attempts.c.deal, "deals"), attempts.c.signature.is_not(None))


@dataclass(frozen=True, slots=True)
class IndexerSettings:
    """start_block: of the deployment. poll_seconds: between looks at the head. chunk: most blocks asked for
    at once. confirmations: blocks on top of one before it is read (0 on a chain that is never re-
    organised). behind_seconds: how long one of several nodes may lack a block that was read."""

    start_block: int
    poll_seconds: float = 0.2
    chunk: int = 1000
    confirmations: int = 0
    behind_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Read:
    """An event with what has to be asked for beside it. signatures: of a settle, None when unknown."""

    event: MarketEvent
    time: int
    signatures: list[str] | None

    @property
    def where(self) -> dict[str, Any]:
        """`receipt.TransactionReference` as JSON."""
        at = self.event.at
        place = {"transaction": at.transaction_hash, "block": at.block_number, "log_index": at.log_index}
        return {**place, "time": self.time}


class Indexer(Duty):
    """Mirrors the contract into the tables."""

    name = "indexer"
    topics = ("head",)
    spacing_seconds = 0.05

    def __init__(self, store: Store, market: MarketClient, settings: IndexerSettings) -> None:
        super().__init__(store)
        self._market: Final = market
        self._settings: Final = settings
        self.head: Block | None = None
        self._behind_since: float | None = None  # by the monotonic clock
        self._settlements: tuple[str, dict[bytes, list[str]]] = ("", {})

    def run_once(self) -> float:
        position = self._position()
        head, same = self._look(position)
        self.head = head
        if not same:
            position = self._go_back(position)
        last = self._last(head.number)
        while position[0] < last and not self.should_stop():
            position = self._read_on(position[0] + 1, min(last, position[0] + self._settings.chunk), head)
        return self._settings.poll_seconds

    def _last(self, head: int) -> int:
        """The last block that is read now."""
        return head - self._settings.confirmations

    def _position(self) -> tuple[int, str]:
        """(number, hash) of the last block read."""
        with self.store.read() as connection:
            row = connection.execute(_POSITION).one_or_none()
        if row is not None:
            return row.block, row.hash
        before = max(self._settings.start_block - 1, 0)
        block = self._market.block(before)
        with self.store.write() as connection:
            connection.execute(insert(cursor).values(name=CURSOR, block=block.number, hash=block.hash))
        return block.number, block.hash

    def _look(self, position: tuple[int, str]) -> tuple[Block, bool]:
        """The head, and whether the block of the cursor is still on the chain, in one exchange."""
        latest, ours = self._market.rpc.batch(
            [
                ("eth_getBlockByNumber", ["latest", False]),
                ("eth_getBlockByNumber", [hex(position[0]), False]),
            ]
        )
        if latest is None:
            raise Unavailable("the chain has no latest block", code="chain-unavailable")
        head = _block(latest)
        self._require_caught_up(head, position[0])
        return head, ours is not None and ours["hash"] == position[1]

    def _require_caught_up(self, head: Block, last: int) -> None:
        """Of several nodes one may take over that is a little behind: that is no re-organisation, unless it
        stays so."""
        if head.number >= last or not self._market.rpc.several:
            self._behind_since = None
            return
        now = time.monotonic()
        self._behind_since = now if self._behind_since is None else self._behind_since
        if now - self._behind_since < self._settings.behind_seconds:
            raise Unavailable(
                f"the chain's node is at block {head.number}, block {last} was read", code="chain-unavailable"
            )

    # --------------------------------------------------------------------------------------------- forwards

    def _read_on(self, first: int, last: int, head: Block) -> tuple[int, str]:
        found = self._market.events(first, last)
        numbers = sorted({event.at.block_number for event in found} | {last})
        blocks = {head.number: head}
        missing = [number for number in numbers if number not in blocks]
        answers = self._market.rpc.batch(
            [("eth_getBlockByNumber", [hex(number), False]) for number in missing]
        )
        for number, answer in zip(missing, answers, strict=True):
            if answer is None:
                raise Unavailable(f"the chain lost block {number} while it was read", code="chain-moved")
            blocks[number] = _block(answer)
        for event in found:
            if blocks[event.at.block_number].hash != event.at.block_hash:
                raise Unavailable(
                    f"block {event.at.block_number} changed while it was read", code="chain-moved"
                )
        signed = self._signatures([each for each in found if isinstance(each, _Signed)])
        read = [Read(each, blocks[each.at.block_number].time, signed.get(each.at)) for each in found]
        tip = blocks[last]
        with self.store.write() as connection:
            self._apply(connection, read)
            connection.execute(
                update(cursor).where(cursor.c.name == CURSOR).values(block=tip.number, hash=tip.hash)
            )
            if read:
                self.store.notify(connection, "chain")
        return tip.number, tip.hash

    def _apply(self, connection: Connection, read: Sequence[Read]) -> None:
        """Store events and do what they say, those of one kind that follow one another together. An event
        that is stored already did it."""
        if not read:
            return
        span = {"first": read[0].event.at.block_number, "last": read[-1].event.at.block_number}
        known = {(row.block, row.log_index) for row in connection.execute(_STORED, span)}
        new = [each for each in read if (each.event.at.block_number, each.event.at.log_index) not in known]
        for kind, group in groupby(new, lambda each: type(each.event)):
            while several := list(islice(group, _TOGETHER)):
                self._prepare(connection, several)
                before = _move(connection, kind, several)
                rows = [_row(each, undo) for each, undo in zip(several, before, strict=True)]
                execute_each(connection, _STORE, rows)

    def _prepare(self, connection: Connection, read: Sequence[Read]) -> None:
        """Called before what events of one kind say is done."""

    def _signatures(self, ended: Sequence[_Signed]) -> dict[LogPosition, list[str] | None]:
        """Who signed each settlement or refusal: as reported, else as its transaction carries it; None when
        unknown."""
        found: dict[LogPosition, list[str] | None] = {}
        for at in range(0, len(ended), _TOGETHER):
            found |= self._signatures_of(ended[at : at + _TOGETHER])
        return found

    def _signatures_of(self, ended: Sequence[_Signed]) -> dict[LogPosition, list[str] | None]:
        ids = [_hex(event.deal) for event in ended]
        with self.store.read() as connection:
            rows = {row["id"]: row for row in connection.execute(_OPEN_DEALS, {"deals": ids}).mappings()}
            reported: dict[tuple[str, int], list[Any]] = {}
            for each in connection.execute(_REPORTED, {"deals": ids}):
                reported.setdefault((each.deal, each.opening), []).append(each)
        found = {}
        for event in ended:
            row = rows.get(_hex(event.deal))  # None: opened in the same stretch of blocks, or not here
            own = (
                None
                if row is None
                else _as_reported(event, row, reported.get((row["id"], row["opening"]), ()))
            )
            found[event.at] = self._signatures_of_transaction(event) if own is None else own
        return found

    def _signatures_of_transaction(self, event: _Signed) -> list[str] | None:
        """As the transaction carries them, alone or among many; None when a contract of somebody's called."""
        transaction = event.at.transaction_hash
        if self._settlements[0] != transaction:
            found = self._market.rpc.call("eth_getTransactionByHash", transaction)
            data = bytes.fromhex(found["input"][2:]) if found is not None else b""
            # Many of one transaction follow one another.
            self._settlements = (transaction, settlements_in(data))
        return self._settlements[1].get(event.deal)

    # -------------------------------------------------------------------------------------------- backwards

    def _go_back(self, position: tuple[int, str]) -> tuple[int, str]:
        """Undo the events of blocks that are gone; the block from which to read on."""
        base = self._last_common_block()
        with self.store.write() as connection:
            gone = connection.execute(
                select(chain_events)
                .where(chain_events.c.block > base.number)
                .order_by(chain_events.c.block.desc(), chain_events.c.log_index.desc())
            ).mappings()
            undone = 0
            for row in gone.all():
                rewind.undo(connection, row["name"], row["data"])
                undone += 1
            connection.execute(delete(chain_events).where(chain_events.c.block > base.number))
            connection.execute(
                update(cursor).where(cursor.c.name == CURSOR).values(block=base.number, hash=base.hash)
            )
            self.store.notify(connection, "chain")
        log.warning(
            "the chain was re-organised: block %d is another one; %d events undone, reading on from block %d",
            position[0],
            undone,
            base.number,
        )
        return base.number, base.hash

    def _last_common_block(self) -> Block:
        """The newest block with a stored event that the chain still has; else the one before the start."""
        with self.store.read() as connection:
            stored = connection.execute(
                select(chain_events.c.block, chain_events.c.block_hash)
                .distinct()
                .order_by(chain_events.c.block.desc())
            ).all()
        for row in stored:
            answer = self._market.rpc.call("eth_getBlockByNumber", hex(row.block), False)
            if answer is not None and answer["hash"] == row.block_hash:
                return _block(answer)
        if stored:
            # The deployment's own events are among them, so this is no re-organisation but another chain.
            raise ConfigurationError(
                f"none of the {len(stored)} blocks that this service has read is on the chain at "
                f"{self._market.rpc.shown_url}: it is another chain, or one that lost its state",
                code="another-chain",
                hint="point the service at its own chain, or start it with an empty data folder",
            )
        return self._market.block(max(self._settings.start_block - 1, 0))


def _as_reported(event: _Signed, row: RowMapping, reported: Sequence[Any]) -> list[str] | None:
    """The signatures of the legs that signed, when their workers have reported them all. Of a refusal by
    several only its transaction says whose it carried."""
    legs = terms_of(row).legs
    if isinstance(event, events.Settled):
        root, signed = _hex(event.root), Fact.unpack(event.fact).signed
        by_key = {each.worker: each.signature for each in reported if each.result["root"] == root}
    elif len(legs) == 1:
        signed = 1
        by_key = {each.worker: each.signature for each in reported if each.result["done"] == 0}
    else:
        return None
    if not all(leg.key in by_key for at, leg in enumerate(legs) if signed >> at & 1):
        return None
    return [by_key[leg.key] if signed >> at & 1 else NO_SIGNATURE for at, leg in enumerate(legs)]


def _row(read: Read, before: int | None) -> dict[str, Any]:
    """Of an event, as it is stored. before: what is needed to undo it."""
    event, at = read.event, read.event.at
    return {
        "block": at.block_number,
        "log_index": at.log_index,
        "block_hash": at.block_hash,
        "transaction": at.transaction_hash,
        "time": read.time,
        "name": type(event).__name__,
        "data": _json(event) | ({} if before is None else {"before": before}),
    }


def _move(connection: Connection, kind: type[MarketEvent], read: Sequence[Read]) -> Sequence[int | None]:
    """What events of one kind do to the tables. Gives of each what is needed to undo it, when that is not
    known otherwise."""
    if kind is events.DealOpened:
        openings.deals_opened(
            connection,
            [
                openings.Opened(each.event.data, each.event.due, each.where)
                for each in read
                if isinstance(each.event, events.DealOpened)
            ],
        )
    elif kind is events.Settled:
        deal_events.deals_settled(
            connection,
            [
                deal_events.Settled(
                    _hex(each.event.deal),
                    root=_hex(each.event.root),
                    done=each.event.done,
                    paid=each.event.paid.units,
                    returned=each.event.returned.units,
                    fact=each.event.fact,
                    signatures=each.signatures,
                    where=each.where,
                )
                for each in read
                if isinstance(each.event, events.Settled)
            ],
        )
    else:
        return [_move_one(connection, each.event, each.where, each.signatures) for each in read]
    return [None] * len(read)


def _move_one(
    connection: Connection, event: MarketEvent, where: dict[str, Any], signatures: list[str] | None
) -> int | None:
    """What an event does that needs nobody beside it."""
    match event:
        case events.Cleared():
            batches.batch_cleared(connection, _hex(event.batch), where)
        case events.Skipped():
            batches.lot_skipped(connection, event.index, skipped(event.code), where)
        case events.Hastened():
            return deal_events.deal_hastened(connection, _hex(event.deal), event.due)
        case events.Refused():
            deal_events.deal_refused(
                connection,
                _hex(event.deal),
                returned=event.returned.units,
                signatures=signatures,
                where=where,
            )
        case events.Expired():
            deal_events.deal_expired(connection, _hex(event.deal), returned=event.returned.units, where=where)
        case events.Challenged():
            disputes.case_opened(
                connection,
                _hex(event.deal),
                challenger=event.challenger,
                claim=event.claim,
                until=event.until,
                bond=event.bond.units,
                fees=[fee.units for fee in event.fees],
                where=where,
            )
        case events.Judged():
            disputes.case_judged(
                connection,
                _hex(event.deal),
                guilty=event.guilty,
                fee=event.fee.units,
                fact=event.fact,
                where=where,
            )
        case events.Lapsed():
            disputes.case_lapsed(connection, _hex(event.deal), fact=event.fact, where=where)
        case events.Cancelled():
            deal_events.lot_cancelled(connection, _hex(event.order), event.lot)
        case events.Bumped():
            deal_events.account_bumped(connection, event.account, event.era)
        case events.Authorised():
            deal_events.key_authorised(connection, event.provider, event.key, event.until)
        case events.Published() | events.Retired():
            return deal_events.offer_until(connection, _hex(event.id), event.until)
        case _:
            pass
    return None


def _json(event: MarketEvent) -> dict[str, Any]:
    """An event's own values as JSON: ids as 0x-hex, money as digits."""
    return {field.name: _value(getattr(event, field.name)) for field in fields(event) if field.name != "at"}


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return _hex(value)
    if isinstance(value, Money):
        return str(value.units)
    if isinstance(value, Deal | Offer | Claim):
        return value.to_json()
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    return value if not isinstance(value, int) or abs(value) < 2**53 else str(value)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _block(answer: Mapping[str, Any]) -> Block:
    return Block(
        int(answer["number"], 16), answer["hash"], answer["parentHash"], int(answer["timestamp"], 16)
    )
