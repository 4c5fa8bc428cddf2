"""The prices of a running worker: rules that may change under it, and indexes that it follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final

from prixfixe.errors import PrixfixeError
from prixfixe.protocol.money import Money
from prixfixe.protocol.prices import PriceIndex
from prixfixe.protocol.product import Product
from worker.prices import QUOTED_FILE, RULES_FILE, PriceRules, Quoted, quoted, write_json
from worker.settings import WorkerSettings

log = logging.getLogger("prixfixe.worker")

INDEX_SECONDS: Final = 60.0  # between looks at an index that is followed


class Pricing:
    """Belongs to the heart's thread. ask_index: of the service; it runs in `pool`, so that a slow answer
    holds no heartbeat up."""

    def __init__(
        self, settings: WorkerSettings, ask_index: Callable[[Product], PriceIndex], pool: Executor
    ) -> None:
        self._settings = settings
        self._ask_index = ask_index
        self._pool = pool
        self._rules = PriceRules()
        self._seen: tuple[int, int] | None = None
        self._indexes: dict[Product, PriceIndex] = {}
        self._asked: dict[Product, float] = {}
        self._said: dict[Product, Quoted] = {}

    def refresh(self) -> None:
        """Take what `prixfixe worker price` changed. Rules that cannot be read leave the last ones."""
        try:
            status = (self._settings.data / RULES_FILE).stat()
            seen = (status.st_mtime_ns, status.st_ino)
        except OSError:
            seen = (0, 0)
        if seen == self._seen:
            return
        first, self._seen = self._seen is None, seen
        try:
            self._rules = PriceRules.load(self._settings.data)
        except PrixfixeError as error:
            log.error("%s; asking what was asked before", error)
            return
        if not first:
            log.info("prices were changed: asking by the new ones")

    def of(self, product: Product) -> Money:
        """What to ask for a task now."""
        rule = self._rules.of(product)
        if rule is not None and rule.follow is not None:
            self._look(product)
        found = quoted(self._settings, self._rules, product, self._indexes.get(product))
        if self._said.get(product) != found:
            self._said[product] = found
            self._tell()
        return found.price

    def _look(self, product: Product) -> None:
        now = time.monotonic()
        if now - self._asked.get(product, -INDEX_SECONDS) < INDEX_SECONDS:
            return
        self._asked[product] = now
        # A pool that is shut down takes nothing: the worker is stopping.
        with suppress(RuntimeError):
            self._pool.submit(self._fetch, product)

    def _fetch(self, product: Product) -> None:
        try:
            self._indexes[product] = self._ask_index(product)
        except PrixfixeError as error:
            log.warning("the index of %s is not known now: %s", product.name, error)

    def _tell(self) -> None:
        now = int(time.time())
        said = {
            product.name: {"price": str(each.price.units), "why": each.why}
            for product, each in self._said.items()
        }
        with suppress(OSError):
            write_json(self._settings.data / QUOTED_FILE, {"at": now, "products": said})
