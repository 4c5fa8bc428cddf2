"""Offers, deals and the words of lots, as the contract hashes them.

A lot is one storage slot whose hash is its state: 0 free, 1 cancelled, `open_word` open, `settled_word`
settled. Callers pass the structs back and the contract compares; so whoever knows the structs can check the
slot alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import format_address
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.money import Money
from prixfixe.protocol.outputs import TaskStatus
from prixfixe.protocol.typed_data import (
    AbiStruct,
    Address,
    Bool,
    Bytes32,
    Uint8,
    Uint16,
    Uint32,
    Uint96,
    abi_fields,
    require_fields,
)

LOT_FREE: Final = bytes(32)
NO_BUNDLE: Final = bytes(32)  # in a bid's deals
LOT_CANCELLED: Final = (1).to_bytes(32, "big")

_HASTENED: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Offer(AbiStruct):
    """A bundle's tier as it is offered on chain; its id is its hash, so it never changes.

    product: what a leg must sell. application: hash of definition, image and tier. price: what the customer
    pays for one task. max_cost: the most that the legs of one task may cost together. quorum: distinct
    providers that must sign the same root. disputable: a settled deal can be challenged, and its pay waits
    for that.
    """

    product: Bytes32
    application: Bytes32
    price: Uint96
    max_cost: Uint96
    quorum: Uint8
    disputable: Bool

    def __post_init__(self) -> None:
        AbiStruct.__post_init__(self)
        if self.quorum < 1:
            raise InvalidInput("Offer.quorum is 0, not at least 1", code="bad-struct")

    @property
    def id(self) -> bytes:
        """`keccak256(abi.encode(offer))`."""
        return keccak256(self.words())


@dataclass(frozen=True, slots=True)
class Leg(AbiStruct):
    """One replica of a deal. key: who signed the ask and must sign the result. pay: for one task that is
    done."""

    provider: Address
    key: Address
    pay: Uint96

    @property
    def share(self) -> int:
        """The contract's packed word: provider 160 bits (lowest), pay 96."""
        return int(self.provider, 16) | self.pay << 160

    @staticmethod
    def unpack(share: int, key: str) -> Leg:
        """The leg of the contract's `Leg`."""
        return Leg(provider=_address(share), key=key, pay=share >> 160)


