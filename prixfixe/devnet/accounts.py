"""The public accounts of a local chain, by their index in its well-known mnemonic."""

from __future__ import annotations

from prixfixe.development_keys import ADDRESSES, development_key


def development_address(index: int) -> str:
    """EIP-55 address of account `index`."""
    return ADDRESSES[index]


def development_private_key(index: int) -> str:
    """Its private key, 0x-hex: printed for developers, known to everyone, refused off local chains."""
    return "0x" + development_key(index).hex()
