"""Ports of servers that a test starts again."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress


def lasting_port() -> int:
    """A port of loopback that is free, and below those that Linux gives to whoever asks for any: nobody takes
    it while its server is away."""
    return lasting_ports(1)[0]


def lasting_ports(count: int) -> list[int]:
    """As `lasting_port`, so many that differ."""
    drawn = random.SystemRandom()
    with ExitStack() as held:  # what was found is in use until the last is
        found: list[int] = []
        while len(found) < count:
            with suppress(OSError):
                place = ("127.0.0.1", drawn.randrange(20_000, 32_000))
                found.append(held.enter_context(socket.create_server(place)).getsockname()[1])
        return found
