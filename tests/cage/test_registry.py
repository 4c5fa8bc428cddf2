"""Images from a registry, by digest, through a real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from prixfixe.errors import EngineError
from tests.support.registry import Registry, serving_image
from worker.engine import Engine
from worker.images import ImageStore
from worker.inputs import InputCache

pytestmark = pytest.mark.network_ports


@pytest.fixture
def registry(engine: Engine, image: str) -> Iterator[Registry]:
    """The tests' image, served; what the engine pulled of it is forgotten afterwards."""
    local = docker.from_env()
    with serving_image(b"".join(local.images.get(image).save())) as served:
        yield served
        if engine.image_config(served.image) is not None:
            local.images.remove(served.image)


def store(engine: Engine, folder: Path) -> ImageStore:
    def fetch(sha256: str, offset: int) -> None:
        raise AssertionError("nothing comes from the blob store")

    return ImageStore(engine, InputCache(folder, fetch, 100))  # type: ignore[arg-type]


def test_an_image_is_pulled_by_its_digest_once(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    images = store(engine, tmp_path)
    for _ in range(2):
        images.ensure(registry.image, None)
    assert engine.image_config(registry.image) is not None
    digest = registry.image.partition("@")[2]
    assert sum(path == f"/v2/base/manifests/{digest}" for path in registry.asked) in (1, 2), registry.asked
    before = len(registry.asked)
    store(engine, tmp_path).ensure(registry.image, None)
    assert len(registry.asked) == before, "what the engine has is not asked for again"


def test_a_digest_that_the_registry_does_not_have_is_the_customers_mistake(
    engine: Engine, registry: Registry, tmp_path: Path
) -> None:
    wrong = registry.image.partition("@")[0] + "@sha256:" + "0" * 64
    with pytest.raises(EngineError, match="could not be pulled") as refused:
        store(engine, tmp_path).ensure(wrong, None)
    assert (refused.value.code, refused.value.fault) == ("image-not-pulled", "customer")


def test_a_customer_does_not_read_who_listens_in_the_providers_network(
    engine: Engine, tmp_path: Path
) -> None:
    closed = "127.0.0.1:1/base@sha256:" + "0" * 64
    with pytest.raises(EngineError) as refused:
        store(engine, tmp_path).ensure(closed, None)
    assert refused.value.code == "registry-silent"
    assert "127.0.0.1" not in refused.value.message
