"""Shares: how often one caller may ask, so that nobody takes the service from the others.

A token bucket for each caller and kind of call: a caller may use a minute's quota at once, and gets it back
evenly over a minute. A bucket that is full again is the same as none, so only callers of the last minute
take memory, and of those no more than `_MOST`.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from prixfixe.errors import TooManyRequests

Kind: TypeAlias = Literal[
    "quotes",
    "sign-ins",
    "passwords",
    "uploads",
    "inspections",
    "jobs",
    "asks",
    "cancels",
    "withdrawals",
    "papers",
    "webhook-tests",
]

WINDOW_SECONDS: Final = 60
_MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Left:
    """What a caller has left. reset: seconds until its whole quota is there again."""

    kind: str
    quota: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-10 writes it."""
        return {
            "RateLimit-Policy": f'"{self.kind}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.kind}";r={self.remaining};t={self.reset}',
        }


class Buckets:
    """One kind of call. quota: calls a minute for each caller; 0: any number."""

    def __init__(
        self, kind: Kind, quota: int, clock: Callable[[], float] = time.monotonic, most: int = _MOST
    ) -> None:
        self._kind = kind
        self._quota = quota
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        # Caller -> tokens, and when they were counted; who asked last is last.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: str) -> Left | None:
        """Count one call. None when calls are not counted; TooManyRequests when the caller has none left."""
        if self._quota == 0:
            return None
        rate = self._quota / WINDOW_SECONDS
        with self._lock:
            now = self._clock()
            tokens, counted = self._buckets.pop(caller, (float(self._quota), now))
            tokens = min(self._quota, tokens + max(now - counted, 0.0) * rate)
            allowed = tokens >= 1
            if allowed:
                tokens -= 1
            self._buckets[caller] = (tokens, now)
            self._forget(now)
        left = Left(self._kind, self._quota, int(tokens), math.ceil((self._quota - tokens) / rate))
        if not allowed:
            wait = max(math.ceil((1 - tokens) / rate), 1)
            raise OverShare.of(left, wait)
        return left

    def _forget(self, now: float) -> None:
        """Buckets that are full again, and beyond the limit those that were used longest ago."""
        while self._buckets:
            _, counted = next(iter(self._buckets.values()))
            if now - counted < WINDOW_SECONDS and len(self._buckets) <= self._most:
                return
            self._buckets.popitem(last=False)


class OverShare(TooManyRequests):
    """A caller has asked more often than its share allows."""

    default_code = "over-share"
    title = "More than your share"

    left: Left | None = None

    @staticmethod
    def of(left: Left, wait: int) -> OverShare:
        error = OverShare(
            f"more than {left.quota} {left.kind} a minute; one more is possible in {wait} s",
            retry_after=wait,
        )
        error.values["violated-policies"] = [left.kind]
        error.left = left
        return error


class Shares:
    """All kinds of calls, and who is behind a connection. proxies: addresses or networks of the proxies whose
    word on that is taken."""

    def __init__(
        self,
        quotas: dict[Kind, int],
        proxies: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buckets = {kind: Buckets(kind, quota, clock) for kind, quota in quotas.items()}
        self._proxies = [ipaddress.ip_network(each, strict=False) for each in proxies]

    def take(self, kind: Kind, caller: str) -> Left | None:
        """Count one call, as `Buckets.take`."""
        return self._buckets[kind].take(caller)

    def client(self, peer: str | None, forwarded: str | None) -> str:
        """Who is asking: the connection's other end, or, when that is a proxy of ours, the last address that
        its X-Forwarded-For names and that is no proxy of ours. What stands before it anybody can write."""
        found = _address(peer or "")
        if found is None:
            return "unknown"
        for text in reversed((forwarded or "").split(",")):
            if not any(found in network for network in self._proxies):
                break
            before = _address(text)
            if before is None:
                break
            found = before
        # Whoever has one IPv6 address has a whole /64 of them.
        return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as proxies write it: alone, with a port, in brackets."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
