"""What a worker says of its machine, as the service keeps and shows it."""

from __future__ import annotations

import httpx

from prixfixe.protocol.benchmarks import Benchmark, Figures, SignedBenchmark
from prixfixe.protocol.typed_data import Domain
from tests.support.service import CUSTOMER, MARKET, WORKER, World
from worker.benchmarking import sign_benchmark

HERE = Domain(MARKET.chain_id, MARKET.contract)


def figures(disk: int) -> Figures:
    return Figures(integer_one=1, integer_all=2, float_one=3, float_all=4, memory=5, disk=disk)


def say(world: World, signed: SignedBenchmark) -> httpx.Response:
    return world.http.post(
        "/v1/workers/benchmark", json=signed.model_dump(mode="json"), headers=world.sign_in(WORKER)
    )


def shown(world: World) -> Benchmark | None:
    told = world.http.get(f"/v1/workers/{WORKER.address}", headers=world.sign_in(WORKER)).json()["benchmark"]
    return None if told is None else SignedBenchmark.model_validate(told).benchmark


def test_the_newest_statement_is_kept_and_shown_to_the_worker(world: World) -> None:
    world.register()
    now = int(world.clock())
    assert shown(world) is None
    for at, disk in ((now - 10, 1), (now, 2), (now - 5, 3)):
        assert say(world, sign_benchmark(figures(disk), WORKER, HERE, at)).status_code == 204
    found = shown(world)
    assert found is not None
    assert (found.at, found.figures.disk) == (now, 2)


def test_one_of_another_key_market_or_time_is_refused(world: World) -> None:
    world.register()
    now = int(world.clock())
    mine = sign_benchmark(figures(1), WORKER, HERE, now)
    forged = SignedBenchmark(
        benchmark=mine.benchmark.model_copy(update={"figures": figures(9)}), signature=mine.signature
    )
    for signed, code in (
        (sign_benchmark(figures(1), CUSTOMER, HERE, now), "benchmark-elsewhere"),
        (sign_benchmark(figures(1), WORKER, Domain(1, MARKET.contract), now), "benchmark-elsewhere"),
        (sign_benchmark(figures(1), WORKER, HERE, now + 3600), "benchmark-time"),
        (forged, "benchmark-signature"),
    ):
        answer = say(world, signed)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert shown(world) is None
