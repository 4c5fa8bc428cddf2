"""The cleaner: takes away what uploads left that nobody went on with, secrets of attempts that ended,
inspections that are over, and what nobody has to keep any more."""

from __future__ import annotations

import logging
import time
from typing import Final

from marketplace.inspections import Inspections
from marketplace.retention import Retention
from marketplace.seals import Seals
from marketplace.store.database import Store
from marketplace.uploads import Uploads
from scheduler.apart import Apart
from scheduler.duty import Duty

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 300.0
_RETENTION_SECONDS: Final = 3600.0


class Cleaner(Duty):
    """Looks at every unfinished upload, sealed secret and inspection now and then, and once an hour at what
    is kept."""

    name = "cleaner"

    def __init__(
        self,
        store: Store,
        uploads: Uploads,
        seals: Seals,
        inspections: Inspections,
        retention: Retention,
    ) -> None:
        super().__init__(store)
        self._inspections: Final = inspections
        self._retention: Final = retention
        self._looked = float("-inf")
        self._uploads: Final = uploads
        self._seals: Final = seals

    def run_once(self) -> float:
        apart = Apart()
        with apart:
            self._seals.sweep()
        with apart:
            self._inspections.sweep()
        with apart:
            removed = self._uploads.sweep() + self._uploads.blobs.sweep()
            if removed:
                log.info("%d unfinished uploads were too old and are gone", removed)
        if time.monotonic() - self._looked >= _RETENTION_SECONDS:
            with apart:
                files, logs = self._retention.sweep()
                self._looked = time.monotonic()
                if files or logs:
                    log.info(
                        "%d files and the logs of %d jobs were kept long enough and are gone", files, logs
                    )
        apart.tell()
        return _PAUSE_SECONDS
