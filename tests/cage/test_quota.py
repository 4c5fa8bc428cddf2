"""Images beyond the quota go, on a real engine."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from worker.engine import Engine
from worker.images import ImageStore
from worker.inputs import InputCache
from worker.shelf import ImageShelf


@pytest.fixture
def archive(engine: Engine) -> tuple[str, bytes]:
    """The id of an image of some random bytes that the engine does not have, and its archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        found = tarfile.TarInfo("random")
        found.size = 4096
        tar.addfile(found, io.BytesIO(os.urandom(4096)))
    local = docker.from_env()
    image = str(engine.image_id(local.api.import_image_from_data(content.getvalue()).split('"')[3]))
    saved = b"".join(local.images.get(image).save())
    local.images.remove(image)
    local.close()
    return image, saved


def test_one_that_a_container_has_stays_and_goes_when_it_is_gone(
    engine: Engine, archive: tuple[str, bytes], tmp_path: Path
) -> None:
    image, saved = archive
    name = hashlib.sha256(saved).hexdigest()

    @contextmanager
    def fetch(sha256: str, offset: int) -> Iterator[Iterable[bytes]]:
        assert (sha256, offset) == (name, 0)
        yield [saved]

    shelf = ImageShelf(tmp_path / "images.json", 0)
    images = ImageStore(engine, InputCache(tmp_path / "cache", fetch, 100), shelf)
    images.ensure(image, name)
    assert engine.image_config(image) is not None
    assert shelf.total > 0
    made = engine.create({"Image": image, "Cmd": ["/random"]}, "prixfixe-test-quota")
    try:
        images.evict()
        assert engine.image_config(image) is not None
    finally:
        engine.remove(made)
    images.evict()
    assert engine.image_config(image) is None
    assert shelf.total == 0
