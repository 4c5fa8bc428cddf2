"""Signed orders over HTTP: verified, on disk before the answer, on the book, by one process.

Compared with the same endpoint without the signature check, which only this program can switch off: it puts
another function in its place in the service that it starts. Beside them the same orders a hundred in a
request, the bare endpoint that parses the same body and answers, and, once at the end, bids one after the
other and a hundred in a request, from one client. The service is a process of its own, its
clients are others of this machine; what the chain would say is answered in the process, so that no node is
measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import httpx

from marketplace import workers
from prixfixe.protocol import wire
from prixfixe.protocol.book import AskPlacement
from tests.service.test_bids import ARCHIVE, quote, signed
from tests.support.service import CUSTOMER, WORKER, World
from tests.support.serving import served

GOAL: Final = 0.6
CLIENTS: Final = 4
BATCH: Final = 100
WAYS: Final = ("verified", "unverified", "hundreds", "bare")


def serve(pipe: Connection) -> None:
    """The service, and what it is told by the pipe: whether signatures are checked. Ends with the pipe."""
    checked = workers._signer
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder) / "data", asks_per_minute=0) as (world, url),
    ):

        @world.app.post("/bare")
        def bare(placement: AskPlacement) -> dict[str, int]:
            return {"asks": len(placement.asks)}

        world.register()
        pipe.send((url, [each.model_dump_json() for each in _asks(world)], _bids(world)))
        while (way := pipe.recv()) is not None:
            workers._signer = checked if way != "unverified" else lambda signed, domain: WORKER.address
            pipe.send(way)


def _asks(world: World) -> list[wire.SignedAsk]:
    """Different asks of one worker; each replaces the one before."""
    return [world.ask(kinds=3, price=1_000_000 + number) for number in range(CLIENTS * BATCH)]


def _bids(world: World) -> list[str]:
    """Different bids of one customer, for one quote."""
    world.upload(CUSTOMER, ARCHIVE)
    found = quote(world, kind="auction", price="1000")
    return [json.dumps(signed(found, nonce=number)) for number in range(2 * BATCH)]


def bids_a_second(url: str, bids: list[str]) -> tuple[float, float]:
    """Bids that one client placed in a second: one after the other, and a hundred in a request."""
    alone, together = bids[:BATCH], f'{{"jobs":[{",".join(bids[BATCH:])}]}}'
    with httpx.Client(base_url=url, headers={"Content-Type": "application/json"}, timeout=60) as http:
        began = time.perf_counter()
        for body in alone:
            http.post("/v1/jobs", content=body).raise_for_status()
        between = time.perf_counter()
        answers = http.post("/v1/jobs/batch", content=together).raise_for_status().json()["items"]
        ended = time.perf_counter()
    if not all(each["new"] for each in answers):
        raise RuntimeError(f"a bid was not taken: {answers}")
    return BATCH / (between - began), BATCH / (ended - between)


def send(url: str, path: str, bodies: list[bytes], start: Any, done: Any) -> None:
    """One client: its requests, one after the other on one connection."""
    with httpx.Client(base_url=url, headers={"Content-Type": "application/json"}, timeout=60) as http:
        http.post(path, content=bodies[0]).raise_for_status()
        start.wait()
        taken = 0
        for body in bodies:
            answer = http.post(path, content=body).raise_for_status().json()
            taken += answer["asks"] if path == "/bare" else sum(each["taken"] for each in answer["items"])
        done.put(taken)


def orders_a_second(url: str, way: str, asks: list[str], requests: int) -> float:
    """Orders that were taken in a second, by all clients together."""
    path = "/bare" if way == "bare" else "/v1/asks"
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(CLIENTS + 1), context.Queue()
    clients = []
    for number in range(CLIENTS):
        own = asks[number * BATCH : (number + 1) * BATCH]
        bodies = [f'{{"asks":[{each}]}}'.encode() for each in own]
        if way == "hundreds":
            bodies = [f'{{"asks":[{",".join(own)}]}}'.encode()]
        given = [
            bodies[at % len(bodies)] for at in range(max(requests // (BATCH if way == "hundreds" else 1), 1))
        ]
        clients.append(context.Process(target=send, args=(url, path, given, start, done)))
    for each in clients:
        each.start()
    start.wait()
    began = time.perf_counter()
    taken = sum(done.get() for _ in clients)
    seconds = time.perf_counter() - began
    for each in clients:
        each.join()
    return float(taken / seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench orders", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=500, help="of each client in each turn (default 500)")
    parser.add_argument("--turns", type=int, default=3, help="of all ways, one after the other (default 3)")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    service = context.Process(target=serve, args=(other,))
    service.start()
    url, asks, bids = pipe.recv()
    measured: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        for _ in range(options.turns):
            for way in WAYS:
                pipe.send(way)
                pipe.recv()
                measured[way].append(orders_a_second(url, way, asks, options.requests))
        alone, hundreds = bids_a_second(url, bids)
    finally:
        pipe.send(None)
        service.join()
    # Way against way within each turn: what else the machine does then weighs on both.
    pairs = zip(measured["verified"], measured["unverified"], strict=True)
    ratio = statistics.median(verified / unverified for verified, unverified in pairs)
    for way, found in measured.items():
        print(f"{way:<11} {statistics.median(found):8.0f} orders a second")
    print(f"{'bids':<11} {alone:8.0f} a second one after the other, {hundreds:.0f} in one request of {BATCH}")
    result = {
        "name": "orders",
        "value": round(ratio, 3),
        "goal": GOAL,
        "ok": ratio >= GOAL,
        **{f"{way}_a_second": round(statistics.median(found), 1) for way, found in measured.items()},
        "bids_a_second": round(alone, 1),
        "bids_in_hundreds_a_second": round(hundreds, 1),
    }
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
