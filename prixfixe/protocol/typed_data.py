"""EIP-712 and ABI packing of our own structs, from their dataclass declarations.

A struct is a frozen dataclass whose fields are declared with the Solidity types below. Its Solidity name is
the field's name in camelCase. All our signed structs are flat, so one word a field is the whole encoding, and
no general encoder (which takes a second to import, and takes a negative number in a bytes field for zero) is
needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Self, TypeAlias, get_args, get_origin, get_type_hints

from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import address_bytes, parse_address
from prixfixe.protocol.hashing import keccak256

# What Python holds: an address as EIP-55 text, bytes32 as 32 bytes, integers as int.
Address: TypeAlias = Annotated[str, "address"]
Bytes32: TypeAlias = Annotated[bytes, "bytes32"]
Bool: TypeAlias = Annotated[bool, "bool"]
Uint8: TypeAlias = Annotated[int, "uint8"]
Uint16: TypeAlias = Annotated[int, "uint16"]
Uint32: TypeAlias = Annotated[int, "uint32"]
Uint40: TypeAlias = Annotated[int, "uint40"]
Uint48: TypeAlias = Annotated[int, "uint48"]
Uint64: TypeAlias = Annotated[int, "uint64"]
Uint96: TypeAlias = Annotated[int, "uint96"]
Uint256: TypeAlias = Annotated[int, "uint256"]

# JSON numbers are exact up to 2^53: wider types are written as decimal strings, always, so that a field has
# one shape.
_WIDEST_JSON_NUMBER_BITS = 53


class AbiField(NamedTuple):
    """One field: its Python name, its Solidity name and type, the largest value of an integer (else 0)."""

    name: str
    solidity_name: str
    solidity_type: str
    largest: int


class AbiStruct:
    """Base of frozen dataclasses whose annotated fields are one ABI word each. Checks every field when
    made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for spec in abi_fields(type(self)):
            given = getattr(self, spec.name)
            checked = _checked(given, spec, type(self).__name__)
            if checked is not given:
                object.__setattr__(self, spec.name, checked)

    def words(self) -> bytes:
        """The fields, 32 bytes each, in the order of declaration."""
        return b"".join(
            [_WORDS[spec.solidity_type](getattr(self, spec.name)) for spec in abi_fields(type(self))]
        )

    def to_json(self) -> dict[str, Any]:
        """Solidity names; addresses in EIP-55, bytes32 as 0x-hex, uint64 and wider as decimal strings."""
        return {
            spec.solidity_name: _to_json(getattr(self, spec.name), spec) for spec in abi_fields(type(self))
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The struct of `to_json`'s object; a missing or unknown field is refused."""
        require_fields(value, [spec.solidity_name for spec in abi_fields(cls)], cls.__name__)
        return cls(**cls._fields_from_json(value))

    @classmethod
    def _fields_from_json(cls, value: Mapping[str, Any]) -> dict[str, Any]:
        return {
            spec.name: _from_json(value[spec.solidity_name], spec, cls.__name__) for spec in abi_fields(cls)
        }


class TypedStruct(AbiStruct):
    """A struct that people and workers sign (EIP-712)."""

    __slots__ = ()

    @classmethod
    def encode_type(cls) -> str:
        """`Name(type name,...)`, EIP-712 `encodeType`."""
        members = ",".join(f"{spec.solidity_type} {spec.solidity_name}" for spec in abi_fields(cls))
        return f"{cls.__name__}({members})"

    @classmethod
    def type_hash(cls) -> bytes:
        known = _TYPE_HASHES.get(cls)
        return known or _TYPE_HASHES.setdefault(cls, keccak256(cls.encode_type().encode("ascii")))

    def struct_hash(self) -> bytes:
        """EIP-712 `hashStruct`."""
        return keccak256(self.type_hash() + self.words())

    def digest(self, domain: Domain) -> bytes:
        """The 32 bytes that are signed: `keccak256(0x1901 | domain separator | struct hash)`."""
        return keccak256(b"\x19\x01" + domain.separator + self.struct_hash())

    def to_eip712_json(self, domain: Domain) -> dict[str, Any]:
        """The whole typed data, as wallets take it for `eth_signTypedData_v4`."""
        return {
            "types": {
                "EIP712Domain": [{"name": name, "type": kind} for name, kind in _DOMAIN_FIELDS],
                type(self).__name__: [
                    {"name": spec.solidity_name, "type": spec.solidity_type}
                    for spec in abi_fields(type(self))
                ],
            },
            "primaryType": type(self).__name__,
            "domain": domain.to_json(),
            "message": self.to_json(),
        }


_DOMAIN_FIELDS = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)
_DOMAIN_TYPE_HASH = keccak256(
    ("EIP712Domain(" + ",".join(f"{kind} {name}" for name, kind in _DOMAIN_FIELDS) + ")").encode("ascii")
)


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature counts: one contract on one chain (EIP-712 domain "Prixfixe", version "1")."""

    chain_id: int
    verifying_contract: str
    name: str = "Prixfixe"
    version: str = "1"
    separator: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if type(self.chain_id) is not int or not 0 < self.chain_id < 2**256:
            raise InvalidInput(f"chain id is {self.chain_id!r}, not a positive integer", code="bad-domain")
        contract = parse_address(self.verifying_contract, name="verifying contract")
        object.__setattr__(self, "verifying_contract", contract)
        separator = keccak256(
            _DOMAIN_TYPE_HASH
            + keccak256(self.name.encode("utf-8"))
            + keccak256(self.version.encode("utf-8"))
            + self.chain_id.to_bytes(32, "big")
            + address_bytes(contract).rjust(32, b"\0")
        )
        object.__setattr__(self, "separator", separator)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "chainId": self.chain_id,
            "verifyingContract": self.verifying_contract,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Domain:
        require_fields(value, [name for name, _ in _DOMAIN_FIELDS], "Domain")
        for text in ("name", "version"):
            if type(value[text]) is not str:
                raise InvalidInput(f"Domain.{text} is {value[text]!r}, not text", code="bad-domain")
        return Domain(value["chainId"], value["verifyingContract"], value["name"], value["version"])


_FIELDS: dict[type[AbiStruct], tuple[AbiField, ...]] = {}
_TYPE_HASHES: dict[type[TypedStruct], bytes] = {}


def abi_fields(cls: type[AbiStruct]) -> tuple[AbiField, ...]:
    """The fields of a struct that are one word each, in the order of declaration."""
    known = _FIELDS.get(cls)
    if known is not None:
        return known
    specs = []
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        kind = str(get_args(hint)[1])
        largest = 2 ** int(kind.removeprefix("uint")) - 1 if kind.startswith("uint") else 0
        first, *rest = name.split("_")
        specs.append(AbiField(name, first + "".join(part.capitalize() for part in rest), kind, largest))
    return _FIELDS.setdefault(cls, tuple(specs))


def require_fields(value: object, names: list[str], what: str) -> None:
    """InvalidInput unless `value` is a JSON object with exactly these fields."""
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{what} is {_shown(value)}, not a JSON object", code="bad-struct")
    if missing := [name for name in names if name not in value]:
        raise InvalidInput(f"{what} lacks {', '.join(missing)}", code="bad-struct")
    if unknown := [str(name) for name in value if name not in names]:
        raise InvalidInput(f"{what} has unknown fields: {_shown(', '.join(unknown))}", code="bad-struct")


def parse_bytes32(text: object, *, name: str = "value") -> bytes:
    """32 bytes of 0x and 64 hexadecimal digits."""
    if type(text) is str and len(text) == 66 and text.startswith("0x"):
        try:
            raw = bytes.fromhex(text[2:])
        except ValueError:
            raw = b""
        if len(raw) == 32:  # fromhex skips white space, which would leave fewer bytes
            return raw
    raise InvalidInput(f"{name} is {_shown(text)}, not 0x and 64 hexadecimal digits", code="bad-bytes32")


def format_bytes32(value: bytes) -> str:
    """0x and 64 hexadecimal digits."""
    return "0x" + value.hex()


def _integer_word(value: int) -> bytes:
    return value.to_bytes(32, "big")


_WORDS: dict[str, Callable[[Any], bytes]] = {
    "address": lambda value: b"\0" * 12 + bytes.fromhex(value[2:]),
    "bytes32": lambda value: value,
    "bool": lambda value: _integer_word(int(value)),
    **{f"uint{bits}": _integer_word for bits in (8, 16, 32, 40, 48, 64, 96, 256)},
}


def _checked(value: Any, spec: AbiField, struct: str) -> Any:
    """`value` when it is exactly what the field's type holds; an address in its EIP-55 form."""
    if spec.largest:
        if type(value) is not int or not 0 <= value <= spec.largest:
            raise _bad(struct, spec, value, f"a whole number from 0 to {spec.largest}")
        return value
    if spec.solidity_type == "address":
        return parse_address(value, name=f"{struct}.{spec.solidity_name}")
    if spec.solidity_type == "bool":
        if type(value) is not bool:
            raise _bad(struct, spec, value, "true or false")
        return value
    if type(value) is not bytes or len(value) != 32:
        raise _bad(struct, spec, value, "32 bytes")
    return value


def _to_json(value: Any, spec: AbiField) -> Any:
    if spec.solidity_type == "bytes32":
        return format_bytes32(value)
    return str(value) if spec.largest.bit_length() > _WIDEST_JSON_NUMBER_BITS else value


def _from_json(value: Any, spec: AbiField, struct: str) -> Any:
    if spec.solidity_type == "bytes32":
        return parse_bytes32(value, name=f"{struct}.{spec.solidity_name}")
    if type(value) is str and spec.largest.bit_length() > _WIDEST_JSON_NUMBER_BITS:
        # One spelling a number: no sign, no leading zero, ASCII digits only.
        if not (
            value.isascii()
            and value.isdigit()
            and len(value) <= len(str(spec.largest))
            and (value == "0" or value[0] != "0")
        ):
            raise _bad(struct, spec, value, "a whole number in decimal digits")
        return int(value)
    return value


def _bad(struct: str, spec: AbiField, value: Any, wanted: str) -> InvalidInput:
    return InvalidInput(
        f"{struct}.{spec.solidity_name} is {_shown(value)}, not {wanted} ({spec.solidity_type})",
        code="bad-struct",
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
