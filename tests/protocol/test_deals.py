"""Offers and deals hash as Solidity's `abi.encode` does, and pack as the contract packs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import format_address
from prixfixe.protocol.deals import (
    Deal,
    Due,
    Fact,
    Leg,
    Offer,
    lot_key,
    open_word,
    refusal_root,
    settled_word,
)
from prixfixe.protocol.hashing import keccak256

addresses = st.binary(min_size=20, max_size=20).map(format_address)
words = st.binary(min_size=32, max_size=32)
amounts = st.integers(0, 2**96 - 1)
legs = st.builds(Leg, addresses, addresses, amounts)
deals = st.builds(
    Deal,
    order=words,
    customer=addresses,
    bundle=words,
    lot=st.integers(0, 2**32 - 1),
    count=st.integers(0, 2**16 - 1),
    quorum=st.integers(0, 255),
    disputable=st.booleans(),
    price=amounts,
    fee=amounts,
    legs=st.lists(legs, min_size=1, max_size=5).map(tuple),
)
offers = st.builds(Offer, words, words, amounts, amounts, st.integers(1, 255), st.booleans())


@given(deals)
def test_a_deals_id_is_the_hash_of_its_packed_words_abi_encoding(deal: Deal) -> None:
    kinds = ["bytes32", "uint256", "uint256", "(uint256,address)[]"]
    legs = [(leg.share, leg.key) for leg in deal.legs]
    assert deal.id == keccak256(encode(kinds, [deal.order, deal.head, deal.money, legs]))


@given(deals)
def test_a_deal_packs_each_field_in_bits_of_its_own(deal: Deal) -> None:
    customer = int.from_bytes(bytes.fromhex(deal.customer[2:]), "big")
    head = deal.lot * 2**160 + deal.count * 2**192 + deal.quorum * 2**208 + deal.disputable * 2**216
    assert deal.head == customer + head
    assert deal.money == deal.price + deal.fee * 2**96
    for leg in deal.legs:
        assert leg.share == int(leg.provider, 16) + leg.pay * 2**160
    unpacked = tuple(Leg.unpack(leg.share, leg.key) for leg in deal.legs)
    assert Deal.unpack(deal.order, deal.bundle, deal.head, deal.money, unpacked) == deal


@pytest.mark.parametrize(("head", "money"), [(1 << 217, 0), (0, 1 << 192)])
def test_a_deal_with_unknown_bits_is_refused(head: int, money: int) -> None:
    leg = Leg("0x" + "00" * 20, "0x" + "00" * 20, 1)
    with pytest.raises(InvalidInput):
        Deal.unpack(bytes(32), bytes(32), head, money, (leg,))


@given(offers)
def test_an_offers_id_is_the_hash_of_its_abi_encoding(offer: Offer) -> None:
    fields = (offer.product, offer.application, offer.price, offer.max_cost, offer.quorum, offer.disputable)
    assert offer.id == keccak256(encode(["(bytes32,bytes32,uint96,uint96,uint8,bool)"], [fields]))


@given(words, words, st.integers(0, 2**32 - 1), st.integers(0, 2**48 - 1), st.integers(0, 2**96 - 1))
def test_the_words_of_a_lot_are_hashes_of_abi_encodings(
    deal: bytes, root: bytes, index: int, due: int, fact: int
) -> None:
    assert lot_key(deal, index) == keccak256(encode(["bytes32", "uint32"], [deal, index]))
    assert open_word(deal, due) == keccak256(encode(["bytes32", "uint48"], [deal, due]))
    assert settled_word(deal, root, fact) == keccak256(
        encode(["bytes32", "bytes32", "uint96"], [deal, root, fact])
    )
    assert refusal_root(due) == encode(["uint48"], [due])


@given(deals, offers)
def test_deals_and_offers_read_back_from_json(deal: Deal, offer: Offer) -> None:
    assert Deal.from_json(json.loads(json.dumps(deal.to_json()))) == deal
    assert Offer.from_json(json.loads(json.dumps(offer.to_json()))) == offer


@given(deals)
def test_a_deal_hashes_as_a_key_of_a_dictionary(deal: Deal) -> None:
    assert {deal: 1}[Deal.from_json(deal.to_json())] == 1


@pytest.mark.parametrize(
    ("bundle", "legs", "paid"),
    [(b"\x01" * 32, 1, {0}), (b"\x01" * 32, 3, {0}), (bytes(32), 1, {0}), (bytes(32), 3, {0, 1, 2, 3, 4, 5})],
    ids=["purchase", "purchase of three", "bid", "bid of three"],
)
def test_a_task_is_paid_for_what_it_came_to(bundle: bytes, legs: int, paid: set[int]) -> None:
    people = tuple(Leg(f"0x{at:040x}", f"0x{at:040x}", 1) for at in range(1, legs + 1))
    deal = Deal(bytes(32), people[0].provider, bundle, 0, 1, 1, False, 1, 0, people)
    assert {status for status in range(7) if deal.pays_for(status)} == paid


@given(st.integers(0, 2**40 - 1), st.booleans())
def test_a_due_packs_the_deadline_and_whether_it_was_hastened(deadline: int, hastened: bool) -> None:
    packed = Due(deadline, hastened).pack()
    assert packed & (2**40 - 1) == deadline
    assert bool(packed >> 40) == hastened
    assert Due.unpack(packed) == Due(deadline, hastened)


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**40 - 1), st.integers(0, 255))
def test_a_fact_packs_done_signers_time_and_cases_from_the_lowest_bit(
    done: int, signed: int, time: int, cases: int
) -> None:
    packed = Fact(done, signed, time, cases).pack()
    assert packed == done + (signed << 16) + (time << 32) + (cases << 72)
    assert Fact.unpack(packed) == Fact(done, signed, time, cases)


@pytest.mark.parametrize("due", [-1, 2**41, True, 1.0])
def test_a_due_with_unknown_bits_is_refused(due: Any) -> None:
    with pytest.raises(InvalidInput):
        Due.unpack(due)


def test_a_deal_needs_legs_and_an_offer_a_quorum() -> None:
    zero = "0x" + "00" * 20
    for wrong in ((), [Leg(zero, zero, 1)], (1,), (Leg(zero, zero, 1),) * 17):
        with pytest.raises(InvalidInput):
            Deal(bytes(32), zero, bytes(32), 0, 1, 1, False, 1, 0, wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        Offer(bytes(32), bytes(32), 1, 1, 0, False)
    with pytest.raises(InvalidInput, match="disputable"):
        Offer(bytes(32), bytes(32), 1, 1, 1, 1)  # type: ignore[arg-type]
