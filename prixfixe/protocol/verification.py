"""What a service tells of the results that it had run again, as it crosses HTTP
(`prixfixe.market.verification`)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from prixfixe.protocol.fields import Address, Message, MoneyField, Seconds, Sha256, Word

CheckState: TypeAlias = Literal["spared", "wanted", "right", "wrong", "unclear"]


class Day(Message):
    """The secret of a day (days of the chain's clock since 1970). commitment: its SHA-256. secret: hex, once
    no result of the day can be challenged any more; None before."""

    day: Annotated[int, Field(ge=0)]
    commitment: Sha256
    secret: Sha256 | None = None


class Verification(Message):
    """How a service checks paid results now. checks: results of its whole time by what became of them;
    canaries: those that were checked by a canary, by what became of that. least,
    trials: of `market.verification.Rule`. stake: what a verdict of guilty costs beside the pay. window:
    seconds in which results can be challenged. days: newest first."""

    runs: bool
    least: int
    trials: int
    stake: MoneyField
    window: Seconds
    checks: dict[CheckState, int]
    canaries: dict[CheckState, int] = Field(default_factory=dict)
    days: tuple[Day, ...]


class Draw(Message):
    """How one result was drawn, or spared, and what became of it. rate: millionths. canary: it cannot be
    disputed, and its provider was given a task whose answer is known, if it was drawn. reruns: the jobs that
    ran it again, in order; none are told of a canary."""

    deal: Word
    opening: int
    provider: Address
    time: Seconds
    gain: MoneyField
    stake: MoneyField
    passed: int
    rate: int
    drawn: bool
    state: CheckState
    why: str | None = None
    canary: bool = False
    reruns: tuple[Word, ...] = ()
