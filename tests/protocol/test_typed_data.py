"""Signed structs: packed as EIP-712 says, held to their types, the same in JSON, Python and Solidity."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import format_address
from prixfixe.protocol.orders import SIGNED_STRUCTS, Ask, Bid, Purchase, Result
from prixfixe.protocol.signatures import parse_signature, recover
from prixfixe.protocol.typed_data import Domain, TypedStruct, abi_fields, parse_bytes32
from tests.protocol import make_vectors

# As DESIGN.md section 5 and Types.sol have them; the order of the fields is the type's.
TYPES = {
    "Ask(address provider,bytes32 product,uint96 price,uint16 slots,uint8 kinds,address customer,"
    "address matcher,uint40 expiry,uint32 era)",
    "Bid(address customer,bytes32 product,uint96 price,uint32 tasks,uint16 lot,uint8 quorum,bytes32 job,"
    "address matcher,uint40 expiry,uint40 deliverBy,uint32 era,uint64 nonce)",
    "Purchase(address customer,bytes32 bundle,uint96 price,uint32 tasks,uint16 lot,bytes32 job,uint40 expiry,"
    "uint40 deliverBy,uint32 era,uint64 nonce)",
    "Result(bytes32 deal,bytes32 root,uint16 done)",
    "Withdraw(address account,address to,uint96 amount,uint96 fee,uint64 nonce,uint40 deadline)",
    "Cancel(bytes32 order,uint32 lot)",
    "Bump(address account,uint32 era)",
}
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
DOMAIN = Domain(31337, ADDRESS)


def values_of(cls: type[TypedStruct]) -> st.SearchStrategy[dict[str, Any]]:
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for spec in abi_fields(cls):
        if spec.solidity_type == "address":
            fields[spec.name] = st.binary(min_size=20, max_size=20).map(format_address)
        elif spec.solidity_type == "bytes32":
            fields[spec.name] = st.binary(min_size=32, max_size=32)
        else:
            least, largest = make_vectors.LIMITS.get((cls, spec.name), (0, None))
            fields[spec.name] = st.integers(least, spec.largest if largest is None else largest)
    return st.fixed_dictionaries(fields)


structs = st.sampled_from(SIGNED_STRUCTS).flatmap(
    lambda cls: values_of(cls).map(lambda values: cls(**values))
)


def test_the_types_are_the_contracts() -> None:
    assert {cls.encode_type() for cls in SIGNED_STRUCTS} == TYPES


def test_the_vectors_that_solidity_reads_are_fresh() -> None:
    for path, text in make_vectors.files().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is stale: run tests/protocol/make_vectors.py"
        )


def test_every_vector_recovers_to_its_signer() -> None:
    classes = {cls.__name__: cls for cls in SIGNED_STRUCTS}
    vectors = json.loads((make_vectors.FOLDER / "typed_data.json").read_text(encoding="utf-8"))
    assert {vector["type"] for vector in vectors} == set(classes)
    for vector in vectors:
        struct = classes[vector["type"]].from_json(vector["message"])
        domain = Domain(vector["domain"]["chainId"], vector["domain"]["verifyingContract"])
        digest = struct.digest(domain)
        assert digest == parse_bytes32(vector["digest"])
        assert struct.struct_hash() == parse_bytes32(vector["structHash"])
        for form in ("signature", "compactSignature"):
            assert recover(digest, parse_signature(vector[form])) == vector["signer"]


@settings(max_examples=60)
@given(structs)
def test_the_digest_is_the_one_of_a_general_encoder(struct: TypedStruct) -> None:
    from eth_account.messages import encode_typed_data
    from eth_utils.crypto import keccak

    signable = encode_typed_data(full_message=struct.to_eip712_json(DOMAIN))
    assert keccak(b"\x19" + signable.version + signable.header + signable.body) == struct.digest(DOMAIN)


@given(structs)
def test_json_is_plain_and_reads_back(struct: TypedStruct) -> None:
    text = json.dumps(struct.to_json())
    assert type(struct).from_json(json.loads(text)) == struct
    assert type(struct).from_json(json.loads(text, parse_int=lambda digits: int(float(digits)))) == struct


@given(structs, st.data())
def test_a_value_outside_of_its_type_is_refused_by_name(struct: TypedStruct, data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(abi_fields(type(struct))))
    wrong: list[object] = [None, 1.0, True, -1, "", "7", [], b"", b"\0" * 31, b"\0" * 33, spec.largest + 1]
    if spec.solidity_type == "bytes32":
        wrong += [0, "0x" + "00" * 32]
    value = data.draw(st.sampled_from([item for item in wrong if not (item == 1 and type(item) is int)]))
    with pytest.raises(InvalidInput, match=spec.solidity_name):
        replace(struct, **{spec.name: value})  # type: ignore[type-var]


@pytest.mark.parametrize(
    "change", [{"extra": 1}, {"done": None}, {"done": "1"}, {"done": True}, {"root": "0x00"}]
)
def test_json_with_other_fields_or_types_is_refused(change: dict[str, object]) -> None:
    good = Result(bytes(32), bytes(32), 1).to_json()
    with pytest.raises(InvalidInput):
        Result.from_json({**good, **change})
    with pytest.raises(InvalidInput, match="lacks root"):
        Result.from_json({name: value for name, value in good.items() if name != "root"})
    with pytest.raises(InvalidInput, match="not a JSON object"):
        Result.from_json([])  # type: ignore[arg-type]


def order(**change: Any) -> Purchase:
    fields: dict[str, Any] = {
        "customer": ADDRESS, "bundle": bytes(32), "price": 2_000_000, "tasks": 10, "lot": 4, "job": bytes(32),
        "expiry": 1, "deliver_by": 2, "era": 0, "nonce": 2**64 - 1,
    }  # fmt: skip
    return Purchase(**{**fields, **change})


def test_wide_numbers_are_decimal_text_in_one_spelling() -> None:
    message = order().to_json()
    assert (message["price"], message["nonce"]) == ("2000000", str(2**64 - 1))
    assert Purchase.from_json({**message, "price": 2_000_000}) == order()
    for spelling in ("02000000", "+2000000", " 2000000", "2_000_000", "0x1e8480", "2e6", "٢", "", "9" * 40):
        with pytest.raises(InvalidInput, match=r"Purchase\.price"):
            Purchase.from_json({**message, "price": spelling})


def test_an_address_is_kept_in_its_checksum_form() -> None:
    assert order(customer=ADDRESS.lower()) == order()


def test_a_struct_never_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        order().price = 1  # type: ignore[misc]


def test_another_chain_or_contract_makes_another_digest() -> None:
    digests = {
        order().digest(domain)
        for domain in (
            DOMAIN,
            Domain(1, ADDRESS),
            Domain(31337, "0x" + "11" * 20),
            Domain(31337, ADDRESS, version="2"),
        )
    }
    assert len(digests) == 4


@pytest.mark.parametrize("chain_id", [0, -1, True, "1", 2**256])
def test_a_domain_needs_a_chain(chain_id: object) -> None:
    with pytest.raises(InvalidInput):
        Domain(chain_id, ADDRESS)  # type: ignore[arg-type]


def test_a_domain_reads_back_from_its_json() -> None:
    assert Domain.from_json(DOMAIN.to_json()) == DOMAIN


def test_lots_cover_all_tasks_and_the_last_may_be_short() -> None:
    purchase = order(tasks=10, lot=4)
    assert purchase.lots == 3
    assert [purchase.lot_size(index) for index in range(3)] == [4, 4, 2]
    for outside in (-1, 3):
        with pytest.raises(InvalidInput, match="lot"):
            purchase.lot_size(outside)
    assert str(purchase.total) == "$20.00"


@pytest.mark.parametrize("change", [{"tasks": 0}, {"lot": 0}])
def test_an_order_of_nothing_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        order(**change)


@pytest.mark.parametrize("change", [{"slots": 0}, {"kinds": 0}, {"kinds": 4}])
def test_an_ask_that_nothing_can_match_is_refused(change: dict[str, int]) -> None:
    fields: dict[str, Any] = {
        "provider": ADDRESS, "product": bytes(32), "price": 1, "slots": 1, "kinds": 3, "customer": ADDRESS,
        "matcher": ADDRESS, "expiry": 1, "era": 0,
    }  # fmt: skip
    Ask(**fields)
    with pytest.raises(InvalidInput, match=next(iter(change))):
        Ask(**{**fields, **change})


def test_a_bid_counts_its_lots_too() -> None:
    bid = Bid(ADDRESS, bytes(32), 3, 5, 2, 1, bytes(32), ADDRESS, 1, 2, 0, 1)
    assert (bid.lots, bid.lot_size(2), bid.total.units) == (3, 1, 15)
