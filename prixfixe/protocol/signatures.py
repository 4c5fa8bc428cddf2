"""Signatures over 32-byte digests on secp256k1, as the contract takes them: 65 bytes (r, s, v) or 64
(EIP-2098), low s.

Recovery is the hot path of the service, so it goes to libsecp256k1 (coincurve) directly. A contract wallet's
EIP-1271 signature cannot be checked here: ask the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import coincurve

from prixfixe.errors import ConfigurationError, InvalidInput, SignatureError
from prixfixe.protocol.addresses import format_address, parse_address
from prixfixe.protocol.canonical import canonical_json
from prixfixe.protocol.hashing import keccak256

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HALF_ORDER: Final = CURVE_ORDER // 2


def sign(digest: bytes, private_key: bytes) -> bytes:
    """65 bytes r | s | v (27 or 28), s low, deterministic (RFC 6979)."""
    _require_digest(digest)
    signature = _key(private_key).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def recover(digest: bytes, signature: bytes) -> str:
    """The EIP-55 address of who signed `digest`; SignatureError when the bytes are no signature."""
    _require_digest(digest)
    compact, parity = _split(digest, signature)
    try:
        key = coincurve.PublicKey.from_signature_and_message(compact + bytes([parity]), digest, hasher=None)
    except (
        Exception
    ) as error:  # coincurve raises bare Exception and ValueError for a point that is not on the curve
        raise SignatureError(f"the signature of hash 0x{digest.hex()} recovers to no key") from error
    return _address_of(key)


def require_signer(digest: bytes, signature: bytes, expected: str) -> None:
    """SignatureError unless `expected` signed `digest`; it names the hash and the signer that was
    computed."""
    signer = recover(digest, signature)
    if signer != parse_address(expected, name="signer"):
        raise SignatureError(
            f"hash 0x{digest.hex()} was signed by {signer}, not by {expected}",
            hint="check the key, the chain id and the contract's address: each of them changes the hash",
            digest="0x" + digest.hex(),
            signer=signer,
            expected=expected,
        )


def compact(signature: bytes) -> bytes:
    """The 64-byte form (EIP-2098) of a 65-byte signature: the parity is the highest bit of s."""
    short, parity = _split(b"", signature)
    return short[:32] + bytes([short[32] | parity << 7]) + short[33:]


def expand(signature: bytes) -> bytes:
    """The 65-byte form of a signature of either form; the inverse of `compact`."""
    pair, parity = _split(b"", signature)
    return pair + bytes([27 + parity])


def address_of_key(private_key: bytes) -> str:
    """The EIP-55 address of a private key."""
    return _address_of(_key(private_key).public_key)


def public_point(private_key: bytes) -> bytes:
    """The public key of a private key, compressed: 33 bytes (SEC 1)."""
    return _key(private_key).public_key.format(compressed=True)


def message_digest(message: str) -> bytes:
    """What a wallet signs for a plain text (EIP-191, version 0x45), such as a sign-in (EIP-4361)."""
    data = message.encode("utf-8")
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(data)).encode("ascii") + data)


def statement_digest(title: str, statement: Mapping[str, Any]) -> bytes:
    """What a key signs for a statement of one kind, such as a benchmark: the plain text of its title and its
    canonical JSON."""
    return message_digest(title + canonical_json(statement).decode("utf-8"))


def parse_signature(text: object) -> bytes:
    """64 or 65 bytes of 0x-hex."""
    if type(text) is str and text.startswith("0x") and len(text) in (130, 132):
        try:
            raw = bytes.fromhex(text[2:])
        except ValueError:
            raw = b""
        if len(raw) * 2 + 2 == len(text):
            return raw
    shown = repr(text)
    raise InvalidInput(
        f"{shown[:40]} is not a signature",
        code="bad-signature-text",
        hint="64 or 65 bytes as 0x and hexadecimal digits",
    )


def _split(digest: bytes, signature: bytes) -> tuple[bytes, int]:
    """r | s and the parity of R's y. Refuses what the contract refuses: other lengths, other v, high s."""
    of = f" of hash 0x{digest.hex()}" if digest else ""
    if len(signature) == 65:
        if signature[64] not in (27, 28):
            raise SignatureError(f"the signature{of} has v = {signature[64]}, not 27 or 28")
        pair, parity = signature[:64], signature[64] - 27
    elif len(signature) == 64:
        pair, parity = signature[:32] + bytes([signature[32] & 0x7F]) + signature[33:], signature[32] >> 7
    else:
        raise SignatureError(f"the signature{of} has {len(signature)} bytes, not 64 or 65")
    r, s = int.from_bytes(pair[:32], "big"), int.from_bytes(pair[32:], "big")
    if not 0 < r < CURVE_ORDER or s == 0:
        raise SignatureError(f"the signature{of} is out of the curve's range")
    if s > _HALF_ORDER:
        raise SignatureError(f"the signature{of} has a high s, which would let anyone write it a second way")
    return pair, parity


def _key(private_key: bytes) -> coincurve.PrivateKey:
    if type(private_key) is not bytes or len(private_key) != 32:
        raise ConfigurationError("a private key has 32 bytes", code="bad-key")
    try:
        return coincurve.PrivateKey(private_key)
    except ValueError:
        # From None: the chain of exceptions must not carry the key.
        raise ConfigurationError("the private key is out of the curve's range", code="bad-key") from None


def _address_of(key: coincurve.PublicKey) -> str:
    return format_address(keccak256(key.format(compressed=False)[1:])[12:])


def _require_digest(digest: bytes) -> None:
    if type(digest) is not bytes or len(digest) != 32:
        raise InvalidInput("what is signed is a hash of 32 bytes", code="bad-digest")
