"""Ports of servers that a test starts again."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def lasting_port() -> int:
    """A port of loopback that is free, and below those that Linux gives to whoever asks for any: nobody takes
    it while its server is away."""
    return lasting_ports(1)[0]


def lasting_ports(count: int) -> list[int]:
    """As `lasting_port`, so many that differ, also from those of other test processes: each keeps the same
    number of UDP, which nothing else uses, to its end."""
    drawn = random.SystemRandom()
    found: list[int] = []
    while len(found) < count:
        place = ("127.0.0.1", drawn.randrange(20_000, 32_000))
        with socket.socket(type=socket.SOCK_DGRAM) as mark, suppress(OSError):
            mark.bind(place)
            socket.create_server(place).close()
            found.append(place[1])
            mark.detach()
    return found
