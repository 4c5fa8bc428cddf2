"""Canonical JSON (RFC 8785): one byte sequence for one value, so that it can be hashed.

Floats are refused: they never appear in what Prixfixe hashes, and two languages print them differently.
Integers above 2^53 are refused by RFC 8785 itself; write them as decimal strings.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import rfc8785

from prixfixe.errors import InvalidInput
from prixfixe.protocol.hashing import sha256, sha256_hex

# Who hashes canonical bytes finds SHA-256 here too.
__all__ = [
    "canonical_digest",
    "canonical_digest_hex",
    "canonical_json",
    "parse_canonical",
    "require_storable_json",
    "sha256",
    "sha256_hex",
]


MAX_DEPTH: Final = 64
_EXACT: Final = 2**53
# The closing quote is optional and nothing is given back, so that no input makes this slower than linear.
_BRACKET_OR_TEXT: Final = re.compile(rb'[\[\]{}]|"(?:[^"\\]|\\.)*+"?', re.DOTALL)
# A pair of surrogates, a surrogate on its own (the group), or any other escape.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F])|.)", re.DOTALL
)


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value. InvalidInput for what JSON cannot hold exactly (floats, large
    integers)."""
    try:
        if _is_plain(value):
            return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        _refuse_floats(value, "$")
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise InvalidInput(f"the value has no canonical JSON: {error}", code="not-canonical") from error


def canonical_digest(value: Any) -> bytes:
    """SHA-256 of the canonical JSON, 32 bytes."""
    return sha256(canonical_json(value))


def canonical_digest_hex(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return sha256_hex(canonical_json(value))


def parse_canonical(data: bytes) -> Any:
    """The value of canonical JSON bytes; InvalidInput unless they are byte for byte the canonical form.

    So a hash of received bytes is the hash of the value that was read from them, and repeated keys, which
    readers resolve differently, cannot hide.
    """
    _refuse_depth(data)
    try:
        value = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"not JSON: {error}", code="not-json") from error
    if canonical_json(value) != data:
        raise InvalidInput("the JSON is not in canonical form (RFC 8785)", code="not-canonical")
    return value


def require_storable_json(data: bytes) -> None:
    """InvalidInput for JSON text that readers take and that could then be neither stored nor sent: nested too
    deep, not UTF-8, or with half a surrogate pair in a text. Says nothing about text that is no JSON."""
    _refuse_depth(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("the JSON is not UTF-8", code="not-json") from error
    # A zero byte is in no UTF-8 JSON, and in all of UTF-16 and UTF-32, which lenient readers take too.
    if b"\0" in data:
        raise InvalidInput("the JSON has a zero byte: it is to be UTF-8", code="not-json")
    if any(escape[1] for escape in _ESCAPE.finditer(data)):
        raise InvalidInput("a text in the JSON has half a surrogate pair", code="not-json")


def _is_plain(value: Any) -> bool:
    """Whether Python's own encoder, many times faster, writes what RFC 8785 asks for: it sorts keys by code
    points, which differs from RFC 8785's UTF-16 beyond ASCII only, and knows no bound of integers."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_EXACT < value < _EXACT)
    if kind is dict:
        names = all(type(key) is str and key.isascii() for key in value)
        return names and all(map(_is_plain, value.values()))
    return kind in (list, tuple) and all(map(_is_plain, value))


def _refuse_floats(value: Any, where: str) -> None:
    if isinstance(value, float):
        raise InvalidInput(
            f"{where} is the floating-point number {value!r}; hashed JSON holds integers and text only",
            code="not-canonical",
            hint="write it as an integer or as a decimal string",
        )
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_floats(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_floats(item, f"{where}[{index}]")


def _refuse_depth(data: bytes) -> None:
    """InvalidInput for brackets nested deeper than any document of ours.

    The parser recurses in C: where a program has raised Python's recursion limit, a few kilobytes of brackets
    would end the process instead of raising.
    """
    depth = 0
    for token in _BRACKET_OR_TEXT.finditer(data):
        first = data[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidInput(f"the JSON is nested deeper than {MAX_DEPTH}", code="not-canonical")
        elif first in b"]}":
            depth -= 1
