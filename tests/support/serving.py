"""A service of this process behind a real port, and a line to it that breaks when a test says so."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from tests.support.service import World


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[tuple[World, str]]:
    """A service that answers on a loopback port; itself and its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        folder.mkdir()
        made = World(folder, **{"other_domains": (host,), **settings})
        server = uvicorn.Server(
            uvicorn.Config(made.app, log_level="error", lifespan="off", proxy_headers=False)
        )
        made.in_hand = lambda: len(server.server_state.tasks)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield made, f"http://{host}"
        finally:
            made.services.close_streams()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
    made.close()


class BreakingLine:
    """Passes bytes on to the port of `world`, and breaks each connection that has carried `after` bytes in a
    request that way, `times` times. Who sent them learns it once the service has kept what it got: who asked
    sooner would be told of less. With `stays` nothing passes after a break until `mend`."""

    def __init__(self, world: World, url: str, after: int, times: int, *, stays: bool = False) -> None:
        self._world = world
        self._port = urlsplit(url).port or 0
        self._after = after
        self.left = times
        self.carried = 0
        self.away = False
        self._stays = stays
        self._sockets: list[socket.socket] = []
        self._carriers: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def mend(self) -> None:
        self.away = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        self._cut(*self._sockets)
        for carrier in self._carriers:
            carrier.join(10)
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._sockets.append(near)
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets.append(far)
                for pair in ((near, far, True), (far, near, False)):
                    self._carriers.append(threading.Thread(target=self._carry, args=pair, daemon=True))
                    self._carriers[-1].start()

    def _carry(self, source: socket.socket, sink: socket.socket, forth: bool) -> None:
        carried, broken = 0, False
        with contextlib.suppress(OSError):
            while (data := source.recv(4096)) and not (forth and self.away):
                sink.sendall(data)
                if forth:
                    carried += len(data)
                    self.carried += len(data)
                    if carried >= self._after and self.left:
                        self.left -= 1
                        broken = True
                        self.away = self._stays
                        break
        if broken:
            with contextlib.suppress(OSError):
                # The service sees the end and closes its side, which ends the way back.
                sink.shutdown(socket.SHUT_WR)
            return
        if not forth:
            self._await_service()
        self._cut(source, sink)

    def _await_service(self) -> None:
        deadline = time.monotonic() + 20
        while self._world.in_hand() and time.monotonic() < deadline:
            time.sleep(0.005)

    @staticmethod
    def _cut(*sockets: socket.socket) -> None:
        """Closed only in the end: a number that is used again could be cut by mistake."""
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
