"""Sends what somebody else signed, for its fee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prixfixe.chain import transactions
from prixfixe.chain.client import MarketClient
from prixfixe.chain.lot_calls import signed_cancel
from prixfixe.chain.sending import Outcome
from prixfixe.errors import ConfigurationError
from prixfixe.keys import Signer
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Cancel, Withdraw
from prixfixe.protocol.signed_calls import SignedCall


@dataclass(frozen=True, slots=True)
class Carriage:
    """What sending a signed call brings and costs its sender. fee: paid to the sender's wallet. gas: at most.
    most_wei: what that gas costs at most, in the smallest unit of the chain's own coin."""

    fee: Money
    gas: int
    most_wei: int


def foresee(market: MarketClient, sender: str, call: SignedCall) -> Carriage:
    """What it will be, by the node's estimate. ConfigurationError when the call is for another market;
    ChainError with the contract's reason when it would be refused."""
    if call.domain != market.domain:
        raise ConfigurationError(
            f"this was signed for {call.domain.verifying_contract} on chain {call.domain.chain_id}, and the"
            f" market is {market.contract} on chain {market.chain_id}",
            code="wrong-market",
            hint="choose its context: --context NAME",
        )
    name, arguments = _call_of(call)
    planned = transactions.prepare(
        market.rpc,
        chain_id=market.chain_id,
        sender=sender,
        to=market.contract,
        data=market.encode_call(name, *arguments),
        context=name,
    )
    fee = Money(call.message.fee) if isinstance(call.message, Withdraw) else Money(0)
    return Carriage(fee, planned.gas, planned.gas * planned.max_fee)


def carry(market: MarketClient, signer: Signer, call: SignedCall) -> Outcome:
    """Sends it; its fee goes to the signer's wallet."""
    name, arguments = _call_of(call)
    return market.send(signer, name, *arguments)


def _call_of(call: SignedCall) -> tuple[str, list[Any]]:
    """The contract's function and its arguments."""
    message, order = call.message, call.order
    if isinstance(message, Cancel):
        assert order is not None  # `SignedCall` has it with a Cancel
        name, *arguments = signed_cancel(order, message.lot, call.signature)
        return name, arguments
    name = "withdrawBySig" if isinstance(message, Withdraw) else "bumpBySig"
    return name, [message, call.signature]
