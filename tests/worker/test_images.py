"""Images: only under the id that was signed for."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from prixfixe.errors import EngineError, VerificationFailed
from prixfixe.protocol.wire import ListedTier
from tests.support.market import OFFER, PRODUCT
from worker.ahead import Ahead
from worker.images import ImageStore
from worker.inputs import InputCache
from worker.shelf import ImageShelf

IMAGE = "sha256:" + "aa" * 32
ARCHIVE = hashlib.sha256(b"archive").hexdigest()


class FakeEngine:
    """Knows images by id; loading an archive brings `inside`."""

    def __init__(self, inside: str, config: dict[str, object] | None = None) -> None:
        self.images: dict[str, dict[str, object]] = {}
        self.inside, self.config, self.loads, self.asked = inside, config or {}, 0, 0
        self.held: set[str] = set()  # by somebody's container

    def image_config(self, image: str) -> dict[str, object] | None:
        self.asked += 1
        return self.images.get(image)

    def image_size(self, image: str) -> int:
        return 100

    def load_image(self, archive: Iterable[bytes]) -> None:
        assert b"".join(archive) == b"archive"
        self.loads += 1
        self.images[self.inside] = self.config

    def pull(self, image: str) -> None:
        self.images[image] = self.config

    def remove_image(self, image: str) -> bool:
        if image in self.held:
            return False
        del self.images[image]
        return True


@pytest.fixture
def cache(tmp_path: Path) -> InputCache:
    @contextmanager
    def fetch(sha256: str, offset: int) -> Iterator[Iterable[bytes]]:
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


class TestTheQuota:
    """Room for two images of 100 bytes."""

    NAMES = tuple(f"registry.example/app@sha256:{n:064x}" for n in range(4))

    @pytest.fixture
    def engine(self) -> FakeEngine:
        return FakeEngine(IMAGE)

    @pytest.fixture
    def in_use(self) -> set[str]:
        return set()

    @pytest.fixture
    def store(self, engine: FakeEngine, cache: InputCache, in_use: set[str], tmp_path: Path) -> ImageStore:
        now = itertools.count(1000, 100)
        shelf = ImageShelf(tmp_path / "images.json", 250, lambda: float(next(now)))
        return ImageStore(engine, cache, shelf, lambda: in_use)

    def test_the_least_recently_used_goes_first(self, store: ImageStore, engine: FakeEngine) -> None:
        first, second, third, _ = self.NAMES
        for name in (first, second, first, third):
            store.ensure(name, None)
        assert set(engine.images) == {first, third}

    def test_one_that_an_attempt_needs_stays_until_it_is_over(
        self, store: ImageStore, engine: FakeEngine, in_use: set[str]
    ) -> None:
        in_use.update(self.NAMES[:3])
        for name in self.NAMES[:3]:
            store.ensure(name, None)
        assert set(engine.images) == set(self.NAMES[:3])
        in_use.clear()
        store.evict()
        assert set(engine.images) == set(self.NAMES[1:3])

    def test_what_the_worker_did_not_bring_is_never_removed(
        self, store: ImageStore, engine: FakeEngine
    ) -> None:
        engine.images = {name: {} for name in self.NAMES[:3]}
        for name in self.NAMES:
            store.ensure(name, None)
        store.evict()
        assert set(engine.images) == set(self.NAMES)

    def test_one_that_a_container_has_is_tried_again_later(
        self, store: ImageStore, engine: FakeEngine
    ) -> None:
        engine.held = {self.NAMES[0]}
        for name in self.NAMES[:3]:
            store.ensure(name, None)
        assert self.NAMES[0] in engine.images
        engine.held = set()
        store.evict()
        assert self.NAMES[0] not in engine.images

    def test_a_restart_knows_what_it_brought(
        self, store: ImageStore, engine: FakeEngine, cache: InputCache, tmp_path: Path
    ) -> None:
        for name in self.NAMES[:2]:
            store.ensure(name, None)
        ImageStore(engine, cache, ImageShelf(tmp_path / "images.json", 100)).evict()
        assert set(engine.images) == {self.NAMES[1]}

    def test_bundles_are_brought_ahead_only_into_free_room_and_while_nothing_runs(
        self, store: ImageStore, engine: FakeEngine
    ) -> None:
        busy = [True]
        sizes = {"large": 300, "small": 100, "retired": 1, "unfit": 1}
        tier = ListedTier(
            name="t", unit="rows", up_to=1, price="1", offer_id="0x" + "00" * 32, offer=OFFER, until=2**33
        )  # fmt: skip
        sold = [
            SimpleNamespace(
                id=name,
                version="1",
                image=self.NAMES[at],
                image_archive=name,
                retired=name == "retired",
                tiers=() if name == "unfit" else (tier,),
            )
            for at, name in enumerate(sizes)
        ]
        asked: list[bool] = []
        ahead = Ahead(
            store,
            catalogue=lambda: asked.append(True) or sold,  # type: ignore[return-value,arg-type,func-returns-value]
            size=sizes.__getitem__,
            runs=lambda product: product == PRODUCT,
            wait=lambda seconds: True,
            busy=lambda: busy[0],
        )
        ahead.run()
        assert (engine.images, asked) == ({}, [])
        busy[0] = False
        ahead.run()
        ahead.run()
        assert set(engine.images) == {self.NAMES[1]}
