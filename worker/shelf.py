"""Which images this worker brought to its engine, how large they are, and which of them goes first.

Written in the worker's folder (`images.json`), because the engine does not say who brought an image. What was
there before, or was built or pulled by anybody else, is not on the shelf and never removed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from prixfixe.client.keeping import write_private
from prixfixe.errors import PrixfixeError

SHELF_FILE: Final = "images.json"
_SAVE_SECONDS: Final = 60.0  # a use that is lost with a crash costs at most so much order


class ImageShelf:
    """Safe for many threads. most_bytes: what the images on it may take in all."""

    def __init__(self, place: Path, most_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._place = place
        self._most = most_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._images: dict[str, tuple[int, float]] = {}  # name: bytes, last use
        with suppress(OSError, ValueError, TypeError, AttributeError):
            found = json.loads(place.read_text(encoding="utf-8"))
            self._images = {str(name): (int(size), float(used)) for name, (size, used) in found.items()}

    @property
    def total(self) -> int:
        with self._lock:
            return sum(size for size, _ in self._images.values())

    @property
    def most(self) -> int:
        return self._most

    @property
    def newest(self) -> list[str]:
        """All of them, used last first."""
        with self._lock:
            return sorted(self._images, key=lambda image: -self._images[image][1])

    def put(self, image: str, size: int) -> None:
        """It was brought now, for use now."""
        with self._lock:
            self._images[image] = (size, self._clock())
            self._save()

    def used(self, image: str) -> None:
        """It is used now; nothing when it is not on the shelf."""
        with self._lock:
            known = self._images.get(image)
            if known is not None and self._clock() - known[1] > _SAVE_SECONDS:
                self._images[image] = (known[0], self._clock())
                self._save()

    def take(self, image: str) -> None:
        """It is no longer there."""
        with self._lock:
            if self._images.pop(image, None) is not None:
                self._save()

    def surplus(self, in_use: Collection[str]) -> list[str]:
        """What must go so that the rest fits, least recently used first; never one in use."""
        with self._lock:
            total = sum(size for size, _ in self._images.values())
            going = []
            for image, (size, _) in sorted(self._images.items(), key=lambda item: (item[1][1], item[0])):
                if total <= self._most:
                    break
                if image not in in_use:
                    going.append(image)
                    total -= size
            return going

    def _save(self) -> None:
        # A disk without room must not fail a task: the next change writes it all.
        with suppress(OSError, PrixfixeError):
            write_private(self._place, json.dumps(self._images) + "\n")
