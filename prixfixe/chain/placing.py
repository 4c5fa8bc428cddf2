"""Where a contract comes to lie, known before it is there (EIP-1014).

Through the deterministic deployment proxy, which many chains and every anvil have, a contract's address
follows from its code, its arguments and a salt: equal deployments have equal addresses on every chain, and
whoever sends the transaction first changes nothing about what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import address_bytes, format_address
from prixfixe.protocol.hashing import keccak256

if TYPE_CHECKING:
    from prixfixe.chain.rpc import Rpc

# https://github.com/Arachnid/deterministic-deployment-proxy: takes a salt and creation code.
PROXY: Final = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
PROXY_CODE: Final = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0"
    "3601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
)
MAX_SALT: Final = 2**256 - 1


def has_proxy(code: bytes) -> bool:
    """Whether the code found at `PROXY` is the proxy's, and nobody else's."""
    return code == PROXY_CODE


def proxy_there(rpc: Rpc) -> bool:
    """Whether the chain has the proxy."""
    return has_proxy(bytes.fromhex(rpc.call("eth_getCode", PROXY, "latest")[2:]))


def proxy_call(creation: bytes, salt: int) -> bytes:
    """What the proxy is sent to create a contract from its creation code, arguments included."""
    return _salt_bytes(salt) + creation


def proxied_address(creation: bytes, salt: int) -> str:
    """Where the proxy puts it."""
    parts = b"\xff" + address_bytes(PROXY) + _salt_bytes(salt) + keccak256(creation)
    return format_address(keccak256(parts)[12:])


def first_creation_of(contract: str) -> str:
    """Where the first contract that a contract creates lies: its nonce begins at 1 (EIP-161)."""
    return format_address(keccak256(b"\xd6\x94" + address_bytes(contract) + b"\x01")[12:])


def _salt_bytes(salt: int) -> bytes:
    if not 0 <= salt <= MAX_SALT:
        raise InvalidInput(f"the salt {salt} does not fit 256 bits", code="bad-salt")
    return salt.to_bytes(32, "big")
