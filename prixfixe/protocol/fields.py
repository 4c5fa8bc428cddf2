"""Fields of what crosses HTTP: values with their one spelling in JSON, and the base of all messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, StringConstraints

from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.deals import Deal, Leg, Offer
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask, Bid, Order, Purchase, Result, order_from_json
from prixfixe.protocol.outputs import MANIFEST_VERSION, OutputManifest
from prixfixe.protocol.product import Product
from prixfixe.protocol.replicas import MOST_REPLICAS
from prixfixe.protocol.typed_data import AbiStruct, abi_fields


class Described:
    """Says in a JSON schema what a field's own reader takes. make: called when a schema is asked for."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return self._make()


def _text(pattern: str, example: str, description: str) -> Described:
    return Described(
        lambda: {"type": "string", "pattern": pattern, "examples": [example], "description": description}
    )


_ADDRESS = _text(
    "^0x[0-9a-fA-F]{40}$", "0x" + "70" * 20, "An address; its EIP-55 checksum counts when it has one."
)
Address = Annotated[str, PlainValidator(parse_address), _ADDRESS]
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


def _struct(*kinds: type[AbiStruct]) -> Described:
    """A struct of the contract as JSON: numbers of up to 53 bits are numbers, larger ones digits."""
    return Described(
        lambda: _of_struct(kinds[0]) if len(kinds) == 1 else {"anyOf": list(map(_of_struct, kinds))}
    )


def _of_struct(kind: type[AbiStruct]) -> dict[str, Any]:
    fields = {spec.solidity_name: _of_abi(spec.solidity_type) for spec in abi_fields(kind)}
    if kind is Deal:
        fields["legs"] = {"type": "array", "items": _of_struct(Leg)}
    return {
        "type": "object",
        "title": kind.__name__,
        "description": (kind.__doc__ or "").replace("\n    ", "\n"),
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def _of_abi(kind: str) -> dict[str, Any]:
    if kind == "address":
        return {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}
    if kind == "bytes32":
        return {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}
    if kind == "bool":
        return {"type": "boolean"}
    bits = int(kind.removeprefix("uint"))
    if bits > 53:
        return {"type": "string", "pattern": "^(0|[1-9][0-9]*)$", "description": kind}
    return {"type": "integer", "minimum": 0, "maximum": 2**bits - 1}


def _of_outputs() -> dict[str, Any]:
    file = {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "size": {"type": "integer", "minimum": 0},
        },
        "required": ["path", "sha256", "size"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "title": "OutputManifest",
        "description": "All files of one task, sorted by path as UTF-8 bytes.",
        "properties": {"files": {"type": "array", "items": file}, "version": {"const": MANIFEST_VERSION}},
        "required": ["files", "version"],
        "additionalProperties": False,
    }


MoneyField = Annotated[
    Money,
    PlainValidator(_money),
    PlainSerializer(lambda m: str(m.units), return_type=str),
    _text("^[0-9]+$", "9000000", "Money in the token's smallest unit, a millionth of a dollar."),
]
ProductField = Annotated[
    Product,
    PlainValidator(_product),
    PlainSerializer(lambda p: "0x" + p.to_bytes().hex(), return_type=str),
    Described(lambda: {"type": "string", "pattern": "^0x[0-9a-f]{64}$", "description": "A product's code."}),
]
OrderField = Annotated[
    Order,
    PlainValidator(lambda value: value if isinstance(value, Bid | Purchase) else order_from_json(value)),
    _dump,
    _struct(Purchase, Bid),
]
PurchaseField = Annotated[Purchase, PlainValidator(_validator(Purchase)), _dump, _struct(Purchase)]
AskField = Annotated[Ask, PlainValidator(_validator(Ask)), _dump, _struct(Ask)]
ResultField = Annotated[Result, PlainValidator(_validator(Result)), _dump, _struct(Result)]
DealField = Annotated[Deal, PlainValidator(_validator(Deal)), _dump, _struct(Deal)]
ClaimField = Annotated[Claim, PlainValidator(_validator(Claim)), _dump, _struct(Claim)]
OfferField = Annotated[Offer, PlainValidator(_validator(Offer)), _dump, _struct(Offer)]
OutputManifestField = Annotated[
    OutputManifest, PlainValidator(_validator(OutputManifest)), _dump, Described(_of_outputs)
]


class Message(BaseModel):
    """Base of all: frozen, strict about unknown fields. What reads one is made when it is first needed: a
    command needs few of them, and making all takes a third of its start."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)


T = TypeVar("T")


class Page(Message, Generic[T]):
    """A part of a list. next: the `cursor` of the part that follows; null for the last."""

    items: Sequence[T]
    next: str | None = None


class Body(Message):
    """Base of what is sent to a service: its framework makes what reads one as it starts."""

    model_config = ConfigDict(defer_build=False)
