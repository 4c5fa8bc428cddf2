"""The way to the chain's node, which a test can close."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final

_PIECE: Final = 1 << 16


class Line:
    """A port whose connections are carried on to another. While it is closed each connection is ended at
    once, those that were open too."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._shut = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._run(self._accept)

    def shut(self) -> None:
        """Refuse everybody from now on."""
        self._shut.set()
        with self._lock:
            for each in self._sockets:
                _end(each)

    def reopen(self) -> None:
        self._shut.clear()

    def close(self) -> None:
        """The end of it."""
        self.shut()
        _end(self._listener)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _run(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._shut.is_set():
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._sockets |= {near, far}
                shut = self._shut.is_set()
            if shut:
                _end(near)
                _end(far)
            for source, to in ((near, far), (far, near)):
                self._run(self._carry, source, to)

    def _carry(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                to.sendall(piece)
        _end(to)
        with self._lock:
            self._sockets.discard(source)
            source.close()


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
