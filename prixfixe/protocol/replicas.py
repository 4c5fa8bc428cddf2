"""Replicas: how many distinct providers run the same task, how many must agree, and what a worker commits to.

A worker that runs one of several replicas first gives `commitment(root, salt, provider, deal)`, signed; it
shows root and salt only when every other replica has committed or given up. So nobody can copy an answer:
the commitment binds its provider, and a root that was never committed is not taken.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, PlainValidator

from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import address_bytes
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.typed_data import Address, Bytes32, TypedStruct

MOST_REPLICAS: Final = 16  # legs that a deal can have


def quorum_of(replicas: int) -> int:
    """How many of so many replicas must sign the same root: a majority, of one or two all."""
    return replicas // 2 + 1 if replicas >= 3 else replicas


def _counts(value: Any) -> tuple[int, ...]:
    given = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not given or len(set(given)) != len(given):
        raise ValueError("a number of replicas, or a list of different ones, the usual one first")
    for count in given:
        if type(count) is not int or not 1 <= count <= MOST_REPLICAS:
            raise ValueError(f"{count!r} is not a number of replicas from 1 to {MOST_REPLICAS}")
    return given


# The counts that a bundle sells, its default first. One count is written as a plain number.
ReplicaCounts = Annotated[
    tuple[int, ...],
    PlainValidator(_counts),
    PlainSerializer(lambda counts: counts[0] if len(counts) == 1 else list(counts)),
]


@dataclass(frozen=True, slots=True)
class Commitment(TypedStruct):
    """What the key of a leg signs before it shows its result. hash: `commitment(...)`.

    The contract never sees it; the domain is the market's all the same, so that it counts nowhere else.
    """

    deal: Bytes32
    provider: Address
    hash: Bytes32


def new_salt() -> bytes:
    """32 bytes that nobody can guess: without them a commitment to a likely root would show it."""
    return secrets.token_bytes(32)


def commitment(root: bytes, salt: bytes, provider: str, deal: bytes) -> bytes:
    """`keccak256(abi.encode(bytes32 root, bytes32 salt, address provider, bytes32 deal))`."""
    if any(len(word) != 32 for word in (root, salt, deal)):
        raise InvalidInput("root, salt and deal have 32 bytes each", code="bad-commitment")
    return keccak256(root + salt + bytes(12) + address_bytes(provider) + deal)
