"""Our small ABI codec agrees with eth-abi, and refuses what is not exactly of a type."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.chain import artefacts
from prixfixe.chain.abi import Function, parse_function, snake_case
from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import format_address
from prixfixe.protocol.deals import Leg
from prixfixe.protocol.hashing import keccak256

_SIMPLE = {
    "uint8": st.integers(0, 255),
    "uint96": st.integers(0, 2**96 - 1),
    "uint256": st.integers(0, 2**256 - 1),
    "address": st.binary(min_size=20, max_size=20).map(format_address),
    "bool": st.booleans(),
    "bytes32": st.binary(min_size=32, max_size=32),
    "bytes4": st.binary(min_size=4, max_size=4),
    "bytes": st.binary(max_size=70),
    "string": st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
}


def _simple(kind: str) -> st.SearchStrategy[tuple[dict[str, Any], str, Any]]:
    return _SIMPLE[kind].map(lambda value: ({"name": "", "type": kind}, kind, value))


def _array(kind: str) -> st.SearchStrategy[tuple[dict[str, Any], str, Any]]:
    return st.lists(_SIMPLE[kind], max_size=4).map(
        lambda values: ({"name": "", "type": f"{kind}[]"}, f"{kind}[]", values)
    )


def _struct(parts: list[tuple[dict[str, Any], str, Any]]) -> tuple[dict[str, Any], str, Any]:
    components = [{**field, "name": f"f{at}"} for at, (field, _, _) in enumerate(parts)]
    kind = "(" + ",".join(name for _, name, _ in parts) + ")"
    return (
        {"name": "", "type": "tuple", "components": components},
        kind,
        tuple(value for _, _, value in parts),
    )


_plain = st.sampled_from(sorted(_SIMPLE)).flatmap(lambda kind: st.one_of(_simple(kind), _array(kind)))
arguments = st.lists(
    st.recursive(_plain, lambda inner: st.lists(inner, min_size=1, max_size=3).map(_struct)), max_size=4
)


def _plainly(value: Any) -> Any:
    """Our dictionaries and eth-abi's lower-case addresses, in one shape."""
    if isinstance(value, dict):
        return tuple(_plainly(item) for item in value.values())
    if isinstance(value, list | tuple):
        return tuple(_plainly(item) for item in value)
    return value.lower() if isinstance(value, str) and value.startswith("0x") else value


@given(arguments)
def test_calls_are_encoded_and_decoded_as_by_eth_abi(parts: list[tuple[dict[str, Any], str, Any]]) -> None:
    function = parse_function({"name": "f", "inputs": [field for field, _, _ in parts]})
    kinds, values = [kind for _, kind, _ in parts], [value for _, _, value in parts]
    data = function.encode_call(values)
    assert data[:4] == keccak256(f"f({','.join(kinds)})".encode())[:4]
    assert data[4:] == encode(kinds, values)
    assert _plainly(function.decode_call(data)) == _plainly(decode(kinds, data[4:]))


@given(st.binary(max_size=400))
def test_garbage_decodes_to_something_or_is_refused_and_nothing_else(data: bytes) -> None:
    function = artefacts.load("Market").function("matchPurchase")
    try:
        function.decode_call(bytes(4) + data)
    except InvalidInput as error:
        code = error.code
    else:
        code = "bad-abi-data"
    assert code == "bad-abi-data"


def _one(kind: str) -> Function:
    return parse_function(
        {"name": "f", "inputs": [{"name": "x", "type": kind}], "outputs": [{"name": "", "type": kind}]}
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint8", True),
        ("uint8", 1.0),
        ("uint8", "1"),
        ("bool", 1),
        ("address", "0x1"),
        ("bytes32", b"x"),
        ("bytes32", "0x" + "00" * 32),
        ("bytes", "0x00"),
        ("string", b"x"),
        ("uint8[]", 5),
        ("uint8[]", b"\1\2"),
        ("uint8[]", [1, 300]),
    ],
)
def test_a_value_that_is_not_of_the_type_is_refused_by_name(kind: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=r"f\.x"):
        _one(kind).encode_call([value])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("uint8", b"\xff" * 32),
        ("bool", (2).to_bytes(32, "big")),
        ("address", b"\x01" * 32),
        ("bytes4", b"\x01" * 32),
        ("uint8", b"\x01"),
        ("bytes", b"\xff" * 32),
        ("uint8[]", (32).to_bytes(32, "big") + b"\xff" * 32),
    ],
)
def test_data_with_bits_outside_of_its_type_or_too_short_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="does not decode"):
        _one(kind).decode_result(data)


def test_a_struct_is_one_of_our_values_a_mapping_or_a_sequence() -> None:
    components = [
        {"name": name, "type": kind}
        for name, kind in (("provider", "address"), ("key", "address"), ("pay", "uint96"))
    ]
    function = parse_function(
        {"name": "f", "inputs": [{"name": "leg", "type": "tuple", "components": components}]}
    )
    leg = Leg("0x" + "11" * 20, "0x" + "22" * 20, 5)
    data = function.encode_call([leg])
    assert function.encode_call([{"provider": leg.provider, "key": leg.key, "pay": 5}]) == data
    assert function.encode_call([(leg.provider, leg.key, 5)]) == data
    for wrong in ({"provider": leg.provider}, (leg.provider,), object()):
        with pytest.raises(InvalidInput):
            function.encode_call([wrong])


def test_names_become_snake_case() -> None:
    assert [snake_case(name) for name in ("maxFeeBps", "from", "float_", "deliverBy")] == [
        "max_fee_bps",
        "from_",
        "float_",
        "deliver_by",
    ]


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_values_that_lie_on_each_other_are_refused_before_they_are_copied() -> None:
    """Whoever sends a transaction lays out its call data: 128 KiB could stand for gigabytes."""
    many = artefacts.load("Market").function("settleMany")
    honest = many.encode_call([[b"call"] * 50])
    assert many.decode_call(honest) == {"calls": [b"call"] * 50}
    item = _word(1000) + bytes(1024)
    apart = _word(32) + _word(2) + _word(64) + _word(64 + len(item)) + item + item
    assert many.decode_call(many.selector + apart) == {"calls": [bytes(1000)] * 2}
    same = _word(32) + _word(9) + _word(9 * 32) * 9 + item
    with pytest.raises(InvalidInput, match="lie on each other"):
        many.decode_call(many.selector + same)


def test_an_array_that_says_to_be_longer_than_its_data_is_refused_before_it_is_made() -> None:
    many = artefacts.load("Market").function("settleMany")
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="too few"):
        many.decode_call(many.selector + _word(32) + _word(1 << 24) + bytes(64))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 20


def test_many_addresses_are_as_long_as_they_are() -> None:
    entry = {"type": "function", "name": "f", "inputs": [{"name": "a", "type": "address[]"}], "outputs": []}
    function = parse_function(entry)
    owners = [format_address(bytes([number]) * 20) for number in range(40)]
    assert function.decode_call(function.encode_call([owners])) == {"a": owners}
