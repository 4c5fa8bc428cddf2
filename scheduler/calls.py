"""From an outbox row to the call of the contract, with what the tables say now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.store.listed import among
from marketplace.store.settling import NO_SIGNATURE
from marketplace.store.tables import deals, jobs, lots, offers
from marketplace.store.terms import parsed
from marketplace.store.transitions import lots_of
from prixfixe.chain import artefacts
from prixfixe.errors import InvalidInput
from prixfixe.protocol.deals import Deal, Due, Leg, Offer
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.orders import Ask, Bid, Order, SignedAsk, Withdraw, order_from_json
from prixfixe.protocol.signatures import parse_signature
from prixfixe.protocol.typed_data import parse_bytes32

# Calls of which the contract takes many at once, and by what name.
MANY: Final = {"match": "matchMany", "settle": "settleMany", "expire": "expireMany"}
_ENDS: Final = ("settle", "expire", "hasten")
# Made once: making a statement takes longer than running it.
_ORDERS: Final = (
    select(jobs.c.id, jobs.c.order, jobs.c.signature, offers.c.offer)
    .join(offers, offers.c.offer_id == jobs.c.offer_id, isouter=True)
    .where(among(jobs.c.id, "jobs"))
)
_DEALS: Final = select(deals.c.id, deals.c.opening, deals.c.deal, deals.c.due, deals.c.state).where(
    among(deals.c.id, "deals")
)


class NotNeeded(Exception):
    """The wish of this row is moot: its deal has ended, or its lot is not waiting for it. Says why."""


def calls_data(connection: Connection, rows: Sequence[RowMapping]) -> list[bytes | NotNeeded | InvalidInput]:
    """The call data of each row; instead of it NotNeeded when sending it would be pointless, InvalidInput for
    a value that no transaction can carry."""
    matched = [row["arguments"] for row in rows if row["call"] == "match"]
    of = list({each["job"] for each in matched})
    orders = {row.id: row for row in (connection.execute(_ORDERS, {"jobs": of}) if of else ())}
    signed: dict[str, _Signed] = {}  # each checked once for all its lots
    waiting = lots_of(connection, [(each["job"], each["lot"]) for each in matched])
    ending = [row["arguments"]["deal"] for row in rows if row["call"] in _ENDS]
    ended = connection.execute(_DEALS, {"deals": ending}) if ending else ()
    open_deals = {(deal.id, deal.opening): deal for deal in ended}
    found: list[bytes | NotNeeded | InvalidInput] = []
    for row in rows:
        call, given = row["call"], row["arguments"]
        try:
            if call == "match":
                if (job := given["job"]) not in signed:
                    signed[job] = _signed(orders[job])
                found.append(_match(signed[job], waiting[job, given["lot"]].state, given))
            elif call in _ENDS:
                found.append(_end_of_deal(open_deals.get((given["deal"], given["opening"])), call, given))
            elif call == "withdraw":
                signed_word = Withdraw.from_json(given["order"]), parse_signature(given["signature"])
                found.append(_encode("withdrawBySig", *signed_word))
            else:
                found.append((_clear if call == "clear" else _challenge)(connection, given))
        except (NotNeeded, InvalidInput) as reason:
            found.append(reason)
    return found


def many(call: str, items: Sequence[bytes]) -> bytes:
    """The call data that does several calls of one kind (`MANY`) at once."""
    return _encode(MANY[call], list(items))


def settlements_in(data: bytes) -> dict[bytes, list[str]]:
    """By the deal's id, the signatures that call data of `settle` or `settleMany` carries; empty for any
    other."""
    market = artefacts.load("Market")
    settle, together = market.function("settle"), market.function("settleMany")
    found = {}
    try:
        calls = together.decode_call(data)["calls"] if data[:4] == together.selector else [data]
        for call in calls:
            if call[:4] == settle.selector:
                given = settle.decode_call(call)
                signatures = ["0x" + signature.hex() for signature in given["signatures"]]
                found[_deal_id(given["deal"])] = signatures
    except InvalidInput:
        pass
    return found


def _deal_id(given: Mapping[str, Any]) -> bytes:
    """Of a deal as the contract takes it. The offer, which it does not take, is not in the id."""
    legs = tuple(Leg.unpack(**leg) for leg in given["legs"])
    return Deal.unpack(given["order"], bytes(32), given["head"], given["money"], legs).id


@dataclass(frozen=True, slots=True)
class _Signed:
    """An order as its customer signed it, and what a purchase accepts."""

    order: Order
    signature: bytes
    offer: Offer | None


def _signed(row: Any) -> _Signed:
    """The order of a job."""
    offer = None if row.offer is None else Offer.from_json(row.offer)
    return _Signed(order_from_json(row.order), parse_signature(row.signature), offer)


def _match(signed: _Signed, state: str, arguments: dict[str, Any]) -> bytes:
    if state != "matching":
        raise NotNeeded(f"the lot is {state}")
    asks = [_ask(leg["signature"], **leg["ask"]) for leg in arguments["asks"]]
    if isinstance(signed.order, Bid):
        return _encode("matchBid", signed.order, signed.signature, arguments["lot"], asks)
    return _encode("matchPurchase", signed.order, signed.signature, signed.offer, arguments["lot"], asks)


@lru_cache(maxsize=256)
def _ask(signature: str, **ask: Any) -> SignedAsk:
    """One ask is matched again and again. ask: its fields as JSON, all of them text and numbers."""
    return SignedAsk(Ask.from_json(ask), parse_signature(signature))


def _clear(connection: Connection, arguments: dict[str, Any]) -> bytes:
    """Every item as the batch was published, also one that is moot by now: the contract skips it, and the
    others keep their places."""
    fills = arguments["fills"]
    found = connection.execute(
        select(lots.c.job, lots.c.lot, lots.c.state, jobs.c.order, jobs.c.signature)
        .join(jobs, jobs.c.id == lots.c.job)
        .where(lots.c.job.in_({fill["job"] for fill in fills}))
    )
    known = {(row.job, row.lot): row for row in found}
    rows = [known[fill["job"], fill["lot"]] for fill in fills]
    if all(row.state != "matching" for row in rows):
        raise NotNeeded("none of its lots waits for it")
    items = [
        _encode(
            "matchBid",
            Bid.from_json(row.order),
            parse_signature(row.signature),
            row.lot,
            [_ask(leg["signature"], **leg["ask"]) for leg in fill["asks"]],
        )
        for row, fill in zip(rows, fills, strict=True)
    ]
    return _encode("clear", int(arguments["price"]), parse_bytes32(arguments["batch"]), items)


def _challenge(connection: Connection, arguments: dict[str, Any]) -> bytes:
    found = connection.execute(
        select(deals.c.deal, deals.c.root, deals.c.fact, deals.c.state).where(
            deals.c.id == arguments["deal"], deals.c.opening == arguments["opening"]
        )
    ).one_or_none()
    if found is None:
        raise NotNeeded("the chain took the deal back")
    if found.state != "settled":
        raise NotNeeded(f"the deal is {found.state}")
    return _encode(
        "challenge",
        Deal.from_json(found.deal),
        parse_bytes32(found.root),
        int(found.fact),
        Claim.from_json(arguments["claim"]),
        [parse_bytes32(each) for each in arguments["proof"]],
    )


def _end_of_deal(found: Any, call: str, arguments: dict[str, Any]) -> bytes:
    if found is None:
        raise NotNeeded("the chain took the deal back")
    if found.state != "open":
        raise NotNeeded(f"the deal is {found.state}")
    deal = parsed(found.id, found.deal)
    if call == "settle":
        return _encode(
            "settle",
            deal,
            found.due,
            parse_bytes32(arguments["root"]),
            arguments["done"],
            [_leg_signature(signature) for signature in arguments["signatures"]],
        )
    if call == "hasten" and Due.unpack(found.due).hastened:
        raise NotNeeded("the deal is hastened already")
    return _encode(call, deal, found.due)


def _leg_signature(text: str) -> bytes:
    """A signature; nothing for a leg that did not sign."""
    return b"" if text == NO_SIGNATURE else parse_signature(text)


def _encode(function: str, *arguments: Any) -> bytes:
    return artefacts.load("Market").function(function).encode_call(arguments)
