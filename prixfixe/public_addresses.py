"""Which addresses untrusted wishes may go to: those of the public internet, and never this machine's own."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

# They carry an IPv4 address inside, which a gateway would call: NAT64 (RFC 6052, 8215), 6to4, Teredo, and
# IPv4-compatible addresses.
_CARRIERS: Final = tuple(
    map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96"))
)


def is_public(text: str) -> bool:
    """Whether an address may be called, as far as its number says: not private, loopback, link-local (where
    clouds keep their metadata), shared, reserved, multicast or unspecified, in IPv6 nor as IPv4 within it."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif any(address in carrier for carrier in _CARRIERS) or address.is_site_local:
            return False
    assert isinstance(address, IPv4Address | IPv6Address)
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_own(text: str) -> bool:
    """Whether an address is of this machine: a service on its public address is no more meant for jobs than
    one on loopback. Only an own address can be bound."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((text, 0))
        return True
    return False


def callable_addresses(found: Iterable[str]) -> tuple[str, ...]:
    """The addresses of a name, in their order; none at all when one of them is not public: whoever mixes
    them hopes that another is taken the next time."""
    addresses = tuple(dict.fromkeys(found))
    if all(is_public(each) and not is_own(each) for each in addresses):
        return addresses
    return ()
