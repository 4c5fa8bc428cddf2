"""How an HTTP client reaches an address: by whose proxies, and trusting whose certificates."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from prixfixe.errors import ConfigurationError

if TYPE_CHECKING:
    import urllib3

_IDLE_SECONDS: Final = 5.0
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
    so many, and the headers that the address itself asks for (its name and password, which need not be in
    what is requested). ConfigurationError for a proxy that it cannot use."""
    import urllib3

    parts = urlsplit(url)
    headers = urllib3.make_headers(accept_encoding="gzip", basic_auth=_named(parts))
    options: dict[str, Any] = {"maxsize": connections}
    if parts.scheme == "https":
        from httpx import create_ssl_context

        options["ssl_context"] = create_ssl_context()
    proxy = _proxy(parts)
    if proxy is None:
        pool = urllib3.PoolManager(**options)
    else:
        named = urllib3.make_headers(proxy_basic_auth=_named(urlsplit(proxy)))
        pool = urllib3.ProxyManager(proxy, proxy_headers=named, **options)
    pool.pool_classes_by_scheme = _fresh_pools()
    return pool, headers


def _fresh_pools() -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Pools whose connections are made anew once they lay idle: what is between may have forgotten them, or
    the other side may be closing one just as it is used. httpx does the same."""
    import urllib3

    def fresh(pool: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
        class Fresh(pool):  # type: ignore[misc, valid-type]
            def _put_conn(self, conn: Any) -> None:
                if conn is not None:
                    conn.idle_since = time.monotonic()
                super()._put_conn(conn)

            def _get_conn(self, timeout: float | None = None) -> Any:
                conn = super()._get_conn(timeout)
                if time.monotonic() - getattr(conn, "idle_since", math.inf) > _IDLE_SECONDS:
                    conn.close()  # it connects anew by itself
                return conn

        return Fresh

    return {"http": fresh(urllib3.HTTPConnectionPool), "https": fresh(urllib3.HTTPSConnectionPool)}


def _named(parts: SplitResult) -> str | None:
    """Name and password of an address, as they are sent: as bytes of UTF-8."""
    if parts.username is None:
        return None
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode().decode("latin-1")


def _proxy(parts: SplitResult) -> str | None:
    """That the environment names for an address."""
    from urllib.request import getproxies, proxy_bypass

    if parts.hostname is None or parts.hostname in _THIS_MACHINE:
        return None
    if proxy_bypass(parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"):
        return None
    named = getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigurationError(
            f"the environment's proxy for {parts.scheme} is {urlsplit(proxy).scheme}://, not http",
            hint="set an http proxy, or name the node's host in NO_PROXY",
        )
    return proxy
