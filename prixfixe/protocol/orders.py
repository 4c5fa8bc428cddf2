"""What parties sign. The field order is the EIP-712 type's; the contract's twin is
contracts/src/interfaces/Types.sol.

Prices are in the token's smallest unit (a millionth of a dollar; `money.Money` shows them) and per task.
Times are unix seconds of the chain. `era` is the account's era under which it was signed; `bump` ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from prixfixe.errors import InvalidInput
from prixfixe.protocol.money import Money
from prixfixe.protocol.typed_data import (
    AbiStruct,
    Address,
    Bytes32,
    TypedStruct,
    Uint8,
    Uint16,
    Uint32,
    Uint40,
    Uint64,
    Uint96,
)

# Ask.kinds: what an ask may be matched with.
KIND_BIDS: Final = 1
KIND_BUNDLES: Final = 2
KIND_BOTH: Final = 3


@dataclass(frozen=True, slots=True)
class Ask(TypedStruct):
    """A provider's standing offer to run tasks of one product. Signed by it or by a worker key that it
    authorised.

    price: least pay for one task. slots: tasks of a lot that run side by side. kinds: 1 bids, 2 bundles, 3
    both. customer: only this one; zero: anyone. matcher: only this caller; zero: anyone; the contract: its
    scheduler. expiry: last second at which it can be matched.
    """

    provider: Address
    product: Bytes32
    price: Uint96
    slots: Uint16
    kinds: Uint8
    customer: Address
    matcher: Address
    expiry: Uint40
    era: Uint32

    def __post_init__(self) -> None:
        AbiStruct.__post_init__(self)
        _at_least_one("Ask.slots", self.slots)
        if not KIND_BIDS <= self.kinds <= KIND_BOTH:
            raise InvalidInput(
                f"Ask.kinds is {self.kinds}, not 1 (bids), 2 (bundles) or 3 (both)", code="bad-struct"
            )


@dataclass(frozen=True, slots=True)
class SignedAsk:
    """An ask with the signature of its provider or of a worker key that the provider authorised."""

    ask: Ask
    signature: bytes


@dataclass(frozen=True, slots=True)
class Bid(TypedStruct):
    """A customer's wish for tasks of a product.

    price: the most that it pays per task, all replicas and fee included. tasks: of the whole order. lot:
    tasks that are matched, settled or returned together. quorum: distinct providers that must sign the same
    root. job: SHA-256 of the job manifest. expiry: last second of a match. deliverBy: latest deadline of a
    deal. nonce: tells equal orders apart.
    """

    customer: Address
    product: Bytes32
    price: Uint96
    tasks: Uint32
    lot: Uint16
    quorum: Uint8
    job: Bytes32
    matcher: Address
    expiry: Uint40
    deliver_by: Uint40
    era: Uint32
    nonce: Uint64

    def __post_init__(self) -> None:
        AbiStruct.__post_init__(self)
        _at_least_one("Bid.tasks", self.tasks)
        _at_least_one("Bid.lot", self.lot)
        _at_least_one("Bid.quorum", self.quorum)

    @property
    def lots(self) -> int:
        """Number of lots; the last may be short."""
        return -(-self.tasks // self.lot)

    def lot_size(self, index: int) -> int:
        """Tasks in lot `index`."""
        return _lot_size(self.tasks, self.lot, index)

    @property
    def total(self) -> Money:
        """The most that the whole order can cost."""
        return Money(self.price * self.tasks)


@dataclass(frozen=True, slots=True)
class Purchase(TypedStruct):
    """A customer's acceptance of a bundle's offer at its flat price.

    bundle: id of the offer. price: the bundle's for one task, repeated so that the signer sees it. tasks,
    lot, job, expiry, deliverBy, nonce: as in Bid.
    """

    customer: Address
    bundle: Bytes32
    price: Uint96
    tasks: Uint32
    lot: Uint16
    job: Bytes32
    expiry: Uint40
    deliver_by: Uint40
    era: Uint32
    nonce: Uint64

    def __post_init__(self) -> None:
        AbiStruct.__post_init__(self)
        _at_least_one("Purchase.tasks", self.tasks)
        _at_least_one("Purchase.lot", self.lot)

    @property
    def lots(self) -> int:
        """Number of lots; the last may be short."""
        return -(-self.tasks // self.lot)

    def lot_size(self, index: int) -> int:
        """Tasks in lot `index`."""
        return _lot_size(self.tasks, self.lot, index)

    @property
    def total(self) -> Money:
        """What the whole order costs."""
        return Money(self.price * self.tasks)


@dataclass(frozen=True, slots=True)
class Result(TypedStruct):
    """What the key of a leg signs. root: Merkle root over the lot's results, or `deals.refusal_root(due)` for
    a refusal. done: tasks to pay; 0 is a refusal."""

    deal: Bytes32
    root: Bytes32
    done: Uint16


@dataclass(frozen=True, slots=True)
class Withdraw(TypedStruct):
    """An order to pay `amount` to `to`, and `fee` to whoever sends it, until `deadline`. Used once."""

    account: Address
    to: Address
    amount: Uint96
    fee: Uint96
    nonce: Uint64
    deadline: Uint40


@dataclass(frozen=True, slots=True)
class Cancel(TypedStruct):
    """An order to close one free lot of the order with this digest."""

    order: Bytes32
    lot: Uint32


@dataclass(frozen=True, slots=True)
class Bump(TypedStruct):
    """An order to end the account's present era, which it names, and all that was signed under it."""

    account: Address
    era: Uint32


# What a customer signs to have a job run.
Order: TypeAlias = Bid | Purchase

SIGNED_STRUCTS: Final[tuple[type[TypedStruct], ...]] = (Ask, Bid, Purchase, Result, Withdraw, Cancel, Bump)


def order_from_json(data: Mapping[str, Any]) -> Order:
    """A bid or a purchase from its JSON: a bid names a product, a purchase a bundle's offer."""
    is_bid = isinstance(data, Mapping) and "product" in data  # a null is refused below, by its name
    return Bid.from_json(data) if is_bid else Purchase.from_json(data)


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise InvalidInput(f"{name} is {value}, not at least 1", code="bad-struct")


def _lot_size(tasks: int, lot: int, index: int) -> int:
    if not 0 <= index < -(-tasks // lot):
        raise InvalidInput(f"lot {index} is not one of the order's {-(-tasks // lot)}", code="bad-lot")
    return min(lot, tasks - index * lot)
