"""The nodes behind one chain: one address, or several of which one is asked and the others stand by.

A node's address often carries a key in its path; only its host is ever shown.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic_core import from_json, to_json

from prixfixe.connections import connection_pool
from prixfixe.errors import ConfigurationError, Unavailable

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 10.0  # between looks whether the node that is asked keeps up
_NONE_SECONDS: Final = 2.0  # between looks while none is fit: each may last, and all who ask wait for it
_LOOK_TIMEOUT_SECONDS: Final = 5.0
_REST_SECONDS: Final = 60.0  # before a node that did not answer is looked at again, while another is asked
MOST_LAG_SECONDS: Final = 30  # of chain time behind the newest head
_HINT: Final = "is the node running, and is this its address?"
_CONNECTIONS: Final = 32  # kept open; more are made when more ask at once
_JSON: Final = {"content-type": "application/json"}
_STANDING: Final = (
    ("eth_chainId", ()),
    ("eth_getBlockByNumber", ("0x0", False)),
    ("eth_getBlockByNumber", ("latest", False)),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a node's chain is: its id, the hash of its first block (None when the node keeps none), number
    and time of its newest block."""

    chain_id: int
    first: str | None
    number: int
    time: int

    def is_same_chain(self, other: Standing) -> bool:
        known = None not in (self.first, other.first)
        return self.chain_id == other.chain_id and (not known or self.first == other.first)

    def keeps_up_with(self, newest: Standing) -> bool:
        return self.number >= newest.number or self.time + MOST_LAG_SECONDS >= newest.time


class Endpoint:
    """One node."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        from urllib3.exceptions import HTTPError  # late: `--help` must not pay for it

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not _has_sound_port(parts):
            raise ConfigurationError(
                "the chain's address must be http:// or https:// with a host",
                hint="such as http://127.0.0.1:8545; several are separated by spaces",
            )
        self.url: Final = url
        where = parts.netloc.rpartition("@")[2]
        self.shown_url: Final = f"{parts.scheme}://{where}"
        # Name and password go in a header: a proxy would write down what is requested.
        self._asked: Final = urlunsplit(parts._replace(netloc=where, fragment=""))
        self._timeout: Final = timeout_seconds
        self._transport_error = HTTPError
        self._pool, headers = connection_pool(url, connections=_CONNECTIONS)
        self._headers: Final = {**headers, **_JSON}

    def post(self, body: Any, timeout_seconds: float | None = None) -> Any:
        """The JSON that it answers; Unavailable when it does not."""
        try:
            response = self._pool.urlopen(
                "POST",
                self._asked,
                body=to_json(body),
                headers=self._headers,
                timeout=timeout_seconds or self._timeout,
                retries=False,
                redirect=False,
            )
        except self._transport_error as error:
            # From None: the library's message repeats the whole address.
            raise Unavailable(
                f"the chain at {self.shown_url} is out of reach ({type(error).__name__})",
                code="chain-unavailable",
                hint=_HINT,
            ) from None
        if response.status in (429, 500, 502, 503, 504):
            raise Unavailable(
                f"the chain at {self.shown_url} answered {response.status}", code="chain-unavailable"
            )
        try:
            return from_json(response.data)
        except ValueError:
            raise nonsense(self.shown_url) from None

    def standing(self) -> Standing:
        """Asked now; Unavailable when it does not say."""
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            for number, (method, params) in enumerate(_STANDING)
        ]
        try:
            answers = {each["id"]: each.get("result") for each in self.post(body, _LOOK_TIMEOUT_SECONDS)}
            chain_id, first, newest = (answers[number] for number in range(len(_STANDING)))
            return Standing(
                int(chain_id, 16),
                None if first is None else str(first["hash"]),
                int(newest["number"], 16),
                int(newest["timestamp"], 16),
            )
        except (TypeError, KeyError, ValueError, AttributeError):
            raise nonsense(self.shown_url) from None

    def close(self) -> None:
        self._pool.clear()


def _has_sound_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


class Endpoints:
    """Several nodes of one chain. One is asked; when it is out of reach, falls behind or turns out to be
    another chain, the next that is none of it takes its place, and keeps it. Safe to share between threads.

    The chain is that of the first node that answers.
    """

    def __init__(self, nodes: Sequence[Endpoint]) -> None:
        self._nodes: Final = tuple(nodes)
        self._turn = threading.Lock()
        self._asked: Endpoint | None = None
        self._chain: Standing | None = None
        self._looked = float("-inf")
        self._why_none = ""  # of the first that is not fit, when the last look found none
        self._resting: dict[Endpoint, float] = {}
        self._strange: set[Endpoint] = set()

    def post(self, body: Any) -> Any:
        """The answer of the node that is asked, or of the next. Unavailable when none of them answers."""
        node = self._node()
        try:
            return node.post(body)
        except Unavailable as error:
            with self._turn:
                if self._asked is node:  # nobody has changed it meanwhile
                    self._choose(without=node, why=str(error))
                other = self._asked
            if other is None or other is node:
                raise
            return other.post(body)

    def close(self) -> None:
        for node in self._nodes:
            node.close()

    def _node(self) -> Endpoint:
        with self._turn:
            pause = _NONE_SECONDS if self._asked is None else _LOOK_SECONDS
            if time.monotonic() - self._looked >= pause:
                self._choose()
            if self._asked is None:
                raise Unavailable(self._why_none, code="chain-unavailable", hint=_HINT)
            return self._asked

    def _choose(self, without: Endpoint | None = None, why: str | None = None) -> None:
        """Look at the nodes; keep the one that is asked while it is fit, else take the first that is."""
        before, now = self._asked, time.monotonic()
        if without is not None:
            self._resting[without] = now + _REST_SECONDS
        awake = [node for node in self._nodes if node is not without and self._resting.get(node, 0.0) <= now]
        standings = self._standings(awake)
        if not standings:
            standings = self._standings([node for node in self._nodes if node is not without])
        self._looked = time.monotonic()
        newest = max(standings.values(), key=lambda each: each.number, default=None)
        fit = [node for node, each in standings.items() if newest is None or each.keeps_up_with(newest)]
        if before is not None and before in fit:
            return
        self._asked = fit[0] if fit else None
        if before is not None and self._asked is not None:
            behind = f"{before.shown_url} is behind the others" if before in standings else None
            why = why or behind or f"{before.shown_url} does not answer"
            log.warning("%s; asking %s from now on", why, self._asked.shown_url)

    def _standings(self, nodes: Sequence[Endpoint]) -> dict[Endpoint, Standing]:
        """Of those that answer and are on the chain."""
        standings: dict[Endpoint, Standing] = {}
        whys: list[str] = []
        for node in nodes:
            try:
                found = node.standing()
            except Unavailable as error:
                whys.append(error.message)
                self._resting[node] = time.monotonic() + _REST_SECONDS
                continue
            self._resting.pop(node, None)
            self._chain = self._chain or found
            if found.is_same_chain(self._chain):
                standings[node] = found
                continue
            whys.append(f"{node.shown_url} is not used: it is another chain")
            if node not in self._strange:
                self._strange.add(node)
                log.error(whys[-1])
        self._why_none = next(iter(whys), self._why_none)
        return standings


def nonsense(shown_url: str) -> Unavailable:
    """What answered is no node."""
    return Unavailable(
        f"{shown_url} does not answer like a chain node",
        code="chain-unavailable",
        hint="check the address of the chain",
    )
