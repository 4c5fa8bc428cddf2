"""How an HTTP client reaches an address: by whose proxies, and trusting whose certificates."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

_THIS_MACHINE: Final = ("127.0.0.1", "localhost", "::1")


def connection_options(url: str) -> dict[str, Any]:
    """Keywords of httpx.Client, httpx.AsyncClient and httpx.get for this address.

    The environment's proxies are not for what runs on this machine. Over plain http no certificate is seen,
    and reading all authorities takes longer (36 ms) than most commands talk; so none is trusted there, and a
    client that came to https after all would be refused.
    """
    import ssl  # late, as httpx: `--help` must not pay for it

    parts = urlsplit(url)
    options: dict[str, Any] = {"trust_env": parts.hostname not in _THIS_MACHINE}
    if parts.scheme == "http":
        options["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return options
