"""What a service of several processes is to a test that moves each of its steps. `scheduler.stepping` makes
one; it rests on this package and not the other way round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, TypeAlias, get_args

from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.reports import LotReport

Trouble: TypeAlias = Literal[
    "killed", "overtaken", "disk full", "store away", "store silent", "node away", "node silent"
]
"""What may come in the middle of a step of a process. killed: the process ends there. overtaken: its locks
are lost, and another process leads and does everything once before it goes on. disk full, store away: what it
would have written is not. store silent: what it wrote is there, and it is told that it is not. node away,
node silent: the same of what the chain's node was asked for."""
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)

Duty: TypeAlias = Literal["matcher", "auctioneer", "relayer", "indexer", "reaper", "archivist"]
DUTIES: tuple[Duty, ...] = get_args(Duty)


class Process(Protocol):
    """One process: its API's answers, and the turns of its duties. A call raises what its caller would be
    answered; Unavailable when it ends before it answers, or is not there."""

    alive: bool

    def publish(self, definition: BundleDefinition, publisher: str, archive: bytes) -> None: ...

    def quote(self, request: wire.QuoteRequest) -> wire.Quote: ...

    def quote_bid(self, request: wire.BidQuoteRequest) -> wire.BidQuote: ...

    def order(self, request: wire.JobRequest) -> str:
        """The job's id."""

    def job(self, job: str, customer: str) -> wire.Job: ...

    def cancel(self, job: str, customer: str) -> None: ...

    def put(self, content: bytes, owner: str) -> str:
        """A file's SHA-256."""

    def get(self, sha256: str, reader: str) -> bytes: ...

    def register(self, key: str, registration: wire.WorkerRegistration) -> None: ...

    def beat(self, key: str, heartbeat: wire.Heartbeat) -> wire.HeartbeatAnswer: ...

    def assigned(self, key: str) -> list[wire.Assignment]: ...

    def start(self, attempt: str, key: str) -> None: ...

    def commit(self, attempt: str, key: str, request: wire.CommitRequest) -> None: ...

    def open(self, attempt: str, key: str, request: wire.OpenRequest) -> None: ...

    def round(self, attempt: str, key: str) -> wire.Round: ...

    def report(self, attempt: str, key: str, report: LotReport) -> wire.ReportAnswer: ...

    def turn(self, duty: Duty) -> bool:
        """One run of a duty; False when another process leads it."""

    def arm(self, trouble: Trouble, after: int) -> None:
        """A trouble comes in the middle of some step from now on, after so many of its places."""

    def disarm(self) -> None:
        """What was to come comes no more."""

    def lose_locks(self) -> None:
        """Another process may lead its duties, and it does not know yet."""

    def kill(self) -> None:
        """It is gone, and so is all that it remembered."""


class Company(Protocol):
    """Its processes, and what is true of its tables."""

    processes: list[Process]
    silence_seconds: float

    def begin(self, number: int) -> None:
        """A process starts in the place of one that is gone. Unavailable without a chain."""

    def happened(self) -> Iterable[str]:
        """What has come in the middle of a step, and how attempts ended, so far."""

    def unfinished(self) -> Mapping[str, Mapping[str, int]]:
        """Rows that are not at their end, by table and state."""

    def stuck(self) -> str:
        """The same row by row, for the message of a failure."""

    def with_two_deals(self) -> list[tuple[str, int]]:
        """Lots of which two deals count."""

    def left_lying(self) -> list[str]:
        """Lots that wait although enough workers could have them."""

    def check_books(self) -> Counter[str]:
        """AssertionError unless contract, ledger and tables say the same of all money; how many events there
        were of each name."""

    def rebuilt(self) -> str:
        """How the tables differ from what chain and archive alone give; empty when they do not."""

    def close(self) -> None: ...
