"""Images: only under the id that was signed for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prixfixe.errors import EngineError, VerificationFailed
from worker.images import ImageStore
from worker.inputs import InputCache

IMAGE = "sha256:" + "aa" * 32
ARCHIVE = hashlib.sha256(b"archive").hexdigest()


class FakeEngine:
    """Knows images by id; loading an archive brings `inside`."""

    def __init__(self, inside: str, config: dict[str, object] | None = None) -> None:
        self.images: dict[str, dict[str, object]] = {}
        self.inside, self.config, self.loads, self.asked = inside, config or {}, 0, 0

    def image_config(self, image: str) -> dict[str, object] | None:
        self.asked += 1
        return self.images.get(image)

    def load_image(self, archive: Iterable[bytes]) -> None:
        assert b"".join(archive) == b"archive"
        self.loads += 1
        self.images[self.inside] = self.config


@pytest.fixture
def cache(tmp_path: Path) -> InputCache:
    @contextmanager
    def fetch(sha256: str) -> Iterator[Iterable[bytes]]:
        yield [b"arch", b"ive"]

    return InputCache(tmp_path, fetch, 100)


def test_a_missing_image_comes_from_its_archive_once(cache: InputCache, tmp_path: Path) -> None:
    engine = FakeEngine(IMAGE)
    store = ImageStore(engine, cache)
    for _ in range(3):
        store.ensure(IMAGE, ARCHIVE)
    assert (engine.loads, engine.asked) == (1, 2)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_with_another_image_is_refused(cache: InputCache) -> None:
    with pytest.raises(VerificationFailed, match="does not hold"):
        ImageStore(FakeEngine("sha256:" + "bb" * 32), cache).ensure(IMAGE, ARCHIVE)


def test_an_image_without_an_archive_says_what_is_missing(cache: InputCache) -> None:
    with pytest.raises(EngineError, match="names no archive"):
        ImageStore(FakeEngine(IMAGE), cache).ensure(IMAGE, None)


def test_an_image_that_brings_unbounded_volumes_is_refused(cache: InputCache) -> None:
    with pytest.raises(EngineError, match="volumes"):
        ImageStore(FakeEngine(IMAGE, {"Volumes": {"/data": {}}}), cache).ensure(IMAGE, ARCHIVE)


def test_one_that_was_removed_is_brought_back(cache: InputCache) -> None:
    engine = FakeEngine(IMAGE)
    store = ImageStore(engine, cache)
    store.ensure(IMAGE, ARCHIVE)
    engine.images.clear()
    store.forget(IMAGE)
    store.ensure(IMAGE, ARCHIVE)
    assert engine.loads == 2
