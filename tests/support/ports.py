"""Ports of servers that a test starts again."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def lasting_port() -> int:
    """A port of loopback that is free, and below those that Linux gives to whoever asks for any: nobody takes
    it while its server is away."""
    drawn = random.SystemRandom()
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", drawn.randrange(20_000, 32_000))) as found:
            return int(found.getsockname()[1])
