"""What can go wrong with a market's machines, one at a time, in an order that a seed gives."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from prixfixe.devnet.anvil import LocalChain
from tests.faults.company import Company
from tests.faults.line import Line
from tests.support.postgres import PostgresServer

_FILLER = "filler"
_PIECE = bytes(1 << 16)


@dataclass(frozen=True)
class Place:
    """What there is to hurt. postgres: None when the database is a file in the folder. data: the service's
    folder. disk: its file system, None when it is not a small one of the test's own. undone: of each
    re-organisation how many of the market's events it took back."""

    company: Company
    chain: LocalChain
    line: Line
    postgres: PostgresServer | None
    data: Path
    disk: Path | None
    undone: list[int] = field(default_factory=list)


Trouble = Callable[[Place], None]


def chain_paused(place: Place) -> None:
    """The node answers nothing for a while, and then everything."""
    assert place.chain.pid is not None
    os.kill(place.chain.pid, signal.SIGSTOP)
    try:
        time.sleep(2)
    finally:
        os.kill(place.chain.pid, signal.SIGCONT)


def rpc_refused(place: Place) -> None:
    """Nobody gets through to the node."""
    place.line.shut()
    time.sleep(2)
    place.line.reopen()


def database_restarted(place: Place) -> None:
    """It crashes, and recovers; a file does when nobody has it open any more."""
    if place.postgres is None:
        for name in place.company.names:
            if not name.startswith("workers"):
                place.company.kill(name)
        return
    place.postgres.stop(signal.SIGQUIT)
    place.postgres.start()


def disk_full(place: Place) -> None:
    """Not a byte more can be written to the service's folder."""
    if place.disk is None:
        return
    filler = place.disk / _FILLER
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(_PIECE)
    time.sleep(2)
    filler.unlink()


def reorganised(place: Place) -> None:
    """The last two blocks never were, nor what was in them."""
    head = int(place.chain.rpc.call("eth_blockNumber"), 16)
    last_two = {"fromBlock": hex(head - 1), "toBlock": hex(head)}
    before = place.chain.rpc.call("eth_getLogs", last_two)
    place.chain.rpc.call("anvil_reorg", 2, [])
    after = {each["transactionHash"] for each in place.chain.rpc.call("eth_getLogs", last_two)}
    place.undone.append(sum(each["transactionHash"] not in after for each in before))


TROUBLES: tuple[Trouble, ...] = (chain_paused, rpc_refused, database_restarted, disk_full, reorganised)


def plan(seed: int, seconds: int, names: list[str], each: int) -> list[str | Trouble]:
    """What happens in each second: a process that is killed, by its name, or one of the others, `each` times
    of every kind."""
    drawn = random.Random(seed)
    steps: list[str | Trouble] = [drawn.choice(names) for _ in range(seconds)]
    for trouble in TROUBLES * each:
        steps.insert(drawn.randrange(1, len(steps)), trouble)
    return steps
