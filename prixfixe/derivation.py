"""Keys from one seed, as BIP-32 derives them: whoever holds the seed holds every key, and nothing else does.

Private derivation only. A hardened step cannot be taken with a public key, so a key below one tells nothing
of its siblings, whatever else of the tree is known."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from prixfixe.errors import ConfigurationError

HARDENED: Final = 1 << 31
SEED_BYTES: Final = range(16, 65)  # what BIP-32 takes


def derive(seed: bytes, path: Sequence[int]) -> bytes:
    """The private key at `path` below the master key of `seed`. ConfigurationError for a seed of another
    length, and for the one key in 2^127 that the standard has no use for."""
    # Late: who only asks whether an address is a development key needs no curve.
    from prixfixe.protocol.signatures import CURVE_ORDER, public_point

    if len(seed) not in SEED_BYTES:
        raise ConfigurationError("a seed has 16 to 64 bytes", code="bad-seed")
    node = hmac.digest(b"Bitcoin seed", seed, "sha512")
    _require_key(int.from_bytes(node[:32], "big"), CURVE_ORDER)
    for step in path:
        key, chain_code = node[:32], node[32:]
        start = b"\0" + key if step & HARDENED else public_point(key)
        node = hmac.digest(chain_code, start + step.to_bytes(4, "big"), "sha512")
        _require_key(int.from_bytes(node[:32], "big"), CURVE_ORDER)
        child = (int.from_bytes(node[:32], "big") + int.from_bytes(key, "big")) % CURVE_ORDER
        _require_key(child, CURVE_ORDER)
        node = child.to_bytes(32, "big") + node[32:]
    return node[:32]


def written(path: Sequence[int]) -> str:
    """A path as people write it: m/44'/60'/7'/0/0."""
    steps = (f"{step & ~HARDENED}{chr(39) if step & HARDENED else ''}" for step in path)
    return "/".join(("m", *steps))


def _require_key(value: int, order: int) -> None:
    if not 0 < value < order:
        raise ConfigurationError("the seed has no key at this path", code="bad-seed", hint="skip this path")
