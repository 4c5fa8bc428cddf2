"""What providers' deals say of them, as it crosses HTTP (`prixfixe.market.reputation`)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from prixfixe.protocol.fields import Address, Message, Seconds

GradeName: TypeAlias = Literal["proven", "new", "doubtful", "guilty"]


class ProviderRecord(Message):
    """A provider's legs of the last thirty days, by how they ended. score: ten-thousandths, None when nothing
    counts."""

    provider: Address
    grade: GradeName
    score: int | None
    paid: int
    unsigned: int
    refused: int
    expired: int
    guilty: int

    def __str__(self) -> str:
        """One line: "proven (98.2 %): 40 paid, 1 expired in 30 days"."""
        ended = ((name, getattr(self, name)) for name in ("paid", "unsigned", "refused", "expired", "guilty"))
        listed = ", ".join(f"{count:,} {name}" for name, count in ended if count) or "no deals"
        score = "" if self.score is None else f" ({self.score / 100:.1f} %)"
        return f"{self.grade}{score}: {listed} in 30 days"


class Reputation(Message):
    """The records of providers, best first. block: the last that was read. time: of the chain, for which they
    were computed."""

    items: tuple[ProviderRecord, ...]
    block: int
    time: Seconds
