"""Which hosts a job may call: an allow-list of names in its manifest.

A name, never an address: what it means is looked up when it is called, by the worker, and only a public
address is called (`worker.egress`).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from prixfixe.errors import InvalidInput

MOST_HOSTS: Final = 32
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PORTS: Final = (80, 443)  # of a name without one


class Host(NamedTuple):
    """A host name in lower-case ASCII, and the one port that is meant; None: those of the web."""

    name: str
    port: int | None

    def __str__(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"

    def admits(self, name: str, port: int) -> bool:
        """Whether a call of this name (normalised) and port is meant by it."""
        return name == self.name and (port in _PORTS if self.port is None else port == self.port)


def normal_name(text: str) -> str:
    """A host name as it is compared: lower case, without a final dot, other scripts in their ASCII form.
    InvalidInput for what is no name that the public DNS could have, an address in any notation included."""
    name = text.strip().removesuffix(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise _bad(text, "is not a host name in any script") from error
    labels = name.split(".")
    if len(name) > 253 or len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad(text, "is not a full host name such as api.example.com")
    if not re.search("[a-z]", labels[-1]) or labels[-1].startswith("0x"):
        raise _bad(text, "is an address; only names are allowed")
    return name


def parse_host(text: str) -> Host:
    """`api.example.com` or `api.example.com:8443`; InvalidInput for anything else."""
    name, colon, port = text.rpartition(":")
    if not colon:
        return Host(normal_name(text), None)
    if not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise _bad(text, "has no port of 1 to 65535 behind its colon")
    return Host(normal_name(name), int(port))


def _bad(text: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{text[:260]!r} {why}", code="bad-host", hint="write api.example.com or api.example.com:8443"
    )
