"""Addresses are read with their checksum and written in it."""

from __future__ import annotations

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import address_bytes, format_address, parse_address

# The examples of EIP-55.
EXAMPLES = [
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize("address", EXAMPLES)
def test_the_standards_examples_stay_as_they_are(address: str) -> None:
    assert parse_address(address) == address
    assert parse_address("0x" + address[2:].lower()) == address
    assert parse_address("0x" + address[2:].upper()) == address


@given(st.binary(min_size=20, max_size=20))
def test_bytes_and_text_are_one_to_one(raw: bytes) -> None:
    text = format_address(raw)
    assert text == to_checksum_address(raw)
    assert address_bytes(parse_address(text)) == raw


@pytest.mark.parametrize("address", EXAMPLES)
def test_one_letter_in_the_wrong_case_is_refused(address: str) -> None:
    at = next(at for at, char in enumerate(address) if at > 1 and char.isalpha())
    with pytest.raises(InvalidInput, match="checksum"):
        parse_address(address[:at] + address[at].swapcase() + address[at + 1 :])


@pytest.mark.parametrize(
    "wrong", [None, 5, "", "0x", "0x" + "0" * 39, "0x" + "0" * 41, "0" * 42, "0X" + "0" * 40, b"x"]
)
def test_what_is_no_address_is_named_in_the_error(wrong: object) -> None:
    with pytest.raises(InvalidInput, match="provider is"):
        parse_address(wrong, name="provider")
