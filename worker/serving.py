"""The runner's process: it alone talks to the engine, mounts disks and reads what strangers' programs left.

It never sees the worker's key, has no session with the market, and ends with the daemon that started it; if
tasks run then, once their clocks are over or their containers gone, so that a container never runs without
a clock because a daemon was killed.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import get_args

from prixfixe.errors import EngineError, PrixfixeError
from prixfixe.protocol.outputs import OutputFile
from worker import calls
from worker.cage import LABEL_WORKER
from worker.calls import ANSWER, CHUNK_BYTES, DATA, EVENT, REQUEST, STOP, Channel, RunnerLost
from worker.carrying import Carrier
from worker.containers import Run
from worker.engine import Engine
from worker.logs import LogTail, Piece
from worker.outputs import OutputLimits, OutputRefused, collect, open_output
from worker.outputs import keep as keep_files
from worker.runner import Job, Runner
from worker.scratch import ScratchPool, carried_name
from worker.selftest import require_seccomp
from worker.settings import ScratchKind
from worker.stopping import Stopper
from worker.whereabouts import address, require_keeper, require_limits, require_shared

log = logging.getLogger("prixfixe.runner")


class Server:
    """Answers the calls of one daemon, each in a thread. The engine is looked for when it is first needed,
    so that one that is away is an error of a call and not of the process."""

    def __init__(self, disks: Path, scratch: ScratchKind, connections: int) -> None:
        self._disks = disks
        self._scratch = scratch
        self._connections = connections
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pool: ScratchPool | None = None
        self._busy = threading.Condition()
        self._runs = 0

    def serve(self, control: socket.socket) -> None:
        """Until the daemon has gone and no task runs any more."""
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(control, 16, 1)
            except OSError:
                break
            if not message:
                break
            for descriptor in descriptors:
                connection = socket.socket(fileno=descriptor)
                threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()
        with self._busy:
            self._busy.wait_for(lambda: self._runs == 0)
        if self._pool is not None:
            self._pool.close()

    def _serve_one(self, connection: socket.socket) -> None:
        with closing(Channel(connection)) as channel, suppress(RunnerLost):
            try:
                kind, payload = channel.receive()
                if kind != REQUEST:
                    raise EngineError("the worker's runner was not asked for anything")
                channel.send(ANSWER, calls.encode(self._answer(calls.decode_request(payload), channel)))
            except RunnerLost:
                raise
            except PrixfixeError as error:
                channel.fail(error)
            except Exception as error:
                log.exception("unexpected")
                channel.fail(EngineError(f"the worker failed: {type(error).__name__}", code="worker-fault"))

    def _answer(self, request: calls.Request, channel: Channel) -> object:
        match request:
            case calls.Describe():
                return self._describe()
            case calls.Ping():
                self.engine.ping()
            case calls.ImageConfig(image):
                return self.engine.image_config(image)
            case calls.ImageSize(image):
                return self.engine.image_size(image)
            case calls.RemoveImage(image):
                return self.engine.remove_image(image)
            case calls.LoadImage():
                self.engine.load_image(channel.data())
            case calls.PullImage(image):
                self.engine.pull(image)
            case calls.ListContainers(installation):
                return self.engine.labelled(LABEL_WORKER, installation)
            case calls.InspectContainer(container):
                return self.engine.state(container)
            case calls.RemoveContainer(container):
                self.engine.remove(container)
            case calls.PrepareDisk(size_mib):
                self.pool.prepare(size_mib)
            case calls.TakeDisk(size_mib):
                return self.pool.take(size_mib)
            case calls.AdoptDisk(folder, size_mib):
                return self.pool.adopt(folder, size_mib)
            case calls.ReleaseDisk(folder):
                self.pool.discard(folder)
            case calls.SweepDisks(keep):
                self.pool.sweep(set(keep))
            case calls.Create(cage):
                return Runner(self.engine).create(cage)
            case calls.Run():
                return self._run(request, channel)
            case calls.Collect(folder, limits):
                return self._collect(folder, limits)
            case calls.Keep(folder, files, into):
                shutil.rmtree(into, ignore_errors=True)
                keep_files(folder, files, into)
            case calls.ReadOutput():
                self._read(request, channel)
            case calls.DeleteFolder(folder):
                shutil.rmtree(folder, ignore_errors=True)
        return None

    def _describe(self) -> calls.Description:
        info = self.engine.info()
        require_seccomp(info)
        require_limits(info)
        if self.pool.kind == "carried":
            require_keeper(info)
        return calls.Description(
            user=os.geteuid(),
            scratch=self.pool.kind,
            memory_mib=int(info.get("MemTotal") or 0) >> 20,
            runtimes=tuple(sorted(info.get("Runtimes") or ())),
        )

    def _run(self, request: calls.Run, channel: Channel) -> Run:
        """Follow a container to its end. The clock is here, so a daemon that goes away ends nothing."""
        stopper = Stopper()
        ear = threading.Thread(target=self._hear_stops, args=(channel, stopper), daemon=True)
        ear.start()

        def emit(piece: Piece) -> None:
            with suppress(RunnerLost):
                channel.send(EVENT, calls.encode(piece))

        job = Job(request.cage, request.disk, LogTail(request.limits), request.seconds, emit)
        runner = Runner(self.engine)
        try:
            with self._one_more_run():
                if not request.again:
                    return runner.run(request.container, job, stopper)
                state = self.engine.state(request.container)
                if state is None:
                    raise EngineError(
                        "the engine lost the container while it ran", code="container-lost", retryable=True
                    )
                return runner.resume(state, job, stopper)
        finally:
            channel.deafen()
            ear.join()  # before the descriptor is closed: its number is soon another call's

    @staticmethod
    def _hear_stops(channel: Channel, stopper: Stopper) -> None:
        with suppress(RunnerLost):
            while (frame := channel.receive())[0] == STOP:
                stopper.stop(frame[1].decode())

    @contextmanager
    def _one_more_run(self) -> Iterator[None]:
        with self._busy:
            self._runs += 1
        try:
            yield
        finally:
            with self._busy:
                self._runs -= 1
                self._busy.notify_all()

    @staticmethod
    def _read(request: calls.ReadOutput, channel: Channel) -> None:
        with open_output(request.folder, request.path) as stream:
            stream.seek(request.offset)
            left = request.length
            while chunk := stream.read(min(CHUNK_BYTES, left)):
                left -= len(chunk)
                channel.send(DATA, chunk)

    # ------------------------------------------------------------------------------------------------ things

    @property
    def engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = Engine(connections=self._connections)
            return self._engine

    @property
    def pool(self) -> ScratchPool:
        with self._lock:
            if self._pool is None:
                require_shared(self._scratch, address())
                self._pool = ScratchPool(self._disks, self._scratch, self)
            return self._pool

    def drop(self, name: str) -> None:
        """What the engine has of a carried disk."""
        Carrier(self.engine).drop(name)

    def _collect(self, folder: Path, limits: OutputLimits) -> tuple[OutputFile, ...]:
        name = carried_name(folder.parent.parent)
        try:
            if name is not None:
                Carrier(self.engine).fetch(name, folder, limits)
            return collect(folder, limits).files
        except OSError as error:
            raise OutputRefused(
                f"the outputs cannot be read: {error.strerror}", code="output-unreadable", fault="provider"
            ) from error


def main() -> None:
    """`python -m worker.serving`, with the daemon's socket as an inherited descriptor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--disks", type=Path, required=True)
    parser.add_argument("--scratch", choices=get_args(ScratchKind), required=True)
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    # The daemon decides when to end; what a terminal or a service manager sends to both is its to hear.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=options.control)
    Server(options.disks, options.scratch, options.connections).serve(control)


if __name__ == "__main__":
    main()
