"""The bytes of the original are read once: hashed, and held against UTF-8 when nobody said what they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prixfixe.tables import Engine, PivotRequest
from prixfixe.tables.convert import convert
from prixfixe.tables.form import pivot_parameters
from prixfixe.tables.original import NotUtf8, Utf8

REQUEST = PivotRequest.from_parameters(pivot_parameters(["name"], values=["amount:sum"]))
BYTES = (
    st.binary()
    | st.text().map(str.encode)
    | st.tuples(st.text(), st.binary()).map(lambda pair: pair[0].encode() + pair[1])
)


@given(BYTES, st.integers(1, 5))
@settings(deadline=None)
def test_the_first_byte_at_fault_is_the_one_that_decoding_names(data: bytes, piece: int) -> None:
    found = Utf8()
    for at in range(0, len(data), piece):
        found.feed(data[at : at + piece])
    found.feed(b"")
    assert found.odd == first_fault(data)


def first_fault(data: bytes) -> int | None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return None


@pytest.mark.parametrize("row", [b"Ad\xe9,1,x\n", b"Ada,1,\xe9\n"], ids=["used", "unused"])
def test_a_byte_that_is_no_utf8_ends_a_conversion_when_no_encoding_was_declared(
    tmp_path: Path, row: bytes
) -> None:
    source = tmp_path / "t.csv"
    source.write_bytes(b"name,amount,other\n" + b"Bob,2,yyyyyyyyyyyyyyyyyy\n" * 100_000 + row)
    with pytest.raises(NotUtf8) as refused:
        convert(source, REQUEST, tmp_path / "t.parquet", engine=Engine(threads=1), undeclared=True)
    assert str(source.read_bytes().index(b"\xe9")) in refused.value.message.replace(",", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


def test_the_digest_is_of_all_that_was_handed_in(tmp_path: Path) -> None:
    source = tmp_path / "t.csv"
    source.write_bytes(b"name,amount\n" + "é,2\n".encode() * 400_000)
    done = convert(source, REQUEST, tmp_path / "t.parquet", engine=Engine(threads=1), undeclared=True)
    assert done.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
