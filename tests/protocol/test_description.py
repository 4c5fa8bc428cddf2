"""What clients in other languages are told of what is signed."""

from __future__ import annotations

from prixfixe.development_keys import ADDRESSES
from prixfixe.protocol.description import describe
from prixfixe.protocol.orders import Bid, Purchase
from prixfixe.protocol.typed_data import Domain

DOMAIN = Domain(31337, ADDRESSES[0])


def test_the_types_are_those_that_wallets_are_given() -> None:
    told = describe(DOMAIN).model_dump(mode="json")
    order = Purchase(ADDRESSES[3], bytes(32), 1, 1, 1, bytes(32), 2, 3, 0, 4)
    wallet = order.to_eip712_json(DOMAIN)
    assert told["domain"] == wallet["domain"]
    assert {name: told["types"][name] for name in wallet["types"]} == wallet["types"]


def test_each_field_of_an_order_has_a_source() -> None:
    told = describe(DOMAIN)
    for order in (Purchase, Bid):
        named = order.encode_type().partition("(")[2].removesuffix(")").split(",")
        assert list(told.orders[order.__name__]) == [each.partition(" ")[2] for each in named]
    assert told.orders["Purchase"]["bundle"] == "quote.offer_id"
    assert told.orders["Purchase"]["deliverBy"] == "quote.deliver_by"
    assert told.signers["Receipt"] == "the operator"
