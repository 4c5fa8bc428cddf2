"""A network bridge for a second engine on this machine.

An engine that is told to have none (`--bridge=none`) deletes docker0, which is the other engine's.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_bridge() -> Iterator[str]:
    """The name of a bridge that nobody uses, with an address as an engine wants it."""
    name = f"pxt{uuid.uuid4().hex[:10]}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "address", "add", "192.168.213.1/30", "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)
