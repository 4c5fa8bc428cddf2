"""Sign-in messages (EIP-4361): composed as the standard prints them, and read without leniency."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.protocol.signatures import message_digest, recover, sign
from prixfixe.protocol.siwe import SignIn

ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
MESSAGE = SignIn(
    domain="127.0.0.1:8600",
    address=ADDRESS,
    uri="http://127.0.0.1:8600",
    chain_id=31337,
    nonce="32891756abcdefgh",
    issued_at="2026-01-02T03:04:05Z",
)
TEXT = f"""127.0.0.1:8600 wants you to sign in with your Ethereum account:
{ADDRESS}


URI: http://127.0.0.1:8600
Version: 1
Chain ID: 31337
Nonce: 32891756abcdefgh
Issued At: 2026-01-02T03:04:05Z"""


def test_a_message_is_written_as_the_standard_prints_it() -> None:
    assert MESSAGE.compose() == TEXT
    assert SignIn.parse(TEXT) == MESSAGE


def test_statement_and_expiration_have_their_places() -> None:
    message = replace(MESSAGE, statement="I accept the terms.", expiration="2026-01-02T04:04:05.5+01:00")
    lines = message.compose().split("\n")
    assert lines[2:5] == ["", "I accept the terms.", ""]
    assert lines[-1] == "Expiration Time: 2026-01-02T04:04:05.5+01:00"
    assert SignIn.parse(message.compose()) == message
    assert message.expires == message.issued + 0.5


@pytest.mark.parametrize(
    "changed",
    [
        TEXT + "\n",
        TEXT + "\nRequest ID: 1",
        TEXT.replace("Version: 1", "Version: 2"),
        TEXT.replace("Chain ID: 31337", "Chain ID: 031337"),
        TEXT.replace("Nonce: ", "Nonce:  "),
        TEXT.replace("Nonce: 32891756abcdefgh", "Nonce: 1"),
        TEXT.replace(ADDRESS, ADDRESS.lower()),
        TEXT.replace(ADDRESS, ADDRESS.swapcase()),
        TEXT.replace("\n\n\n", "\n\n"),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("2026-01-02", "2026-13-02"),
        TEXT.replace("2026-01-02T03:04:05Z", "yesterday"),
        TEXT.replace("sign in", "log in"),
        TEXT.replace("URI: http://", "URI: "),
        "",
    ],
)
def test_anything_else_is_refused(changed: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        SignIn.parse(changed)
    assert refusal.value.code in {"bad-sign-in", "bad-address"}


@given(st.text(max_size=300))
def test_no_text_makes_the_reader_fail_in_another_way(text: str) -> None:
    with pytest.raises(InvalidInput):
        SignIn.parse(text)


def test_the_signature_is_the_one_of_personal_sign() -> None:
    # EIP-191 digest of "hello", as eth_account's `defunct_hash_message` gives it.
    assert message_digest(b"hello".decode()).hex() == (
        "50b2c43fd39106bafbba0da34fc430e1f91e3c96ea2acee2bc34119f92b37750"
    )
    key = b"\x01" * 32
    digest = message_digest(TEXT)
    assert recover(digest, sign(digest, key)) == "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1"
