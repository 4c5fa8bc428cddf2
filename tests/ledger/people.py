"""Who plays, what they sign, and structs that no honest program would make."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, TypeVar

from prixfixe.development_keys import ADDRESSES, development_key
from prixfixe.protocol import signatures
from prixfixe.protocol.addresses import address_bytes, format_address
from prixfixe.protocol.ledger import Signature

(ADMIN, PRICING, SCHEDULER, ALICE, BOB, *PROVIDERS) = ADDRESSES[:9]
(STRANGER, WORKER, OTHER_WORKER, ARBITER, PAUSER) = ADDRESSES[9:14]
CUSTOMERS: Final = (ALICE, BOB)

# A contract that can sign: it says yes (EIP-1271) to a signature of 32 bytes that is the digest xor its own
# address. `calldataload(4) xor address == calldataload(100)` selects the magic value.
WALLET: Final = format_address(b"\x77" * 20)
WALLET_CODE: Final = bytes.fromhex("600435301860643514631626ba7e60e01b025f5260205ff3")

_KEYS: Final = {address: development_key(index) for index, address in enumerate(ADDRESSES)}
_HALF_OF_CURVE: Final = signatures.CURVE_ORDER // 2

Struct = TypeVar("Struct")


@dataclass(frozen=True, slots=True)
class Written(Signature):
    """A signature as a fact, and as the bytes that show it."""

    raw: bytes = b""


def sign(signer: str, digest: bytes, *, short: bool = False) -> Written:
    """signer: one of the people, or the wallet contract. short: in the form of 64 bytes."""
    if signer == WALLET:
        mask = address_bytes(WALLET).rjust(32, b"\0")
        proof = bytes(a ^ b for a, b in zip(digest, mask, strict=True))
        return Written(WALLET, digest, wallet=True, raw=proof)
    raw = _signed(signer, digest)
    return Written(signer, digest, raw=signatures.compact(raw) if short else raw)


@lru_cache(maxsize=4096)
def _signed(signer: str, digest: bytes) -> bytes:
    return signatures.sign(digest, _KEYS[signer])


def spoilt(signature: Written, how: str) -> Written:
    """Bytes that look like this signature and are nobody's."""
    if signature.wallet:
        return Written("0x" + "0" * 40, b"", raw=bytes([signature.raw[0] ^ 1]) + signature.raw[1:])
    raw = signatures.expand(signature.raw)
    r, s, v = raw[:32], int.from_bytes(raw[32:64], "big"), raw[64]
    wrong = {
        "cut": raw[:63],
        "long": raw + b"\0",
        "noise": b"\x01" * 65,
        "v": raw[:64] + b"\x1d",
        # The other point of the curve with the same r: valid for ECDSA, and refused so that no signature has
        # two spellings.
        "malleable": r + (signatures.CURVE_ORDER - s).to_bytes(32, "big") + bytes([55 - v]),
    }[how]
    return Written("0x" + "0" * 40, b"", raw=wrong)


SPOILT: Final = ("cut", "long", "noise", "v", "malleable")


def unchecked(struct: Struct, **changes: Any) -> Struct:
    """A copy of a struct with fields that its class would refuse: what the contract may be handed."""
    copy = object.__new__(type(struct))
    for field in fields(struct):  # type: ignore[arg-type]
        object.__setattr__(copy, field.name, changes.get(field.name, getattr(struct, field.name)))
    return copy
