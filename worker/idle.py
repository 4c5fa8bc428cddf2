"""What a worker does while it has nothing to run: it measures its machine, and brings images ahead of their
jobs. Both give way to a task at once, or after the image that is on its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from prixfixe.protocol.benchmarks import Figures
from worker.ahead import Ahead
from worker.benchmarking import (
    Benchmarker,
    keep_benchmark,
    kept_benchmark,
    run_measurement,
    sign_benchmark,
)
from worker.quoting import slot_fits
from worker.room import Room


def start_idle_work(room: Room, wait: Callable[[float | None], bool], busy: Callable[[], bool]) -> None:
    """In threads that end by themselves. wait: sleeps so many seconds; True when the worker ends. busy:
    whether an attempt is here."""
    ahead = Ahead(
        room.images,
        catalogue=room.client.bundles,
        size=room.client.blob_size,
        runs=lambda product: slot_fits(room.settings, product) is None,
        wait=wait,
        busy=busy,
    )
    for name, run in (("benchmark", _benchmarker(room, wait, busy).run), ("ahead", ahead.run)):
        threading.Thread(target=run, name=name, daemon=True).start()


def _benchmarker(room: Room, wait: Callable[[float | None], bool], busy: Callable[[], bool]) -> Benchmarker:
    data = room.settings.data

    def report(figures: Figures | None) -> None:
        if figures is not None:
            keep_benchmark(data, sign_benchmark(figures, room.signer, room.domain, int(time.time())))
        if (kept := kept_benchmark(data, room.signer.address)) is not None:
            room.client.benchmark(kept)

    return Benchmarker(
        wait=wait,
        busy=busy,
        measure=lambda: run_measurement(data, disturbed=lambda: busy() or wait(0.0)),
        report=report,
    )
