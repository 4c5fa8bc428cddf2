"""What the service asks the chain, as one narrow question that costs one round trip.

Use cases know this protocol and no client library, so that their tests need no chain, and no request ever
waits for an import or for three answers one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account now, in the token's smallest unit. held: earnings of the dispute windows."""

    free: int
    held: int
    era: int


@dataclass(frozen=True, slots=True)
class ChainView:
    """One consistent look. time: the earliest second that the next block can have, which is what a deadline
    is compared with. offers: until when each lives, 0 when it was never published. workers: until when each
    (provider, key) may sign, 0 for never."""

    block: int
    time: int
    accounts: Mapping[str, AccountView] = field(default_factory=dict)
    offers: Mapping[bytes, int] = field(default_factory=dict)
    workers: Mapping[tuple[str, str], int] = field(default_factory=dict)


class ChainReader(Protocol):
    """Reads of the market's contract. Unavailable when the node does not answer."""

    def look(
        self,
        *,
        accounts: Sequence[str] = (),
        offers: Sequence[bytes] = (),
        workers: Sequence[tuple[str, str]] = (),
    ) -> ChainView:
        """Everything named, in one batch."""
        ...

    def may_price(self, address: str) -> bool:
        """Whether the contract gives `address` its pricing role."""
        ...
