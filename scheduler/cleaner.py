"""The cleaner: takes away what uploads left that nobody went on with, and secrets of attempts that ended."""

from __future__ import annotations

import logging
from typing import Final

from marketplace.seals import Seals
from marketplace.store.database import Store
from marketplace.uploads import Uploads
from scheduler.duty import Duty

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 300.0


class Cleaner(Duty):
    """Looks at every unfinished upload and every sealed secret now and then."""

    name = "cleaner"

    def __init__(self, store: Store, uploads: Uploads, seals: Seals) -> None:
        super().__init__(store)
        self._uploads: Final = uploads
        self._seals: Final = seals

    def run_once(self) -> float:
        self._seals.sweep()
        removed = self._uploads.sweep() + self._uploads.blobs.sweep()
        if removed:
            log.info("%d unfinished uploads were too old and are gone", removed)
        return _PAUSE_SECONDS
