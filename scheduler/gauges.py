"""What a running service shows Prometheus of itself: tables, chain, duties, requests, process."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from marketplace import figures
from marketplace.services import Services
from prixfixe.chain.client import MarketClient
from prixfixe.metrics import Cached, Family, Sample, dollars, number
from prixfixe.protocol.money import Money
from scheduler.duty import RUN_TIMES, Duty

PREFIX: Final = "prixfixe_"
_WEI: Final = Decimal(10) ** 18


class LogCounts(logging.Handler):
    """Counts the lines of this process's log that say that something is wrong."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._counts: Counter[str] = Counter(warning=0, error=0, critical=0)

    def emit(self, record: logging.LogRecord) -> None:
        self._counts[record.levelname.lower()] += 1

    def family(self) -> Family:
        samples = tuple(Sample(str(count), {"level": level}) for level, count in self._counts.items())
        return Family("log_lines_total", "Warnings and errors logged by this process.", samples, "counter")


class Gauges:
    """Of one process of a service. duties: those that it takes part in. names: all that a service has.
    more: what else it has to show, such as its requests."""

    def __init__(
        self,
        services: Services,
        market: MarketClient,
        duties: Sequence[Duty],
        names: Sequence[str],
        more: Sequence[Callable[[], Family]] = (),
    ) -> None:
        self._services = services
        self._market = market
        self._duties = duties
        self._names = names
        self._more = more
        self._began = time.time()
        self._tables = Cached(self._ask_tables)
        self._chain = Cached(self._ask_chain)
        self._blobs = Cached(self._ask_blobs)

    def families(self) -> Iterable[Family]:
        """What a scrape shows."""
        described = self._services.market
        labels = {
            "version": described.version,
            "chain_id": str(described.chain_id),
            "contract": described.contract,
            "operator": described.operator,
        }
        yield Family("info", "Which service this is.", (Sample("1", labels),))
        tables, chain = self._tables.get(), self._chain.get()
        yield number("store_up", "Whether the store answers.", bool(tables))
        yield number("chain_up", "Whether the chain's node answers.", bool(chain))
        yield from self._blobs.get() or [_blob_store_up(False)]
        yield from tables
        yield from chain
        yield from self._of_duties()
        for family in self._more:
            yield family()
        yield from _of_process(self._services.settings.data, self._began)

    def _of_duties(self) -> Iterator[Family]:
        found = [(duty, duty.health()) for duty in self._duties]
        now = time.time()
        for name, said, values in (
            (
                "duty_running",
                "Whether the duty's thread lives in this process.",
                [each.running for _, each in found],
            ),
            (
                "duty_leads",
                "Whether this process does it, of all on the database.",
                [each.leads for _, each in found],
            ),
            (
                "duty_failing_seconds",
                "Since when its runs fail; 0 when the last went well.",
                [0 if each.since is None else max(1, int(now - each.since)) for _, each in found],
            ),
        ):
            samples = (
                Sample(str(int(value)), {"duty": each.name})
                for (_, each), value in zip(found, values, strict=True)
            )
            yield Family(name, said, tuple(samples))
        runs = tuple(Sample(str(each.runs), {"duty": each.name}) for _, each in found)
        yield Family("duty_runs_total", "Runs of the duty in this process.", runs, "counter")
        yield RUN_TIMES.family()
        for duty, _ in found:
            yield from duty.figures()

    def _ask_tables(self) -> list[Family]:
        store, settings = self._services.store, self._services.settings
        with store.read() as connection:
            found = figures.read(connection, time.time(), settings.silence_seconds)
            led = store.leading.led(connection, self._names)
        samples = tuple(Sample(str(int(name in led)), {"duty": name}) for name in self._names)
        return [*found, Family("duty_led", "Whether any process leads the duty.", samples)]

    def _ask_blobs(self) -> list[Family]:
        self._services.blobs.kept.check()
        return [_blob_store_up(True)]

    def _ask_chain(self) -> list[Family]:
        contract, operator = self._market.contract, self._services.market.operator
        view = self._services.chain.look(accounts=[contract])
        gas = Decimal(self._market.gas_balance(operator)) / _WEI
        treasury = view.accounts[contract]
        with self._services.store.read() as connection:
            overdue = figures.overdue_seconds(connection, view.time)
        return [
            number("chain_block", "The chain's newest block.", view.block),
            Family("operator_gas", "The operator's balance of the chain's own coin.", (Sample(f"{gas:f}"),)),
            dollars("contract_dollars", "What the contract holds.", self._market.token_balance(contract)),
            dollars("treasury_dollars", "Of that, the treasury's free money.", Money(treasury.free)),
            number("overdue_seconds", "By how much the oldest open deal is past its deadline.", overdue),
        ]


def _blob_store_up(answers: bool) -> Family:
    return number("blob_store_up", "Whether the store of the files answers.", answers)


def _of_process(data: Path, began: float) -> Iterator[Family]:
    yield number("uptime_seconds", "Since this process began.", time.time() - began)
    yield number("threads", "Threads of this process.", threading.active_count())
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        yield number("memory_bytes", "Resident memory of this process.", pages * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError):
        yield number("disk_free_bytes", "Free on the disk of the data folder.", shutil.disk_usage(data).free)
