"""Transactions are encoded as eth-account encodes them, sent once, waited for, and explained when they
fail."""

from __future__ import annotations

import threading

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.chain import transactions
from prixfixe.chain.reverts import explain
from prixfixe.chain.transactions import Transaction, rlp
from prixfixe.development_keys import development_key
from prixfixe.errors import ChainError, DevelopmentKeyRefused, InvalidInput, Unavailable
from prixfixe.keys import LocalSigner, development_signer
from prixfixe.protocol.money import Money
from tests.support.market import LocalMarket

SIGNER = development_signer(0)
_amounts = st.integers(0, 2**64 - 1)


@given(_amounts, _amounts, _amounts, st.integers(21_000, 2**40), st.binary(max_size=300), st.booleans())
def test_a_signed_transaction_is_eth_accounts_byte_for_byte(
    nonce: int, fee: int, tip: int, gas: int, data: bytes, creates: bool
) -> None:
    to = None if creates else "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    mine = Transaction(31337, nonce, to, data, gas, fee, tip).sign(SIGNER)
    fields = {
        "type": 2,
        "chainId": 31337,
        "nonce": nonce,
        "gas": gas,
        "maxFeePerGas": fee,
        "maxPriorityFeePerGas": tip,
        "data": data,
        "value": 0,
        **({} if to is None else {"to": to}),
    }
    theirs = Account.sign_transaction(fields, development_key(0))
    assert mine.raw == bytes(theirs.raw_transaction)
    assert mine.hash == "0x" + bytes(theirs.hash).hex()


def test_rlp_is_the_yellow_papers() -> None:
    assert rlp(b"dog") == b"\x83dog"
    assert rlp([b"cat", b"dog"]) == b"\xc8\x83cat\x83dog"
    assert rlp(b"") == rlp(0) == b"\x80"
    assert rlp(15) == b"\x0f"
    assert rlp(1024) == b"\x82\x04\x00"
    assert rlp([[], [[]], [[], [[]]]]) == bytes.fromhex("c7c0c1c0c3c0c1c0")
    assert rlp(b"x" * 56) == b"\xb8\x38" + b"x" * 56
    for wrong in (-1, "dog", None):
        with pytest.raises(InvalidInput):
            rlp(wrong)


def test_a_replacement_pays_at_least_a_tenth_more() -> None:
    old = Transaction(31337, 0, None, b"", 21_000, 100, 7)
    new = old.with_higher_fees()
    assert new.max_fee >= 110
    assert new.priority_fee >= 8
    assert new.nonce == old.nonce


def test_a_development_key_signs_nothing_for_another_chain() -> None:
    with pytest.raises(DevelopmentKeyRefused):
        Transaction(1, 0, None, b"", 21_000, 1, 1).sign(SIGNER)


@pytest.mark.chain
def test_sending_the_same_transaction_twice_is_no_error(market: LocalMarket) -> None:
    client, rpc = market.client, market.chain.rpc
    rpc.call("evm_setAutomine", False)
    try:
        data = client.encode_call("bump", 0)
        signed = transactions.prepare(
            rpc, chain_id=31337, sender=market.customer.address, to=client.contract, data=data
        ).sign(market.customer)
        transactions.broadcast(rpc, signed)
        transactions.broadcast(rpc, signed)
        assert transactions.find_receipt(rpc, signed.hash) is None
        with pytest.raises(Unavailable) as late:
            transactions.wait_for_receipt(rpc, signed.hash, timeout_seconds=0.05)
        assert late.value.values["transaction"] == signed.hash
        threading.Timer(0.1, lambda: rpc.call("evm_mine")).start()
        assert transactions.wait_for_receipt(rpc, signed.hash, timeout_seconds=20).succeeded
    finally:
        rpc.call("evm_setAutomine", True)


@pytest.mark.chain
def test_a_used_nonce_is_told_apart(market: LocalMarket) -> None:
    signed = transactions.prepare(
        market.chain.rpc,
        chain_id=31337,
        sender=market.customer.address,
        to=market.client.contract,
        data=market.client.encode_call("bump", 0),
        nonce=0,
    ).sign(market.customer)
    with pytest.raises(ChainError) as refused:
        transactions.broadcast(market.chain.rpc, signed)
    assert (refused.value.code, refused.value.retryable) == ("nonce-too-low", True)


@pytest.mark.chain
def test_an_account_without_coin_for_gas_is_told_so(market: LocalMarket) -> None:
    poor = LocalSigner(b"\x42" * 32, chain_id=31337)
    with pytest.raises(ChainError) as refused:
        market.client.bump(poor, 0)
    assert refused.value.code == "no-gas-money"


@pytest.mark.chain
def test_a_transaction_that_was_mined_and_reverted_says_why(market: LocalMarket) -> None:
    """Two withdrawals of all the money pass their estimates together; the second is mined and reverts."""
    rpc, client = market.chain.rpc, market.client
    data = client.encode_call("withdraw", market.customer.address, Money.parse("100").units)
    rpc.call("evm_setAutomine", False)
    try:
        signed = []
        for _ in range(2):
            prepared = transactions.prepare(
                rpc,
                chain_id=31337,
                sender=market.customer.address,
                to=client.contract,
                data=data,
                gas=300_000,
            )
            signed.append(prepared.sign(market.customer))
            transactions.broadcast(rpc, signed[-1])
        rpc.call("evm_mine")
    finally:
        rpc.call("evm_setAutomine", True)
    first, second = (transactions.wait_for_receipt(rpc, one.hash) for one in signed)
    assert (first.succeeded, second.succeeded) == (True, False)
    with pytest.raises(ChainError) as reverted:
        transactions.require_success(rpc, signed[1], second, "withdraw")
    assert reverted.value.revert == "MarketFundsShort"


@pytest.mark.chain
def test_a_deposit_without_the_token_is_explained_in_the_tokens_own_error(market: LocalMarket) -> None:
    with pytest.raises(ChainError) as refused:
        market.client.deposit(market.stranger, Money.parse("5"))
    assert refused.value.revert == "ERC20InsufficientBalance"
    assert "holds $0.00 of the token and $5.00 is needed" in refused.value.message


def test_a_revert_that_nobody_knows_is_shown_as_data() -> None:
    assert explain(bytes.fromhex("deadbeef"), context="settle").code == "unknown-revert"
    assert "0xdeadbeef" in explain(bytes.fromhex("deadbeef"), context="settle").message
    assert explain(b"", context="settle").message == "settle: the contract refused without a known reason"


def test_a_revert_with_a_text_is_the_text() -> None:
    data = (
        bytes.fromhex("08c379a0")
        + (32).to_bytes(32, "big")
        + (2).to_bytes(32, "big")
        + b"no".ljust(32, b"\0")
    )
    assert explain(data, context="call").message == "call: no"
