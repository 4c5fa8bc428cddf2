"""Signatures: what the contract takes is taken, the rest is refused, and errors say hash and signer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.errors import ConfigurationError, InvalidInput, SignatureError
from prixfixe.protocol.signatures import (
    CURVE_ORDER,
    address_of_key,
    compact,
    expand,
    message_digest,
    parse_signature,
    recover,
    require_signer,
    sign,
)

keys = st.integers(1, CURVE_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)
KEY, DIGEST = b"\x11" * 32, b"\x22" * 32


@given(keys, digests)
def test_both_forms_recover_to_the_signer(key: bytes, digest: bytes) -> None:
    signature = sign(digest, key)
    assert len(signature) == 65
    assert recover(digest, signature) == recover(digest, compact(signature)) == address_of_key(key)
    assert expand(compact(signature)) == signature == expand(signature)


def test_signatures_and_addresses_are_those_of_eth_account() -> None:
    from eth_account import Account
    from eth_account.messages import encode_defunct

    account = Account.from_key(KEY)
    assert account.address == address_of_key(KEY)
    signed = account.sign_message(encode_defunct(text="sign in, é"))
    assert sign(message_digest("sign in, é"), KEY) == bytes(signed.signature)


@given(keys, digests)
def test_a_signature_in_its_second_high_form_is_refused(key: bytes, digest: bytes) -> None:
    signature = sign(digest, key)
    high = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    other = signature[:32] + high.to_bytes(32, "big") + bytes([55 - signature[64]])
    with pytest.raises(SignatureError, match="high s"):
        recover(digest, other)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_recover_to_some_address_or_are_refused(signature: bytes) -> None:
    try:
        signer = recover(DIGEST, signature)
    except SignatureError as error:
        said = error.message
    else:
        said = DIGEST.hex() + signer
    assert DIGEST.hex() in said


@pytest.mark.parametrize("v", [0, 1, 26, 29, 35, 255])
def test_a_recovery_byte_that_the_contract_does_not_take_is_refused(v: int) -> None:
    with pytest.raises(SignatureError, match=f"v = {v}"):
        recover(DIGEST, sign(DIGEST, KEY)[:64] + bytes([v]))


def test_a_stranger_is_named_with_the_hash() -> None:
    signature, expected = sign(DIGEST, KEY), address_of_key(b"\x12" * 32)
    require_signer(DIGEST, signature, address_of_key(KEY))
    with pytest.raises(SignatureError) as refused:
        require_signer(DIGEST, signature, expected)
    assert DIGEST.hex() in refused.value.message
    assert refused.value.values == {
        "digest": "0x" + DIGEST.hex(),
        "signer": address_of_key(KEY),
        "expected": expected,
    }


@pytest.mark.parametrize(
    "text", ["", "0x", "0x" + "zz" * 65, "0x" + "00" * 63, "00" * 65, None, 5, "0x" + " 0" * 65]
)
def test_text_of_no_signature_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput):
        parse_signature(text)


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32, b"\x01" * 31, b""])
def test_a_bad_key_is_refused_without_being_shown(key: bytes) -> None:
    with pytest.raises(ConfigurationError) as refused:
        sign(DIGEST, key)
    assert refused.value.__cause__ is None
    assert not key or key.hex() not in str(refused.value)


def test_only_hashes_are_signed() -> None:
    with pytest.raises(InvalidInput):
        sign(b"short", KEY)
