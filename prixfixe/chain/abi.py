"""The contract ABI, driven by an artefact's JSON: calls in, results, errors and events out.

Holds the types that our contracts use: uintN, intN, address, bool, bytesN, bytes, string, tuples and arrays.
A struct is given as one of our dataclasses (its fields found by their snake_case names), a mapping by
Solidity names, or a sequence; it comes back as a dictionary by Solidity names. Encoding refuses what the type
cannot hold; decoding refuses data that is too short or has bits outside of its type. Tests compare it with
eth-abi.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NoReturn, Protocol

from prixfixe.errors import InvalidInput, Unavailable
from prixfixe.protocol.addresses import address_bytes, format_address, parse_address
from prixfixe.protocol.hashing import keccak256

_WORD = 32
# A length or offset above this is garbage, not data; it keeps a bad answer from asking for all memory.
_MOST_ITEMS = 1 << 24


class AbiCodec(Protocol):
    """One ABI type. `size`: bytes of its head. `dynamic`: its head is an offset."""

    @property
    def name(self) -> str: ...

    @property
    def dynamic(self) -> bool: ...

    @property
    def size(self) -> int: ...

    def encode(self, value: Any, where: str) -> bytes: ...

    def decode(self, data: bytes, at: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Word:
    """A type of one word."""

    name: str
    to_word: Callable[[Any, str], bytes]
    from_word: Callable[[bytes], Any]
    dynamic: bool = False
    size: int = _WORD

    def encode(self, value: Any, where: str) -> bytes:
        return self.to_word(value, where)

    def decode(self, data: bytes, at: int) -> Any:
        return self.from_word(_slice(data, at, _WORD))


@dataclass(frozen=True, slots=True)
class _Bytes:
    """`bytes` and `string`: length, then the bytes padded to words."""

    name: str
    dynamic: bool = True
    size: int = _WORD

    def encode(self, value: Any, where: str) -> bytes:
        if self.name == "string":
            if type(value) is not str:
                _refuse(value, where, self.name)
            value = value.encode("utf-8")
        if type(value) is not bytes:
            _refuse(value, where, self.name)
        return _number(len(value)) + value + bytes(-len(value) % _WORD)

    def decode(self, data: bytes, at: int) -> Any:
        raw = _slice(data, at + _WORD, _length(data, at))
        if self.name == "bytes":
            return raw
        # A revert's text is for people: a stranger's contract may put anything there.
        return raw.decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class _Array:
    """`item[]`."""

    item: AbiCodec
    name: str
    dynamic: bool = True
    size: int = _WORD

    def encode(self, value: Any, where: str) -> bytes:
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            _refuse(value, where, self.name)
        body = _encode_all(
            [self.item] * len(value), list(value), [f"{where}[{index}]" for index in range(len(value))]
        )
        return _number(len(value)) + body

    def decode(self, data: bytes, at: int) -> Any:
        count, start = _length(data, at), at + _WORD
        if count * self.item.size > len(data) - start:
            raise _bad_data(f"{len(data)} bytes are too few")
        return _decode_all([self.item] * count, data, start)


@dataclass(frozen=True, slots=True)
class _Tuple:
    """A struct."""

    names: tuple[str, ...]
    items: tuple[AbiCodec, ...]
    name: str
    dynamic: bool
    size: int

    def encode(self, value: Any, where: str) -> bytes:
        places = [f"{where}.{name}" for name in self.names]
        return _encode_all(list(self.items), self._members(value, where), places)

    def _members(self, value: Any, where: str) -> list[Any]:
        if isinstance(value, Mapping):
            if set(value) != set(self.names):
                _refuse(value, where, f"an object with {', '.join(self.names)}")
            return [value[name] for name in self.names]
        if isinstance(value, list | tuple):
            if len(value) != len(self.items):
                _refuse(value, where, self.name)
            return list(value)
        try:
            return [getattr(value, snake_case(name)) for name in self.names]
        except AttributeError:
            _refuse(value, where, self.name)

    def decode(self, data: bytes, at: int) -> dict[str, Any]:
        return dict(zip(self.names, _decode_all(list(self.items), data, at), strict=True))


@dataclass(frozen=True)
class Function:
    """A function or constructor."""

    name: str
    inputs: _Tuple
    outputs: _Tuple

    @cached_property
    def selector(self) -> bytes:
        """First four bytes of the hash of the signature."""
        return keccak256((self.name + self.inputs.name).encode("ascii"))[:4]

    def encode_call(self, arguments: Sequence[Any]) -> bytes:
        """Call data: selector and arguments. InvalidInput names the argument that does not fit."""
        if len(arguments) != len(self.inputs.items):
            raise InvalidInput(
                f"{self.name} takes {len(self.inputs.items)} arguments, not {len(arguments)}", code="bad-call"
            )
        return self.selector + self.inputs.encode(tuple(arguments), self.name)

    def decode_call(self, data: bytes) -> dict[str, Any]:
        """Arguments by name of call data that this function's selector begins."""
        return self.inputs.decode(data[4:], 0)

    def decode_result(self, data: bytes) -> Any:
        """The one value, or a dictionary by name when the function returns several."""
        values = self.outputs.decode(data, 0)
        return next(iter(values.values())) if len(values) == 1 else values

    def decode_answer(self, answer: str) -> Any:
        """The result that a node gave, in 0x-hex. Unavailable when it is empty and the function has results:
        in the state that the node looked into there is no contract. It is behind, or just puts other blocks
        in the place of its last; at a wrong address it stays so."""
        if answer == "0x" and self.outputs.items:
            raise Unavailable(
                f"the chain's node answers nothing to {self.name}, as if the contract were not there",
                code="empty-answer",
                hint="a node that is behind or re-organises finds it soon; else check contract and chain",
            )
        return self.decode_result(bytes.fromhex(answer[2:]))


