"""The two hash functions: SHA-256 names bytes, Keccak-256 names what the contract sees."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

try:
    from sha3 import keccak_256  # type: ignore[import-untyped]
except ImportError:  # it is made for Linux only; this one is five times slower

    def keccak_256(data: bytes) -> Any:
        from Crypto.Hash import keccak

        return keccak.new(digest_bits=256, data=data)


_CHUNK_BYTES = 1 << 20


def keccak256(data: bytes) -> bytes:
    """Keccak-256 as the EVM computes it (the padding before FIPS 202; not SHA3-256)."""
    return bytes(keccak_256(data).digest())


def sha256(data: bytes) -> bytes:
    """SHA-256 (FIPS 180-4), 32 bytes."""
    return hashlib.sha256(data).digest()


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lower-case hexadecimal digits, the way blobs are named."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> tuple[str, int]:
    """Hex SHA-256 and size in bytes of a file, read in pieces so that its size costs no memory."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
