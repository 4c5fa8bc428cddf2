"""GPUs: each one task's at a time. On an engine that only remembers what it was asked for."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from prixfixe.errors import ConfigurationError, EngineError
from prixfixe.protocol.product import Product
from tests.worker.test_cage_value import CAGE
from tests.worker.test_quoting import SETTINGS, STANDING
from worker.cage import LABEL_GPUS
from worker.gpus import Gpu, GpuPool, models
from worker.quoting import due_asks, slot_fits, slots_for
from worker.registering import registration

A, B, C = Gpu("a100-80g", "GPU-a"), Gpu("a100-80g", "GPU-b"), Gpu("t4", "GPU-c")
ONE = Product.parse("gpu-0.25x1-1xa100-80g/10m")
TWO = Product.parse("gpu-0.25x1-2xa100-80g/10m")
never = lambda: False  # noqa: E731


def test_the_engine_is_asked_for_these_devices_and_no_others() -> None:
    request = replace(CAGE, gpus=("GPU-a", "GPU-b")).create_request()
    assert request["HostConfig"]["DeviceRequests"] == [
        {
            "Driver": "nvidia",
            "DeviceIDs": ["GPU-a", "GPU-b"],
            "Capabilities": [["gpu", "compute", "utility"]],
        }
    ]
    assert request["Labels"][LABEL_GPUS] == "GPU-a,GPU-b"
    assert "DeviceRequests" not in CAGE.create_request()["HostConfig"]


def test_a_report_says_how_many_and_not_which() -> None:
    mine, theirs = replace(CAGE, gpus=("GPU-a",)), replace(CAGE, gpus=("GPU-z",))
    assert mine.describe()["gpus"] == 1
    assert mine.digest == theirs.digest != CAGE.digest
    assert "gpus" not in CAGE.describe()


def test_a_device_is_one_tasks_at_a_time_and_of_the_model_that_was_bought() -> None:
    pool = GpuPool([A, B, C])
    seen: list[tuple[str, ...]] = []
    both_inside = threading.Barrier(2)

    def task() -> None:
        with pool.hold("a100-80g", 1, never) as devices:
            seen.append(devices)
            both_inside.wait(10)

    with pool.hold("t4", 1, never) as small:
        assert small == ("GPU-c",)
        threads = [threading.Thread(target=task) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(seen) == [("GPU-a",), ("GPU-b",)]
    with pool.hold("a100-80g", 2, never) as all_of_them:
        assert sorted(all_of_them) == ["GPU-a", "GPU-b"]


def test_a_task_waits_until_another_gives_its_gpus_back_or_the_worker_stops() -> None:
    pool = GpuPool([A])
    got: list[tuple[str, ...]] = []
    stopping = threading.Event()

    def task() -> None:
        with pool.hold("a100-80g", 1, stopping.is_set) as devices:
            got.append(devices)

    first = threading.Thread(target=task)
    with pool.hold("a100-80g", 1, never):
        first.start()
        first.join(0.05)
        assert got == []
    first.join(10)
    with pool.hold("a100-80g", 1, never):
        second = threading.Thread(target=task)
        second.start()
        stopping.set()
        pool.wake()
        second.join(10)
    assert got == [("GPU-a",), ()]


def test_a_container_that_a_restart_finds_keeps_its_own() -> None:
    pool = GpuPool([A, B])
    pool.reserve("found", ("GPU-a",))
    with pool.hold("a100-80g", 1, never) as another, pool.hold("a100-80g", 1, never, "found") as its:
        assert (another, its) == (("GPU-b",), ("GPU-a",))
    with pool.hold("a100-80g", 2, never) as both:
        assert sorted(both) == ["GPU-a", "GPU-b"]


def test_what_was_kept_for_a_container_is_free_again_when_no_task_came_for_it() -> None:
    pool = GpuPool([A, B])
    pool.reserve("found", ("GPU-a", "GPU-gone"))
    pool.forget("found")
    pool.forget("found")
    with pool.hold("a100-80g", 2, never) as both:
        assert sorted(both) == ["GPU-a", "GPU-b"]


def test_more_than_there_are_is_refused_at_once() -> None:
    with pytest.raises(EngineError, match="not so many"), GpuPool([C]).hold("a100-80g", 1, never):
        pass


def test_what_is_asked_for_follows_the_gpus() -> None:
    settings = replace(SETTINGS, slots=3, disk_mib=16384, gpus=(A, B, C))
    assert (slots_for(settings, ONE), slots_for(settings, TWO)) == (2, 1)
    assert "this worker offers 0" in str(slot_fits(replace(settings, gpus=()), ONE))
    one, two = due_asks(settings, [ONE, TWO], STANDING, {})
    assert (one.slots, two.slots) == (2, 1)
    assert registration(settings, ()).resources.gpus == {"a100-80g": 2, "t4": 1}
    assert "gpus" not in registration(SETTINGS, ()).resources.model_dump()


def test_what_a_provider_types_is_read_or_refused() -> None:
    assert Gpu.parse("a100-80g=GPU-8d1f") == Gpu("a100-80g", "GPU-8d1f")
    assert models([A, B, C]) == {"a100-80g": 2, "t4": 1}
    for text in ("a100", "A100=0", "a100=", "a100=0,1", "much-too-long-a-model=0"):
        with pytest.raises(ConfigurationError):
            Gpu.parse(text)
    with pytest.raises(ConfigurationError, match="twice"):
        replace(SETTINGS, data=Path("x"), gpus=(A, Gpu("t4", "GPU-a")))
