"""What a token's owner signs so that the market may pull a deposit: EIP-2612 and EIP-3009.

The domain is the token's own, not the market's.
"""

from __future__ import annotations

from dataclasses import dataclass

from prixfixe.protocol.addresses import address_bytes, parse_address
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.typed_data import Address, Bytes32, TypedStruct, Uint256


@dataclass(frozen=True, slots=True)
class Permit(TypedStruct):
    """EIP-2612: `spender` may take `value` from `owner`, when it is shown by `deadline`. nonce: the owner's
    present one at the token, so a permit works once."""

    owner: Address
    spender: Address
    value: Uint256
    nonce: Uint256
    deadline: Uint256


@dataclass(frozen=True, slots=True)
class ReceiveWithAuthorization(TypedStruct):
    """EIP-3009: `to`, and nobody else, may fetch `value` from `from_`, after `valid_after` and before
    `valid_before`. nonce: any word that was not used; for the market `deposit_nonce`."""

    from_: Address
    to: Address
    value: Uint256
    valid_after: Uint256
    valid_before: Uint256
    nonce: Bytes32


def deposit_nonce(account: str, salt: bytes) -> bytes:
    """The nonce that the market demands: `keccak256(abi.encode(account, salt))`. So whoever sends the
    authorisation can credit no other account."""
    return keccak256(bytes(12) + address_bytes(parse_address(account, name="account")) + salt)
