"""Signed transactions read back: what a node makes of their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prixfixe.chain.transactions import Transaction
from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import format_address
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.signatures import recover


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that somebody signed. hash: 0x-hex."""

    transaction: Transaction
    sender: str
    hash: str


def parse(raw: bytes) -> Sent:
    """The transaction of type 2 in these bytes. InvalidInput when there is none."""
    fields, rest = _item(raw[1:]) if raw[:1] == b"\x02" else (None, b"")
    if not isinstance(fields, list) or len(fields) != 12 or rest:
        raise InvalidInput("these bytes are no transaction of type 2", code="no-transaction")
    chain_id, nonce, priority_fee, max_fee, gas = (int.from_bytes(each, "big") for each in fields[:5])
    transaction = Transaction(
        chain_id=chain_id,
        nonce=nonce,
        to=format_address(fields[5]) if fields[5] else None,
        data=fields[7],
        gas=gas,
        max_fee=max_fee,
        priority_fee=priority_fee,
        value=int.from_bytes(fields[6], "big"),
    )
    parity, r, s = (int.from_bytes(each, "big") for each in fields[9:])
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + parity])
    return Sent(transaction, recover(transaction.digest(), signature), "0x" + keccak256(raw).hex())


def _item(data: bytes) -> tuple[Any, bytes]:
    """The first item of recursive length prefix data, and what comes after it: the inverse of
    `chain.transactions.rlp`."""
    if not data:
        raise InvalidInput("the data ends too soon", code="no-transaction")
    first = data[0]
    if first < 0x80:
        return data[:1], data[1:]
    base = 0xC0 if first >= 0xC0 else 0x80
    size, start = first - base, 1
    if size > 55:
        start = 1 + size - 55
        size = int.from_bytes(data[1:start], "big")
    body, rest = data[start : start + size], data[start + size :]
    if len(body) != size:
        raise InvalidInput("the data ends too soon", code="no-transaction")
    if base == 0x80:
        return body, rest
    items = []
    while body:
        item, body = _item(body)
        items.append(item)
    return items, rest
