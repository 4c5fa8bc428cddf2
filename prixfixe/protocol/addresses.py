"""Addresses: 20 bytes, written in EIP-55 (the case of the letters is a checksum)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from prixfixe.errors import InvalidInput
from prixfixe.protocol.hashing import keccak256

ZERO_ADDRESS: Final = "0x" + "0" * 40

_SHAPE = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


def parse_address(text: object, *, name: str = "address") -> str:
    """`text` in its EIP-55 form. One-case spellings are taken as they are; a wrong checksum is refused.

    name: what to call it in the error.
    """
    known = _parsed(text) if type(text) is str and len(text) == len(ZERO_ADDRESS) else None
    if known is not None:
        return known
    if type(text) is not str or not _SHAPE.fullmatch(text):
        raise InvalidInput(
            f"{name} is {_shown(text)}, not an address",
            code="bad-address",
            hint="an address is 0x and 40 hexadecimal digits",
        )
    raise InvalidInput(
        f"{name} is {text}, whose letters fail its checksum (EIP-55)",
        code="bad-address",
        hint="a digit was probably changed while copying: copy it again",
    )


@lru_cache(maxsize=16384)
def _parsed(text: str) -> str | None:
    """`text` in its EIP-55 form; None when it is no address."""
    if not _SHAPE.fullmatch(text):
        return None
    checksummed = _checksummed(text[2:].lower())
    return checksummed if text == checksummed or text[2:] in (text[2:].lower(), text[2:].upper()) else None


def format_address(raw: bytes) -> str:
    """EIP-55 text of 20 raw bytes."""
    if type(raw) is not bytes or len(raw) != 20:
        raise InvalidInput(f"an address has 20 bytes, not {_shown(raw)}", code="bad-address")
    return _checksummed(raw.hex())


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address that was parsed before."""
    return bytes.fromhex(address[2:])


@lru_cache(maxsize=16384)
def _checksummed(digits: str) -> str:
    """EIP-55: a letter is upper case where the Keccak-256 of the lower-case digits has a nibble of at
    least 8."""
    nibbles = keccak256(digits.encode("ascii")).hex()
    return "0x" + "".join(
        char.upper() if nibble >= "8" else char for char, nibble in zip(digits, nibbles, strict=False)
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
