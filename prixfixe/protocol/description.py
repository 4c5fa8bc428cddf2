"""What is signed on this market, for clients in any language: the EIP-712 types, and from where in a quote
each field of an order comes. Read from the structs themselves, so that it says what they are."""

from __future__ import annotations

from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.fields import Message
from prixfixe.protocol.orders import SIGNED_STRUCTS, Bid, Purchase
from prixfixe.protocol.quotes import Quote, Receipt
from prixfixe.protocol.replicas import Commitment
from prixfixe.protocol.surroundings import Surroundings
from prixfixe.protocol.typed_data import Domain, TypedStruct, abi_fields

_SIGNERS: dict[type[TypedStruct], str] = {
    Purchase: "the customer",
    Bid: "the customer",
    Quote: "the operator",
    Receipt: "the operator",
}
_FROM_QUOTE = {
    "bundle": "quote.offer_id",
    "product": "quote.product, as 32 bytes",
    "price": "quote.price",
    "quorum": "more than half of quote.replicas",
    "matcher": "domain.verifyingContract",
    "expiry": "quote.order_expiry, or sooner",
    "deliverBy": "quote.deliver_by",
    "nonce": "any 64 bits; it tells equal orders apart",
}


class TypedField(Message):
    name: str
    type: str


class TypedDomain(Message):
    """As wallets take it."""

    name: str
    version: str
    chainId: int
    verifyingContract: str


class Description(Message):
    """domain, types: for `eth_signTypedData_v4`, with a `primaryType` and a message. orders: of the two that
    a customer signs, where each field's value comes from. signers: who signs the papers that a client
    checks."""

    domain: TypedDomain
    types: dict[str, tuple[TypedField, ...]]
    orders: dict[str, dict[str, str]]
    signers: dict[str, str]


def describe(domain: Domain) -> Description:
    """What is signed for one contract on one chain."""
    structs = (*SIGNED_STRUCTS, Quote, Receipt, Commitment, Surroundings)
    sample = Bid(ZERO_ADDRESS, bytes(32), 0, 1, 1, 1, bytes(32), ZERO_ADDRESS, 0, 0, 0, 0)
    types = sample.to_eip712_json(domain)["types"]
    found = {"EIP712Domain": tuple(TypedField(**each) for each in types["EIP712Domain"])}
    for struct in structs:
        found[struct.__name__] = tuple(
            TypedField(name=spec.solidity_name, type=spec.solidity_type) for spec in abi_fields(struct)
        )
    return Description(
        domain=TypedDomain(**domain.to_json()),
        types=found,
        orders={
            struct.__name__: {
                spec.solidity_name: _FROM_QUOTE.get(spec.solidity_name, f"quote.{spec.solidity_name}")
                for spec in abi_fields(struct)
            }
            for struct in (Purchase, Bid)
        },
        signers={struct.__name__: who for struct, who in _SIGNERS.items()},
    )