@dataclass(frozen=True)
class ErrorType:
    """A custom error."""

    name: str
    inputs: _Tuple

    @cached_property
    def selector(self) -> bytes:
        return keccak256((self.name + self.inputs.name).encode("ascii"))[:4]

    def decode(self, data: bytes) -> dict[str, Any]:
        """Its values by name, from the revert data with the selector."""
        return self.inputs.decode(data[4:], 0)


@dataclass(frozen=True)
class EventType:
    """An event. Indexed fields lie in the topics, the others in the data."""

    name: str
    signature: str
    indexed: tuple[tuple[str, AbiCodec], ...]
    plain: _Tuple

    @cached_property
    def topic(self) -> bytes:
        """Hash of the signature: the first topic."""
        return keccak256(self.signature.encode("ascii"))

    def decode(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
        """Its values by Solidity name."""
        if len(topics) != len(self.indexed) + 1 or topics[0] != self.topic:
            raise InvalidInput(f"the log is no {self.name}", code="bad-log")
        values = {
            name: codec.decode(topic, 0)
            for (name, codec), topic in zip(self.indexed, topics[1:], strict=True)
        }
        return {**values, **self.plain.decode(data, 0)}


def parse_function(entry: Mapping[str, Any]) -> Function:
    """A function, or the constructor, of an artefact's ABI."""
    return Function(entry.get("name", ""), _tuple(entry.get("inputs", [])), _tuple(entry.get("outputs", [])))


def parse_error(entry: Mapping[str, Any]) -> ErrorType:
    return ErrorType(entry["name"], _tuple(entry["inputs"]))


def parse_event(entry: Mapping[str, Any]) -> EventType:
    whole = _tuple(entry["inputs"])
    indexed = tuple((field["name"], _codec(field)) for field in entry["inputs"] if field["indexed"])
    plain = _tuple([field for field in entry["inputs"] if not field["indexed"]])
    return EventType(entry["name"], entry["name"] + whole.name, indexed, plain)


@cache
def snake_case(name: str) -> str:
    """`maxFeeBps` -> `max_fee_bps`; a Python keyword gets the underscore that Solidity uses too."""
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
    return "from_" if snake == "from" else snake


# ------------------------------------------------------------------------------------------------ the types


def _codec(field: Mapping[str, Any]) -> AbiCodec:
    kind = str(field["type"])
    if kind.endswith("[]"):
        item = _codec({**field, "type": kind[:-2]})
        return _Array(item, f"{item.name}[]")
    if kind == "tuple":
        return _tuple(field["components"])
    if kind in ("bytes", "string"):
        return _Bytes(kind)
    if kind == "address":
        return _Word(
            kind,
            lambda value, where: b"\0" * 12 + address_bytes(parse_address(value, name=where)),
            lambda word: format_address(_without_prefix(word, 12, "address")),
        )
    if kind == "bool":
        return _Word(kind, _bool_word, _bool_value)
    if match := re.fullmatch(r"uint([0-9]+)", kind):
        return _unsigned(kind, int(match[1]))
    if match := re.fullmatch(r"bytes([0-9]+)", kind):
        return _fixed_bytes(kind, int(match[1]))
    raise InvalidInput(f"the ABI type {kind} is not one that our contracts use", code="bad-abi")


def _tuple(fields: Sequence[Mapping[str, Any]]) -> _Tuple:
    items = tuple(_codec(field) for field in fields)
    names = tuple(str(field.get("name") or index) for index, field in enumerate(fields))
    dynamic = any(item.dynamic for item in items)
    size = _WORD if dynamic else sum(item.size for item in items)
    return _Tuple(names, items, "(" + ",".join(item.name for item in items) + ")", dynamic, size)


def _unsigned(kind: str, bits: int) -> _Word:
    def encode(value: Any, where: str) -> bytes:
        if type(value) is not int or not 0 <= value < 1 << bits:
            _refuse(value, where, kind)
        return _number(value)

    return _Word(
        kind, encode, lambda word: int.from_bytes(_without_prefix(word, _WORD - bits // 8, kind), "big")
    )


def _fixed_bytes(kind: str, size: int) -> _Word:
    def encode(value: Any, where: str) -> bytes:
        if type(value) is not bytes or len(value) != size:
            _refuse(value, where, kind)
        return value.ljust(_WORD, b"\0")

    def decode(word: bytes) -> bytes:
        if any(word[size:]):
            raise _bad_data(f"a {kind} has bytes behind its end")
        return word[:size]

    return _Word(kind, encode, decode)


def _bool_word(value: Any, where: str) -> bytes:
    if type(value) is not bool:
        _refuse(value, where, "bool")
    return _number(int(value))


def _bool_value(word: bytes) -> bool:
    value = int.from_bytes(word, "big")
    if value > 1:
        raise _bad_data("a bool is neither 0 nor 1")
    return value == 1


# ------------------------------------------------------------------------------------------------ heads and
# tails


def _encode_all(items: list[AbiCodec], values: list[Any], places: list[str]) -> bytes:
    """Static values in place; dynamic ones behind, with their offset from here in place."""
    encoded = [item.encode(value, place) for item, value, place in zip(items, values, places, strict=True)]
    offset = sum(item.size for item in items)
    heads, tails = [], []
    for item, part in zip(items, encoded, strict=True):
        if item.dynamic:
            heads.append(_number(offset))
            tails.append(part)
            offset += len(part)
        else:
            heads.append(part)
    return b"".join(heads + tails)


def _decode_all(items: list[AbiCodec], data: bytes, start: int) -> list[Any]:
    """Refused when the values have more bytes than the data: many that lie on each other would be copied for
    each, and whoever sends a transaction chooses where they lie."""
    values, at, left = [], start, len(data)
    for item in items:
        value = item.decode(data, start + _length(data, at) if item.dynamic else at)
        if item.dynamic and isinstance(value, bytes | str):
            left -= len(value)
            if left < 0:
                raise _bad_data("its values lie on each other")
        values.append(value)
        at += item.size
    return values


def _number(value: int) -> bytes:
    return value.to_bytes(_WORD, "big")


def _length(data: bytes, at: int) -> int:
    value = int.from_bytes(_slice(data, at, _WORD), "big")
    if value > _MOST_ITEMS:
        raise _bad_data(f"a length or offset of {value} is not plausible")
    return value


def _slice(data: bytes, at: int, size: int) -> bytes:
    part = data[at : at + size]
    if len(part) != size:
        raise _bad_data(f"{len(data)} bytes are too few")
    return part


def _without_prefix(word: bytes, zeros: int, kind: str) -> bytes:
    if any(word[:zeros]):
        raise _bad_data(f"a word is too large for {kind}")
    return word[zeros:]


def _bad_data(reason: str) -> InvalidInput:
    return InvalidInput(f"the chain's data does not decode: {reason}", code="bad-abi-data", fault="platform")


def _refuse(value: object, where: str, wanted: str) -> NoReturn:
    text = repr(value)
    raise InvalidInput(
        f"{where} is {text if len(text) <= 80 else text[:77] + '...'}, not {wanted}", code="bad-call"
    )