@dataclass(frozen=True, slots=True)
class Deal(AbiStruct):
    """A matched lot. Its id holds no time, so a result survives a re-organisation and a re-match.

    order: EIP-712 digest of the order. bundle: id of the offer, zero for a bid; the order holds it, and the
    id only through the order. lot: index in its order. count: tasks in it. price: what the customer pays for
    one task; fee: the market's part of it.
    """

    order: Bytes32
    customer: Address
    bundle: Bytes32
    lot: Uint32
    count: Uint16
    quorum: Uint8
    disputable: Bool
    price: Uint96
    fee: Uint96
    legs: tuple[Leg, ...]

    def __post_init__(self) -> None:
        AbiStruct.__post_init__(self)
        if type(self.legs) is not tuple or not all(type(leg) is Leg for leg in self.legs):
            raise InvalidInput(f"Deal.legs is {self.legs!r}, not a tuple of legs", code="bad-struct")
        if not 1 <= len(self.legs) <= 16:
            raise InvalidInput(f"a deal has 1 to 16 legs, not {len(self.legs)}", code="bad-struct")

    @property
    def head(self) -> int:
        """The contract's packed word, lowest first: customer 160 bits, lot 32, count 16, quorum 8,
        disputable 1."""
        last = self.quorum << 208 | self.disputable << 216
        return int(self.customer, 16) | self.lot << 160 | self.count << 192 | last

    @property
    def money(self) -> int:
        """The contract's packed word: price 96 bits (lowest), fee 96."""
        return self.price | self.fee << 96

    @staticmethod
    def unpack(order: bytes, bundle: bytes, head: int, money: int, legs: tuple[Leg, ...]) -> Deal:
        """The deal of the contract's `Deal` and of its offer's id, which `DealOpened` tells."""
        _in_bits("head", head, 217)
        _in_bits("money", money, 192)
        return Deal(
            order=order,
            customer=_address(head),
            bundle=bundle,
            lot=head >> 160 & 0xFFFFFFFF,
            count=head >> 192 & 0xFFFF,
            quorum=head >> 208 & 0xFF,
            disputable=bool(head >> 216),
            price=money & (1 << 96) - 1,
            fee=money >> 96,
            legs=legs,
        )

    @property
    def id(self) -> bytes:
        """`keccak256(abi.encode(order, head, money, legs))`. The legs are dynamic: offset, number, legs."""
        return keccak256(
            self.order
            + _word(self.head)
            + _word(self.money)
            + _word(128)
            + _word(len(self.legs))
            + b"".join(_word(leg.share) + _word(int(leg.key, 16)) for leg in self.legs)
        )

    @property
    def total(self) -> Money:
        """What the customer paid for the lot."""
        return Money(self.price * self.count)

    def given_back(self, done: int, signed: int) -> Money:
        """What a settlement gives back to the customer: the price of tasks that are not done, and of those
        that are what the legs without a bit in `signed` would have earned, up to the price."""
        unpaid = sum(leg.pay for at, leg in enumerate(self.legs) if not signed >> at & 1)
        return Money(self.price * (self.count - done) + min(unpaid, self.price) * done)

    def pays_for(self, status: int) -> bool:
        """Whether a task that ended with this status is in `done`. Of a purchase only one that succeeded. Of
        a bid too when there is one leg, whose word is not enough to be paid for a failure; with several legs
        every task that ran, since the customer brought the program."""
        if status == TaskStatus.SUCCEEDED or self.bundle != NO_BUNDLE or len(self.legs) == 1:
            return status == TaskStatus.SUCCEEDED
        return status != TaskStatus.COULD_NOT_START

    def to_json(self) -> dict[str, Any]:
        return {**AbiStruct.to_json(self), "legs": [leg.to_json() for leg in self.legs]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Deal:
        require_fields(value, [spec.solidity_name for spec in abi_fields(cls)] + ["legs"], "Deal")
        legs = value["legs"]
        if not isinstance(legs, list):
            raise InvalidInput(f"Deal.legs is {legs!r}, not a list", code="bad-struct")
        return cls(
            **cls._fields_from_json(value),
            legs=tuple(Leg.from_json(leg) for leg in legs),
        )


@dataclass(frozen=True, slots=True)
class Due:
    """Until when a deal can be settled (unix seconds of the chain, inclusive), and whether it was
    hastened."""

    deadline: int
    hastened: bool = False

    def __post_init__(self) -> None:
        _in_bits("deadline", self.deadline, 40)
        if type(self.hastened) is not bool:
            raise InvalidInput(f"hastened is {self.hastened!r}, not true or false", code="bad-due")

    def pack(self) -> int:
        """The contract's `uint48 due`: the deadline in the low 40 bits, bit 40 says hastened."""
        return self.deadline | (_HASTENED if self.hastened else 0)

    @staticmethod
    def unpack(due: int) -> Due:
        _in_bits("due", due, 41)
        return Due(due & (_HASTENED - 1), bool(due & _HASTENED))


@dataclass(frozen=True, slots=True)
class Fact:
    """What the contract remembers of a settlement.

    done: tasks paid. signed: a bit for each leg that signed, the first leg lowest. time: unix seconds of the
    settlement. past_cases: disputes that this lot has been through.
    """

    done: int
    signed: int
    time: int
    past_cases: int = 0

    def __post_init__(self) -> None:
        _in_bits("done", self.done, 16)
        _in_bits("signed", self.signed, 16)
        _in_bits("time", self.time, 40)
        _in_bits("past cases", self.past_cases, 8)

    def pack(self) -> int:
        """The contract's `uint96 fact`: done 16 bits (lowest), signed 16, time 40, past cases 8."""
        return self.done | self.signed << 16 | self.time << 32 | self.past_cases << 72

    @staticmethod
    def unpack(fact: int) -> Fact:
        _in_bits("fact", fact, 80)
        return Fact(fact & 0xFFFF, fact >> 16 & 0xFFFF, fact >> 32 & (1 << 40) - 1, fact >> 72)


def lot_key(order: bytes, index: int) -> bytes:
    """Where the word of a lot lies: `keccak256(abi.encode(order, index))`."""
    return keccak256(order + _word(index))


def open_word(deal: bytes, due: int) -> bytes:
    """The word of an open lot: `keccak256(abi.encode(deal id, due))`, `due` packed."""
    return keccak256(deal + _word(due))


def settled_word(deal: bytes, root: bytes, fact: int) -> bytes:
    """The word of a settled lot: `keccak256(abi.encode(deal id, root, fact))`, `fact` packed."""
    return keccak256(deal + root + _word(fact))


def refusal_root(due: int) -> bytes:
    """The root of a Result that refuses (`done` = 0): the deal's packed `due` as a word, so it cannot be
    replayed."""
    return _word(due)


def _address(word: int) -> str:
    return format_address((word & (1 << 160) - 1).to_bytes(20, "big"))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _in_bits(name: str, value: int, bits: int) -> None:
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise InvalidInput(f"{name} is {value!r}, not a whole number of {bits} bits", code="bad-due")
