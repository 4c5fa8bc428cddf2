"""One value has one canonical byte sequence, and only that one is read back."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.protocol import hashing
from prixfixe.protocol.canonical import canonical_digest, canonical_json, parse_canonical
from prixfixe.protocol.hashing import keccak256, sha256

_text = st.text(st.characters(exclude_categories=("Cs",)))
_leaves = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _text
values = st.recursive(_leaves, lambda inner: st.lists(inner) | st.dictionaries(_text, inner), max_leaves=20)


@given(values)
def test_a_value_reads_back_from_its_canonical_bytes(value: Any) -> None:
    assert parse_canonical(canonical_json(value)) == value


@given(values)
def test_the_bytes_are_those_of_rfc_8785_whichever_way_they_were_made(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


def test_what_only_the_slow_way_writes_right_goes_that_way() -> None:
    beyond = {"\ufb33": 1, "\U0001f600": 2}  # in UTF-16 the second comes first
    assert canonical_json(beyond) == rfc8785.dumps(beyond) == '{"\U0001f600":2,"\ufb33":1}'.encode()
    controls = "".join(map(chr, range(0x20))) + '\x7f\u2028"\\/'
    assert canonical_json([controls, True, None, -1]) == rfc8785.dumps([controls, True, None, -1])
    for refused in (2**53, {1: 2}, "\ud800", {"a": [1.0]}, b"bytes"):
        with pytest.raises(InvalidInput):
            canonical_json(refused)


def test_keys_are_sorted_and_nothing_is_between() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'.encode()


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b"01", b"", b"\xff", b'{"a":1.0}', b"1e2"]
)
def test_bytes_in_any_other_form_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_canonical(data)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'"\\"[[' * 2 + b"["])
def test_documents_nested_too_deep_are_refused_before_they_are_parsed(opening: bytes) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000_000)  # as some libraries do: the parser would then end the process
    try:
        with pytest.raises(InvalidInput):
            parse_canonical(opening * 200_000)
    finally:
        sys.setrecursionlimit(limit)
    deep = b"[" * 64 + b"]" * 64
    assert parse_canonical(b'{"a":' + deep[1:-1] + b"}") is not None


@pytest.mark.parametrize(
    "value", [1.5, {"a": [1, {"b": 0.1}]}, float("nan"), 2**53 + 1, "\ud800", {1: 2}, b"x"]
)
def test_what_two_readers_could_read_differently_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        canonical_json(value)


def test_a_float_is_found_by_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"\$\.a\[1\]\.b is the floating-point number 0\.1"):
        canonical_json({"a": [1, {"b": 0.1}]})


def test_the_hashes_are_the_published_ones() -> None:
    assert sha256(b"abc").hex().startswith("ba7816bf8f01cfea")
    assert keccak256(b"").hex().startswith("c5d2460186f7233c")
    assert canonical_digest({}) == sha256(b"{}")


def test_where_the_fast_keccak_is_missing_another_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its wheels are for Linux."""
    data = [b"", b"abc", bytes(range(256)) * 9]
    fast = [hashing.keccak256(each) for each in data]
    assert fast[0].hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    spec = importlib.util.spec_from_file_location("slow_hashing", hashing.__file__)
    assert spec is not None
    assert spec.loader is not None
    slow = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sha3", None)
    spec.loader.exec_module(slow)
    assert [slow.keccak256(each) for each in data] == fast
