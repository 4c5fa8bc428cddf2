"""A machine is measured, the figures are signed, and measured again at moments that nobody can tell."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from prixfixe.errors import Unavailable, VerificationFailed
from prixfixe.protocol.benchmarks import Figures
from tests.worker.orders import DOMAIN, PROVIDER, WORKER
from worker.benchmarking import (
    Benchmarker,
    keep_benchmark,
    kept_benchmark,
    next_pause,
    run_measurement,
    sign_benchmark,
)

FIGURES = Figures(integer_one=1, integer_all=2, float_one=3, float_all=4, memory=5, disk=6)


def test_every_figure_of_a_real_measurement_is_there(tmp_path: Path) -> None:
    figures = run_measurement(tmp_path, seconds=0.02)
    assert figures is not None
    assert all(value > 0 for value in figures.model_dump().values())
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_comes_ends_the_measurement(tmp_path: Path) -> None:
    assert run_measurement(tmp_path, seconds=30, disturbed=lambda: True) is None


def test_a_statement_is_the_keys_own_and_of_this_machine(tmp_path: Path) -> None:
    signed = sign_benchmark(FIGURES, WORKER, DOMAIN, 1_800_000_000)
    signed.verify()
    faster = signed.benchmark.model_copy(update={"figures": FIGURES.model_copy(update={"disk": 7})})
    with pytest.raises(VerificationFailed):
        signed.model_copy(update={"benchmark": faster}).verify()
    keep_benchmark(tmp_path, signed)
    assert kept_benchmark(tmp_path, WORKER.address) == signed
    assert kept_benchmark(tmp_path, PROVIDER.address) is None
    elsewhere = signed.model_copy(
        update={"benchmark": signed.benchmark.model_copy(update={"machine": "00" * 32})}
    )
    keep_benchmark(tmp_path, elsewhere)
    assert kept_benchmark(tmp_path, WORKER.address) is None


def test_it_is_repeated_at_random_when_nothing_runs_and_told_when_the_market_answers() -> None:
    waits: list[float] = []
    told: list[Figures | None] = []
    busy = [True, False, False]

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 4

    def report(figures: Figures | None) -> None:
        told.append(figures)
        if figures is None:
            raise Unavailable("away")

    measured = iter([None, FIGURES])
    Benchmarker(
        wait=wait,
        busy=lambda: busy.pop(0),
        measure=lambda: next(measured),
        report=report,
        chance=random.Random(7),
    ).run()
    assert told == [None, FIGURES]  # at the start what was kept; the disturbed one is not told
    assert waits[1] == 60.0  # a task was here when its time came


def test_pauses_are_of_hours_and_never_alike() -> None:
    chance = random.Random(1)
    pauses = [next_pause(chance) for _ in range(500)]
    assert min(pauses) >= 1800
    assert max(pauses) <= 86_400
    assert len(set(pauses)) > 400
