"""Fields of what crosses HTTP: values with their one spelling in JSON, and the base of all messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, StringConstraints

from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.deals import Deal, Offer
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask, Bid, Order, Purchase, Result, order_from_json
from prixfixe.protocol.outputs import OutputManifest
from prixfixe.protocol.product import Product
from prixfixe.protocol.replicas import MOST_REPLICAS

Address = Annotated[str, PlainValidator(parse_address)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^0x(?:[0-9a-f]{128}|[0-9a-f]{130})$")]
# Of one leg among several: "0x" where it did not sign.
LegSignature = Annotated[str, StringConstraints(pattern=r"^0x(?:[0-9a-f]{128}|[0-9a-f]{130})?$")]
# Left out when it is one, so that what was signed before there were more keeps its bytes.
Replicas = Annotated[int, Field(ge=1, le=MOST_REPLICAS, exclude_if=lambda count: count == 1)]
Seconds = Annotated[int, Field(ge=0, lt=2**40)]


class _Json(Protocol):
    """A protocol value with its own exact JSON form."""

    def to_json(self) -> dict[str, Any]: ...

    @classmethod
    def from_json(cls, data: Any) -> Self: ...


_V = TypeVar("_V", bound=_Json)


def _validator(cls: type[_V]) -> Callable[[Any], _V]:
    return lambda value: value if isinstance(value, cls) else cls.from_json(value)


def _money(value: Any) -> Money:
    if isinstance(value, Money):
        return value
    if not isinstance(value, str) or not value.isascii() or not value.isdigit():
        raise ValueError("money is a string of digits: the token's smallest unit")
    return Money(int(value))


def _product(value: Any) -> Product:
    if isinstance(value, Product):
        return value
    if not isinstance(value, str):
        raise ValueError("a product is its 0x-hex code")
    try:
        code = bytes.fromhex(value.removeprefix("0x"))
    except ValueError as error:
        raise ValueError("a product is its 0x-hex code") from error
    return Product.from_bytes(code)


_dump = PlainSerializer(lambda value: value.to_json(), return_type=dict)

MoneyField = Annotated[
    Money, PlainValidator(_money), PlainSerializer(lambda m: str(m.units), return_type=str)
]
ProductField = Annotated[
    Product, PlainValidator(_product), PlainSerializer(lambda p: "0x" + p.to_bytes().hex(), return_type=str)
]
OrderField = Annotated[
    Order,
    PlainValidator(lambda value: value if isinstance(value, Bid | Purchase) else order_from_json(value)),
    _dump,
]
PurchaseField = Annotated[Purchase, PlainValidator(_validator(Purchase)), _dump]
AskField = Annotated[Ask, PlainValidator(_validator(Ask)), _dump]
ResultField = Annotated[Result, PlainValidator(_validator(Result)), _dump]
DealField = Annotated[Deal, PlainValidator(_validator(Deal)), _dump]
ClaimField = Annotated[Claim, PlainValidator(_validator(Claim)), _dump]
OfferField = Annotated[Offer, PlainValidator(_validator(Offer)), _dump]
OutputManifestField = Annotated[OutputManifest, PlainValidator(_validator(OutputManifest)), _dump]


class Message(BaseModel):
    """Base of all: frozen, strict about unknown fields. What reads one is made when it is first needed: a
    command needs few of them, and making all takes a third of its start."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)


class Body(Message):
    """Base of what is sent to a service: its framework makes what reads one as it starts."""

    model_config = ConfigDict(defer_build=False)
