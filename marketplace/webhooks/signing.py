"""Signatures of webhooks, version 1 of Standard Webhooks: HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

_PREFIX: Final = "whsec_"
_BYTES: Final = 32


def new_secret() -> str:
    """256 random bits, as receivers' libraries take them."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def headers(message: str, timestamp: int, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """What goes with a message. keys: secrets of which the receiver knows at least one."""
    signed = f"{message}.{timestamp}.".encode() + body
    signatures = (
        hmac.digest(base64.b64decode(key.removeprefix(_PREFIX)), signed, hashlib.sha256) for key in keys
    )
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join("v1," + base64.b64encode(each).decode() for each in signatures),
    }
