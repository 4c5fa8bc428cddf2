"""Where a webhook may go: servers of the public internet by https, looked up once and called at the very
address that was looked at.

A customer names the URL, and the service makes the call: without this it would fetch whatever the service can
reach and the customer cannot. The name is resolved at each call, every address of it must be public, and the
connection goes to one of those that were checked, so that a name that changes in between changes nothing. A
service on a local chain may also call its own machine, without https, for whoever tries it out.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import Executor
from functools import partial
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore

from prixfixe.errors import InvalidInput
from prixfixe.public_addresses import callable_addresses

CALL_SECONDS: Final = 15.0  # for all of it: looking up, connecting, sending, the answer's head
_LONGEST_NAME: Final = 253


class RefusedAddress(Exception):
    """The name is not at public addresses only."""


def require_url(url: str, *, local: bool) -> None:
    """InvalidInput for what no webhook goes to, as far as its text says. local: on a local chain."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refused("it cannot be read") from error
    if not host or len(host) > _LONGEST_NAME or parts.username is not None or parts.password is not None:
        raise _refused("it names no host, or a user")
    if parts.fragment:
        raise _refused("it has a fragment")
    if port == 0:
        raise _refused("port 0 cannot be called")
    if _is_address(host):
        try:
            addresses = allowed([host], local=local)
        except RefusedAddress as error:
            raise _refused(str(error)) from error
        on_loopback = ip_address(addresses[0].partition("%")[0]).is_loopback
    else:
        on_loopback = host == "localhost"
        if on_loopback and not local:
            raise _refused("it is this machine")
    if parts.scheme != "https" and not (local and on_loopback):
        raise _refused("it is not https")


def allowed(found: Iterable[str], *, local: bool) -> tuple[str, ...]:
    """The addresses, when each may be called; RefusedAddress when one may not, or there is none."""
    addresses = tuple(dict.fromkeys(found))
    if local and addresses and all(ip_address(each.partition("%")[0]).is_loopback for each in addresses):
        return addresses
    if not (checked := callable_addresses(addresses)):
        raise RefusedAddress("its name is not at addresses of the public internet only")
    return checked


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were looked at, whatever the name says a moment later."""

    def __init__(self, *, local: bool, lookups: Executor | None = None) -> None:
        """lookups: where names are looked up; the loop's own executor when not given."""
        self._local = local
        self._lookups = lookups
        self._network: Final = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._lookups, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} is not known") from error
        first, *rest = allowed((str(each[4][0]) for each in found), local=self._local)
        for address in (first, *rest[:2]):
            try:
                return await self._network.connect_tcp(address, port, timeout, None, socket_options)
            except httpcore.ConnectError as error:
                last = error
        raise last

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _refused(why: str) -> InvalidInput:
    return InvalidInput(
        f"a webhook cannot go to this URL: {why}",
        code="bad-webhook-url",
        hint="an https:// URL of a server on the public internet",
    )
