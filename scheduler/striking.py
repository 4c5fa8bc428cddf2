"""Where a process on the in-memory chain can be struck, and by what: each place at which it and its store, or
it and the chain's node, hand something to each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from marketplace.store.engines import WRITE
from prixfixe.chain.rpc import Rpc
from prixfixe.errors import Unavailable
from prixfixe.testing.chain import MemoryChain
from prixfixe.testing.company import Trouble

# At which places each trouble may come. begin: before a transaction. commit, committed: before and after one
# that wrote is on the disk. ask, answer: before and after the node has done what it was asked for.
_PLACES: Final[Mapping[Trouble, frozenset[str]]] = {
    "killed": frozenset({"begin", "commit", "committed", "ask", "answer"}),
    "overtaken": frozenset({"begin", "ask", "answer"}),
    "disk full": frozenset({"commit"}),
    "store away": frozenset({"begin", "commit"}),
    "store silent": frozenset({"committed"}),
    "node away": frozenset({"ask"}),
    "node silent": frozenset({"answer"}),
}
_STORE_SAYS: Final[Mapping[Trouble, str]] = {
    "disk full": "database or disk is full",
    "store away": "unable to open database file",
    "store silent": "disk I/O error",
}


class Killed(BaseException):
    """The process is gone. No code of the product catches it."""


class Places:
    """Of one process. overtake: lets another process lead, and do its duties' runs."""

    def __init__(self, overtake: Callable[[], None]) -> None:
        self._overtake = overtake
        self._armed: tuple[Trouble, int] | None = None
        self._writing = False
        self.struck: list[str] = []

    def arm(self, trouble: Trouble, after: int) -> None:
        """It comes at one of its places, after so many of them; in the place of what was armed before."""
        self._armed = (trouble, after)

    def disarm(self) -> None:
        """What was armed comes no more."""
        self._armed = None

    def watch(self, engine: Engine) -> None:
        """Passes the places of a store."""

        # Before the store's own listener, which begins.
        @event.listens_for(engine, "begin", insert=True)
        def _begin(connection: Connection) -> None:
            self.at("begin")
            self._writing = self._writing or _writes(connection)

        @event.listens_for(engine, "commit")
        def _commit(connection: Connection) -> None:
            if not _writes(connection):
                return
            self.at("commit")
            driver: Any = connection.connection.dbapi_connection
            driver.commit()  # SQLAlchemy's own does nothing after it
            self._writing = False
            self.at("committed")

        @event.listens_for(engine, "rollback")
        def _rollback(connection: Connection) -> None:
            self._writing = self._writing and not _writes(connection)

    def at(self, place: str) -> None:
        """Raises what comes here, if anything does."""
        if self._armed is None:
            return
        trouble, after = self._armed
        # Who is overtaken within a transaction that writes makes the other wait for its end.
        if place not in _PLACES[trouble] or (trouble == "overtaken" and self._writing):
            return
        if after:
            self._armed = trouble, after - 1
            return
        self._armed = None
        self.struck.append(f"{trouble} at {place}")
        match trouble:
            case "killed":
                raise Killed
            case "overtaken":
                self._overtake()
            case "node away" | "node silent":
                raise Unavailable("the chain in memory gave no answer", code="chain-unavailable")
            case _:
                raise OperationalError("", {}, sqlite3.OperationalError(_STORE_SAYS[trouble]))


class Line(Rpc):
    """One process's connection to the chain."""

    def __init__(self, chain: MemoryChain, places: Places) -> None:
        super().__init__("http://127.0.0.1")
        self._chain, self._places = chain, places
        self._nodes = self

    def post(self, body: Any) -> Any:
        self._places.at("ask")
        answer = self._chain.post(body)
        self._places.at("answer")
        return answer

    def close(self) -> None:
        """Nothing to close."""


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(WRITE))
