"""Passwords: argon2id, and the same work whether there is a hash to compare with or not."""

from __future__ import annotations

import threading
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# A hash takes 64 MiB (RFC 9106, second recommended option): only so many at once, the others wait.
_AT_ONCE: Final = 2


class Passwords:
    """Hashes and compares. hasher: with the cost that this machine can bear."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._nobodys = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """With its salt and cost, as it is stored."""
        with self._turns:
            return self._hasher.hash(password)

    def is_right(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one that was stored. stored: None when there is no such person, which
        takes as long."""
        with self._turns:
            try:
                return self._hasher.verify(stored or self._nobodys, password) and stored is not None
            except (VerificationError, InvalidHashError):
                return False

    def is_outdated(self, stored: str) -> bool:
        """Whether it was hashed at another cost than new ones are."""
        return self._hasher.check_needs_rehash(stored)
