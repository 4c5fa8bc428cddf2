"""Images: used only under the id that the customer signed, brought from the blob store, or from its registry
by digest, when the engine lacks one.

An image id is the digest of the image's configuration, which names the digests of its layers; the engine
computes it anew when it loads an archive, so an archive with anything else in it ends up under another id
and is not used. What the worker brought is within a quota: the least recently used go, never one that a
running or assigned attempt needs, and never one that somebody else brought.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from prixfixe.errors import EngineError, VerificationFailed
from worker.inputs import InputCache
from worker.shelf import ImageShelf

log = logging.getLogger("prixfixe.worker")

# What an archive may have in any case, also with a quota of nothing.
_MOST_ARCHIVE: Final = 2 << 30


class ImageEngine(Protocol):
    def image_config(self, image: str) -> dict[str, object] | None: ...

    def image_size(self, image: str) -> int: ...

    def load_image(self, archive: Iterable[bytes]) -> None: ...

    def pull(self, image: str) -> None: ...

    def remove_image(self, image: str) -> bool: ...


class ImageStore:
    """Knows which images the engine has. Safe for many threads; one image is loaded once.

    shelf: of what this worker brought; None brings and never removes. in_use: images of running and assigned
    attempts.
    """

    def __init__(
        self,
        engine: ImageEngine,
        cache: InputCache,
        shelf: ImageShelf | None = None,
        in_use: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._shelf = shelf
        self._in_use = in_use
        self._ready: set[str] = set()  # seen at the engine
        self._used: dict[str, float] = {}  # when, by the monotonic clock
        self._lock = threading.Lock()

    def ensure(self, image: str, archive: str | None) -> None:
        """Have the image. archive: digest of the blob with its `docker save`; None for one that its registry
        serves. EngineError when it cannot be had or may not be used; VerificationFailed when the archive
        holds another image."""
        if image not in self._ready:
            with self._lock:
                config = self._engine.image_config(image)
                if config is None:
                    config = self._bring(image, archive)
                if config.get("Volumes"):
                    # The engine would make a writable place for each on the host's disk, without a limit.
                    raise EngineError(
                        f"image {image} declares volumes, which have no size limit",
                        code="image-volumes",
                        hint="build it without VOLUME",
                        fault="platform",
                    )
                self._ready.add(image)
                self._make_room({image})
        self._used[image] = time.monotonic()
        if self._shelf is not None:
            self._shelf.used(image)

    def has(self, image: str) -> bool:
        return image in self._ready or self._engine.image_config(image) is not None

    def newest(self) -> list[str]:
        """The images that the engine has as far as it knows, used last first: those that it saw there,
        whoever brought them, then what it brought before it was started."""
        seen = sorted(self._ready, key=lambda image: -self._used.get(image, 0.0))
        return list(dict.fromkeys([*seen, *([] if self._shelf is None else self._shelf.newest)]))

    def fits(self, size: int) -> bool:
        """Whether so many bytes more fit without removing anything."""
        return self._shelf is not None and self._shelf.total + size <= self._shelf.most

    def forget(self, image: str) -> None:
        """The engine said that it is not there after all: somebody removed it."""
        self._ready.discard(image)
        if self._shelf is not None:
            self._shelf.take(image)

    def evict(self) -> None:
        """Remove what is beyond the quota and not needed now."""
        with self._lock:
            self._make_room(frozenset())

    def _make_room(self, keep: Collection[str]) -> None:
        if self._shelf is None:
            return
        for image in self._shelf.surplus({*keep, *self._in_use()}):
            self._ready.discard(image)
            try:
                gone = self._engine.remove_image(image)
            except EngineError as error:
                log.warning("image %s could not be removed: %s", image[:40], error)
                return
            if gone:  # else a container of somebody has it: the next time
                log.info("image %s was removed: the quota is full", image[:40])
                self._shelf.take(image)

    def _bring(self, image: str, archive: str | None) -> dict[str, object]:
        config = self._pull(image) if "@" in image else self._load(image, archive)
        if self._shelf is not None:
            self._shelf.put(image, self._engine.image_size(image))
        return config

    def _pull(self, image: str) -> dict[str, object]:
        self._engine.pull(image)
        config = self._engine.image_config(image)
        if config is None:
            raise VerificationFailed(f"the engine pulled another image than {image}", code="image-mismatch")
        return config

    @property
    def _most_archive(self) -> int:
        """Bytes that an archive may have: nobody has signed how many it has. One in use may be more than the
        quota, which is then gone soon."""
        return max(_MOST_ARCHIVE, 0 if self._shelf is None else self._shelf.most)

    def _load(self, image: str, archive: str | None) -> dict[str, object]:
        if archive is None:
            raise EngineError(
                f"image {image} is not on this machine and the market names no archive of it",
                code="image-missing",
                hint="the bundle must be published with its image archive",
                fault="platform",
            )
        path = self._cache.fetch(archive, None, self._most_archive)
        with path.open("rb") as stream:
            self._engine.load_image(iter(lambda: stream.read(1 << 20), b""))
        path.unlink(missing_ok=True)  # the engine has it now
        config = self._engine.image_config(image)
        if config is None:
            raise VerificationFailed(
                f"archive {archive} does not hold image {image}", code="image-mismatch", fault="platform"
            )
        return config
