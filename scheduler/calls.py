"""From an outbox row to the call of the contract, with what the tables say now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.store.settling import NO_SIGNATURE
from marketplace.store.tables import deals, jobs, lots, offers
from prixfixe.chain import artefacts
from prixfixe.errors import InvalidInput
from prixfixe.protocol.deals import Deal, Due, Leg, Offer
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.orders import Ask, Bid, SignedAsk, order_from_json
from prixfixe.protocol.signatures import parse_signature
from prixfixe.protocol.typed_data import parse_bytes32

# Calls of which the contract takes many at once, and by what name.
MANY: Final = {"match": "matchMany", "settle": "settleMany", "expire": "expireMany"}


class NotNeeded(Exception):
    """The wish of this row is moot: its deal has ended, or its lot is not waiting for it. Says why."""


def call_data(connection: Connection, row: RowMapping) -> bytes:
    """The call data of a row. NotNeeded when sending it would be pointless."""
    if row["call"] == "match":
        return _match(connection, row["arguments"])
    if row["call"] == "clear":
        return _clear(connection, row["arguments"])
    if row["call"] == "challenge":
        return _challenge(connection, row["arguments"])
    return _end_of_deal(connection, row["call"], row["arguments"])


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


def _match(connection: Connection, arguments: dict[str, Any]) -> bytes:
    found = connection.execute(
        select(lots.c.state, jobs.c.order, jobs.c.signature, offers.c.offer)
        .join(jobs, jobs.c.id == lots.c.job)
        .join(offers, offers.c.offer_id == jobs.c.offer_id, isouter=True)
        .where(lots.c.job == arguments["job"], lots.c.lot == arguments["lot"])
    ).one()
    if found.state != "matching":
        raise NotNeeded(f"the lot is {found.state}")
    asks = [
        SignedAsk(Ask.from_json(leg["ask"]), parse_signature(leg["signature"])) for leg in arguments["asks"]
    ]
    order, signature, lot = order_from_json(found.order), parse_signature(found.signature), arguments["lot"]
    if isinstance(order, Bid):
        return _encode("matchBid", order, signature, lot, asks)
    return _encode("matchPurchase", order, signature, Offer.from_json(found.offer), lot, asks)


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
            [SignedAsk(Ask.from_json(leg["ask"]), parse_signature(leg["signature"])) for leg in fill["asks"]],
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


def _end_of_deal(connection: Connection, call: str, arguments: dict[str, Any]) -> bytes:
    found = connection.execute(
        select(deals.c.deal, deals.c.due, deals.c.state).where(
            deals.c.id == arguments["deal"], deals.c.opening == arguments["opening"]
        )
    ).one_or_none()
    if found is None:
        raise NotNeeded("the chain took the deal back")
    if found.state != "open":
        raise NotNeeded(f"the deal is {found.state}")
    deal = Deal.from_json(found.deal)
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
