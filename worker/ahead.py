"""Images of the bundles that are sold now, brought before the first job needs them.

Only while nothing runs here, only for bundles that one slot can run, and only into room that is free: nothing
is removed for an image that may never be used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from prixfixe.errors import PrixfixeError
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import BundleListing
from worker.images import ImageStore

log = logging.getLogger("prixfixe.worker")

_LOOK_SECONDS: Final = 60.0


class Ahead:
    """Looks at the catalogue now and then until `wait` says that it is over.

    catalogue: what is sold. size: bytes of a blob. runs: whether one slot can run a product. wait: sleeps so
    many seconds; True when the worker ends. busy: whether an attempt is here.
    """

    def __init__(
        self,
        images: ImageStore,
        *,
        catalogue: Callable[[], Sequence[BundleListing]],
        size: Callable[[str], int],
        runs: Callable[[Product], bool],
        wait: Callable[[float | None], bool],
        busy: Callable[[], bool],
    ) -> None:
        self._images = images
        self._catalogue = catalogue
        self._size = size
        self._runs = runs
        self._wait = wait
        self._busy = busy
        self._tried: set[str] = set()

    def run(self) -> None:
        while True:
            try:
                self.look()
            except PrixfixeError as error:
                log.debug("images are not brought ahead now: %s", error)
            except Exception:
                log.exception("bringing images ahead")
            if self._wait(_LOOK_SECONDS):
                return

    def look(self) -> None:
        """Bring what is missing; one that could not be brought, or did not fit, is not tried again."""
        if self._busy():
            return
        for listing in self._catalogue():
            if self._busy():
                return
            wanted = not listing.retired and any(
                self._runs(Product.from_bytes(tier.offer.product)) for tier in listing.tiers
            )
            if not wanted or listing.image in self._tried:
                continue
            self._tried.add(listing.image)
            if self._images.has(listing.image) or not self._images.fits(self._size(listing.image_archive)):
                continue
            try:
                self._images.ensure(listing.image, listing.image_archive)
                log.info("the image of bundle %s %s is here ahead of its jobs", listing.id, listing.version)
            except PrixfixeError as error:
                log.warning("the image of bundle %s was not brought ahead: %s", listing.id, error)
