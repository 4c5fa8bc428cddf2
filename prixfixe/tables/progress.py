"""How far a long step is: a share from 0 to 1, told to whoever waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from prixfixe.tables.table import Table

Report = Callable[[float], None]
"""Told the share that is done, from 0 to 1, on any thread."""

QUIET_SECONDS = 2.0
"""A step that is done sooner is not talked about."""

_EVERY_SECONDS = 0.25


def unheard(_: float) -> None:
    """For those who do not want to know."""


class Steps:
    """The two steps of reading a file: making one of it that DuckDB reads, where that must be, and reading.
    Silent at first."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._began = time.monotonic()

    def opening(self, share: float) -> None:
        """Report the first step."""
        self._tell(share / 2)

    def reading(self, table: Table) -> Report:
        """The report of the second step, which for most files is the only one."""
        if self._report is unheard:
            return unheard
        begin = 0.0 if table.path == table.origin else 0.5
        return lambda share: self._tell(begin + (1 - begin) * share)

    def _tell(self, share: float) -> None:
        if time.monotonic() - self._began >= QUIET_SECONDS:
            self._report(min(1.0, share))


@contextmanager
def watched(connection: duckdb.DuckDBPyConnection, report: Report) -> Iterator[None]:
    """Report, while the block lasts, how much of the connection's query is done: of a file that is read, the
    share of its bytes."""
    if report is unheard:
        yield
        return
    connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_EVERY_SECONDS):
            percent = connection.query_progress()
            if percent > 0:  # -1 when DuckDB does not know
                report(percent / 100)

    thread = threading.Thread(target=watch, name="table-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
