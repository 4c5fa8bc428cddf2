"""How an HTTP client reaches an address: by whose proxies, and trusting whose certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    import urllib3

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


def connection_pool(url: str, *, connections: int) -> tuple[urllib3.PoolManager, dict[str, str]]:
    """The same for urllib3, which takes a quarter of httpx's time for a short call: connections to be kept,
    so many, and the headers that the address itself asks for (its name and password)."""
    import urllib3

    parts = urlsplit(url)
    headers = urllib3.make_headers(accept_encoding="gzip", basic_auth=_named(parts))
    options: dict[str, Any] = {"maxsize": connections}
    if parts.scheme == "https":
        from httpx import create_ssl_context

        options["ssl_context"] = create_ssl_context()
    proxy = _proxy(parts)
    if proxy is None:
        return urllib3.PoolManager(**options), headers
    proxy_headers = urllib3.make_headers(proxy_basic_auth=_named(urlsplit(proxy)))
    return urllib3.ProxyManager(proxy, proxy_headers=proxy_headers, **options), headers


def _named(parts: SplitResult) -> str | None:
    """Name and password of an address, as they are sent: as bytes of UTF-8."""
    if parts.username is None:
        return None
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode().decode("latin-1")


def _proxy(parts: SplitResult) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    if parts.hostname is None or parts.hostname in _THIS_MACHINE or proxy_bypass(parts.hostname):
        return None
    named = getproxies()
    return named.get(parts.scheme) or named.get("all")
