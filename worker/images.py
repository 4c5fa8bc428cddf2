"""Images: used only under the id that the customer signed, brought from the blob store, or from its registry
by digest, when the engine lacks one.

An image id is the digest of the image's configuration, which names the digests of its layers; the engine
computes it anew when it loads an archive, so an archive with anything else in it ends up under another id
and is not used.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

from prixfixe.errors import EngineError, VerificationFailed
from worker.inputs import InputCache


class ImageEngine(Protocol):
    def image_config(self, image: str) -> dict[str, object] | None: ...

    def load_image(self, archive: Iterable[bytes]) -> None: ...

    def pull(self, image: str) -> None: ...


class ImageStore:
    """Knows which images the engine has. Safe for many threads; one image is loaded once."""

    def __init__(self, engine: ImageEngine, cache: InputCache) -> None:
        self._engine = engine
        self._cache = cache
        self._ready: set[str] = set()
        self._lock = threading.Lock()

    def ensure(self, image: str, archive: str | None) -> None:
        """Have the image. archive: digest of the blob with its `docker save`; None for one that its registry
        serves. EngineError when it cannot be
        had or may not be used; VerificationFailed when the archive holds another image."""
        if image in self._ready:
            return
        with self._lock:
            config = self._engine.image_config(image)
            if config is None:
                config = self._load(image, archive)
            if config.get("Volumes"):
                # The engine would make a writable place for each on the host's disk, without a limit.
                raise EngineError(
                    f"image {image} declares volumes, which have no size limit",
                    code="image-volumes",
                    hint="build it without VOLUME",
                    fault="platform",
                )
            self._ready.add(image)

    def forget(self, image: str) -> None:
        """The engine said that it is not there after all: somebody removed it."""
        self._ready.discard(image)

    def _pull(self, image: str) -> dict[str, object]:
        self._engine.pull(image)
        config = self._engine.image_config(image)
        if config is None:
            raise VerificationFailed(f"the engine pulled another image than {image}", code="image-mismatch")
        return config

    def _load(self, image: str, archive: str | None) -> dict[str, object]:
        if "@" in image:
            return self._pull(image)
        if archive is None:
            raise EngineError(
                f"image {image} is not on this machine and the market names no archive of it",
                code="image-missing",
                hint="the bundle must be published with its image archive",
                fault="platform",
            )
        path = self._cache.fetch(archive, None)
        with path.open("rb") as stream:
            self._engine.load_image(iter(lambda: stream.read(1 << 20), b""))
        path.unlink(missing_ok=True)  # the engine has it now
        config = self._engine.image_config(image)
        if config is None:
            raise VerificationFailed(
                f"archive {archive} does not hold image {image}", code="image-mismatch", fault="platform"
            )
        return config
