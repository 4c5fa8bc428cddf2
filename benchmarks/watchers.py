"""Order placement while five hundred watch a job live, compared with the same while nobody watches.

One service process. Its watchers are connections of another process to one job's event stream, in which ten
events a second come; each must see every event. Orders are signed asks, placed by clients of their own, each
turn once without and once with watchers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from benchmarks.orders import orders_a_second
from marketplace.store.events import add_event
from tests.support.service import CUSTOMER, World
from tests.support.serving import served

GOAL: Final = 0.9  # of the orders that are placed while nobody watches
WATCHERS: Final = 500
EVENTS_A_SECOND: Final = 10
_ASKS: Final = 400


def serve(pipe: Connection) -> None:
    """The service; told by the pipe to begin and to end a job's events. Ends with the pipe."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder) / "data", asks_per_minute=0) as (world, url),
    ):
        world.publish()
        job = world.placed()
        world.register()
        asks = [world.ask(kinds=3, price=1_000_000 + number).model_dump_json() for number in range(_ASKS)]
        pipe.send((url, job.id, world.sign_in(CUSTOMER), asks))
        while pipe.recv() is not None:
            stop, told = threading.Event(), list[int]()
            telling = threading.Thread(target=_tell, args=(world, job.id, stop, told))
            telling.start()
            pipe.send("telling")
            pipe.recv()
            stop.set()
            telling.join()
            pipe.send(len(told))


def _tell(world: World, job: str, stop: threading.Event, told: list[int]) -> None:
    """Ten events a second, each noted in `told`."""
    number, next_at = 0, time.monotonic()
    while not stop.wait(max(0.0, next_at - time.monotonic())):
        next_at += 1 / EVENTS_A_SECOND
        number += 1
        with world.store.write() as connection:
            add_event(connection, job, "progress", {"attempt": "ab", "fraction": 0.5, "text": str(number)})
        told.append(number)


def watch(pipe: Connection, host: str, port: int, path: str, headers: dict[str, str], count: int) -> None:
    """So many streams; tells when all are open, and at the end how many events they saw."""

    async def stream(opened: asyncio.Semaphore, seen: list[int], at: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{lines}\r\n".encode())
        try:
            while chunk := await reader.read(65_536):
                if seen[at] < 0:
                    seen[at] = 0
                    opened.release()
                seen[at] += chunk.count(b"event: ")
        finally:
            writer.close()

    async def all_of_them() -> None:
        opened, seen = asyncio.Semaphore(0), [-1] * count
        tasks = []
        for at in range(count):
            tasks.append(asyncio.create_task(stream(opened, seen, at)))
            if at % 50 == 49:  # not more at once than the port's queue holds
                for _ in range(50):
                    await opened.acquire()
        before = list(seen)
        pipe.send("watching")
        await asyncio.to_thread(pipe.recv)
        pipe.send([now - then for now, then in zip(seen, before, strict=True)])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_of_them())


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench watchers", description=__doc__.splitlines()[0])
    parser.add_argument("--watchers", type=int, default=WATCHERS, help=f"how many (default {WATCHERS})")
    parser.add_argument("--requests", type=int, default=500, help="of each client in each turn (default 500)")
    parser.add_argument("--turns", type=int, default=3, help="each without and with watchers (default 3)")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    service = context.Process(target=serve, args=(other,))
    service.start()
    url, job, headers, asks = pipe.recv()
    host, _, port = url.removeprefix("http://").partition(":")
    path = f"/v1/jobs/{job}/events"
    alone: list[float] = []
    watched: list[float] = []
    seen: list[float] = []
    try:
        for _ in range(options.turns):
            alone.append(orders_a_second(url, "verified", asks, options.requests))
            mine, theirs = context.Pipe()
            arguments: Any = (theirs, host, int(port), path, headers, options.watchers)
            watchers = context.Process(target=watch, args=arguments)
            watchers.start()
            mine.recv()
            pipe.send("begin")
            pipe.recv()
            began = time.perf_counter()
            watched.append(orders_a_second(url, "verified", asks, options.requests))
            pipe.send("end")
            told = pipe.recv()
            time.sleep(2.0)  # what was told last is on its way
            mine.send("end")
            counts = mine.recv()
            watchers.join()
            if min(counts) < told:  # one who saw more had not read the job's beginning yet
                raise RuntimeError(f"not everybody saw all {told} events: {min(counts)} to {max(counts)}")
            seen.append(told / (time.perf_counter() - began - 2.0))
    finally:
        pipe.send(None)
        service.join()
    ratio = statistics.median(with_ / without for with_, without in zip(watched, alone, strict=True))
    print(f"alone   {statistics.median(alone):7.0f} orders a second")
    print(f"watched {statistics.median(watched):7.0f} orders a second, by {options.watchers}")
    result = {
        "name": "watchers",
        "value": round(ratio, 3),
        "goal": GOAL,
        "ok": ratio >= GOAL,
        "alone_a_second": round(statistics.median(alone), 1),
        "watched_a_second": round(statistics.median(watched), 1),
        "events_a_second_each": round(statistics.median(seen), 1),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
