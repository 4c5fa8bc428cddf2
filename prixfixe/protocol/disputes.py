"""Disputes: what a challenge claims, the case that it opens, and the word of a disputed lot.

A settled lot of a disputable bundle can be challenged for one window. While the case runs the lot's word is
`disputed_word`; found guilty it is `LOT_GUILTY` for good; otherwise it is settled again, with another fact.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

from prixfixe.errors import InvalidInput
from prixfixe.protocol.deals import Deal, Fact
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.money import Money
from prixfixe.protocol.outputs import leaf
from prixfixe.protocol.typed_data import (
    AbiStruct,
    Address,
    Bytes32,
    Uint8,
    Uint32,
    Uint40,
    Uint64,
    Uint96,
)

LOT_GUILTY: Final = (2).to_bytes(32, "big")

_NO_LEAF: Final = bytes(32)


class Ground(IntEnum):
    """What is wrong with a settled deal."""

    WRONG = 0  # the leaf of a named task is not what running it again gives
    MISSING = 1  # a named task's output is not delivered
    COUNT = 2  # the leaves show fewer successes than were paid; needs nothing but the leaves

    @property
    def word(self) -> Literal["wrong", "missing", "count"]:
        """Its name for people and documents."""
        return _WORDS[self]


_WORDS: Final[dict[Ground, Literal["wrong", "missing", "count"]]] = {
    Ground.WRONG: "wrong",
    Ground.MISSING: "missing",
    Ground.COUNT: "count",
}


@dataclass(frozen=True, slots=True)
class Claim(AbiStruct):
    """What a challenge says.

    ground: a `Ground`. index: the task's place in its lot, status and digest: its leaf, as it was settled;
    they say nothing for COUNT. commitment: of a secret that the challenger reveals to the arbiter; zero when
    it needs none.
    """

    ground: Uint8
    index: Uint32
    status: Uint8
    digest: Bytes32
    commitment: Bytes32 = bytes(32)

    def __post_init__(self) -> None:
        for name in ("ground", "status"):  # given as an enumeration's member, kept as its number
            if isinstance(value := getattr(self, name), IntEnum):
                object.__setattr__(self, name, int(value))
        AbiStruct.__post_init__(self)
        if self.ground not in tuple(Ground):
            raise InvalidInput(f"Claim.ground is {self.ground}, not 0, 1 or 2", code="bad-struct")

    @property
    def leaf(self) -> bytes:
        """The leaf that it is about; zero for COUNT."""
        if self.ground == Ground.COUNT:
            return _NO_LEAF
        return leaf(self.index, self.status, self.digest)

    @property
    def hash(self) -> bytes:
        """`keccak256(abi.encode(ground, index, leaf, commitment))`: what the case holds of it."""
        return keccak256(_word(self.ground) + _word(self.index) + self.leaf + self.commitment)


@dataclass(frozen=True, slots=True)
class Case:
    """A challenged deal, as it is passed back to `judge` and `lapse`.

    root, fact: of the settlement. until: last second at which the arbiter can judge. claim: `Claim.hash`.
    fees: units that each signing leg gave towards the arbiter's fee, in the order of the legs.
    """

    deal: Deal
    root: Bytes32
    fact: Uint96
    challenger: Address
    until: Uint40
    claim: Bytes32
    fees: tuple[Uint64, ...]

    @property
    def word(self) -> bytes:
        """The lot's word while the case runs."""
        return disputed_word(
            self.deal.id, self.root, self.fact, self.challenger, self.until, self.claim, self.fees
        )

    def fact_after(self, now: int, window: int) -> Fact:
        """The fact of the lot when the case ends at `now` without guilt: its window stood still meanwhile."""
        fact = Fact.unpack(self.fact)
        length = now + window - self.until
        return Fact(fact.done, fact.signed, fact.time + length, fact.past_cases + 1)


def disputed_word(
    deal: bytes, root: bytes, fact: int, challenger: str, until: int, claim: bytes, fees: tuple[int, ...]
) -> bytes:
    """`keccak256(abi.encode(deal id, root, fact, challenger, until, claim, H(fees)))`, where `H(fees)` is
    `keccak256(abi.encodePacked(fees))`: an array's items are packed to whole words."""
    fees_hash = keccak256(b"".join(_word(fee) for fee in fees))
    who = bytes(12) + bytes.fromhex(challenger[2:])
    return keccak256(deal + root + _word(fact) + who + _word(until) + claim + fees_hash)


def bond_after(first: Money, past_cases: int) -> Money:
    """What a challenge costs on a lot that has been through `past_cases` cases: it doubles with each."""
    return Money(first.units << past_cases)


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
