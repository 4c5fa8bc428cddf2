"""The daemon's side of its runner: starts it, keeps it alive, and calls it.

The runner is another process, in a session of its own, with an environment of the few names that an engine's
client needs. It is started before the worker's key is read, inherits one socket and nothing else, and when
it dies it is started again: calls that it took along are repeated here, and a run that it followed is
followed anew by whoever asked for it.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

from prixfixe.errors import EngineError
from prixfixe.protocol.outputs import OutputFile, OutputManifest
from worker import calls
from worker.cage import Cage
from worker.calls import ANSWER, DATA, END, ERROR, EVENT, REQUEST, STOP, Channel, RunnerLost
from worker.containers import ContainerState, Run
from worker.logs import Piece
from worker.outputs import OutputLimits
from worker.scratch import Disk
from worker.settings import Limits, ScratchKind
from worker.stopping import Stopper

log = logging.getLogger("prixfixe.worker")

# What Docker's client reads, where programs and certificates are, and nothing else of ours.
_PASSED_ON: Final = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_RUNTIME_DIR"),
    *("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG"),
)
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_STEADY_SECONDS: Final = 10.0  # a runner that lived that long did not die of its start
_BACK_SECONDS: Final = 60.0  # how long a call waits for a runner that dies again and again


class Hands:
    """One runner. Safe for many threads. Every call raises EngineError when runner or engine fail it."""

    def __init__(self, data: Path, scratch: ScratchKind, connections: int) -> None:
        self._command = [
            *(sys.executable, "-I", "-m", "worker.serving"),
            *("--disks", str(data.absolute() / "disks"), "--scratch", scratch),
            *("--connections", str(connections)),
        ]
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._held: set[Path] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, name="runner", daemon=True)
        self._keeper.start()

    # ---------------------------------------------------------------------------------------------- process

    @property
    def pid(self) -> int:
        """Of the runner that lives now."""
        return self._process.pid

    def close(self) -> None:
        """Let it end: it deletes the disks that nobody took."""
        self._closing.set()
        self._control.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._keeper.join(5.0)
        self._theirs.close()

    def _start(self) -> subprocess.Popen[bytes]:
        place = self._theirs.fileno()
        return subprocess.Popen(
            [*self._command, "--control", str(place)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(place,),
            start_new_session=True,
            cwd="/",
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        )

    def _keep(self) -> None:
        """Start it again whenever it ends, with growing pauses while it ends at once."""
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            status = self._process.wait()
            if self._closing.is_set():
                return
            pause = _FIRST_PAUSE if time.monotonic() - began > _STEADY_SECONDS else pause
            log.error("the runner (pid %d) ended with %d: starting it again", self._process.pid, status)
            if self._closing.wait(pause):
                return
            pause = min(pause * 2, _LONGEST_PAUSE)
            with self._lock:
                held = set(self._held)
            self._process = self._start()
            threading.Thread(target=self._sweep_again, args=(held,), name="sweep", daemon=True).start()

    def _sweep_again(self, held: set[Path]) -> None:
        """What the dead one had ready, or had made for an answer that never came."""
        try:
            self.sweep(held)
        except EngineError as error:
            log.warning("the disks of the runner that ended could not be removed: %s", error)

    # ---------------------------------------------------------------------------------------------- calling

    @contextmanager
    def _open(self, request: calls.Request) -> Iterator[Channel]:
        ours, theirs = socket.socketpair()
        with closing(Channel(ours)) as channel:
            with theirs:
                try:
                    socket.send_fds(self._control, [b"c"], [theirs.fileno()])
                except OSError as error:
                    raise RunnerLost("the worker's runner is not there") from error
            channel.send(REQUEST, calls.encode_request(request))
            yield channel

    def _call(self, request: calls.Request, kind: Any = None) -> Any:
        """Its answer, a `kind`; asked again while the runner comes back."""
        until: float | None = None  # from the first loss on: a call itself may take longer
        while True:
            try:
                with self._open(request) as channel:
                    return self._answer(channel, kind)
            except RunnerLost:
                until = until or time.monotonic() + _BACK_SECONDS
                if time.monotonic() > until or self._closing.wait(_FIRST_PAUSE):
                    raise

    @staticmethod
    def _answer(channel: Channel, kind: Any, event: Callable[[bytes], None] | None = None) -> Any:
        while True:
            frame, payload = channel.receive()
            if frame == ANSWER:
                return calls.decode(kind, payload)
            if frame == ERROR:
                raise calls.decode_error(payload)
            if frame == EVENT and event is not None:
                event(payload)

    # ------------------------------------------------------------------------------------------------ engine

    def describe(self) -> calls.Description:
        """A runner that takes the place of this one bounds disks as it does, whatever it finds then."""
        found: calls.Description = self._call(calls.Describe(), calls.Description)
        self._command[self._command.index("--scratch") + 1] = found.scratch
        return found

    def ping(self) -> None:
        """EngineError when the engine does not answer."""
        self._call(calls.Ping())

    def image_config(self, image: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._call(calls.ImageConfig(image), dict[str, Any] | None)
        return found

    def image_size(self, image: str) -> int:
        return int(self._call(calls.ImageSize(image), int))

    def remove_image(self, image: str) -> bool:
        """False when a container has it."""
        return bool(self._call(calls.RemoveImage(image), bool))

    def load_image(self, archive: Iterable[bytes]) -> None:
        """Not repeated when the runner ends: the archive is read once."""
        with self._open(calls.LoadImage()) as channel:
            pieces = chain(((DATA, chunk) for chunk in archive), [(END, b"")])
            for kind, payload in pieces:
                try:
                    channel.send(kind, payload)
                except RunnerLost:
                    break  # it turned the archive down: why is its answer
            self._answer(channel, None)

    def pull(self, image: str) -> None:
        self._call(calls.PullImage(image))

    def containers(self, installation: str) -> dict[str, dict[str, str]]:
        """Of this installation: id -> labels."""
        found: dict[str, dict[str, str]] = self._call(
            calls.ListContainers(installation), dict[str, dict[str, str]]
        )
        return found

    def state(self, container: str) -> ContainerState | None:
        found: ContainerState | None = self._call(calls.InspectContainer(container), ContainerState | None)
        return found

    def remove(self, container: str) -> None:
        self._call(calls.RemoveContainer(container))

    # ------------------------------------------------------------------------------------------------- disks

    def prepare(self, size_mib: int) -> None:
        self._call(calls.PrepareDisk(size_mib))

    def take(self, size_mib: int) -> Disk:
        return self._hold(self._call(calls.TakeDisk(size_mib), Disk))

    def adopt(self, folder: Path, size_mib: int) -> Disk | None:
        disk: Disk | None = self._call(calls.AdoptDisk(folder, size_mib), Disk | None)
        return self._hold(disk) if disk is not None else None

    def release(self, folder: Path) -> None:
        self._call(calls.ReleaseDisk(folder))
        with self._lock:
            self._held.discard(folder)

    def sweep(self, keep: set[Path]) -> None:
        self._call(calls.SweepDisks(tuple(sorted(keep))))

    def _hold(self, disk: Disk) -> Disk:
        with self._lock:
            self._held.add(disk.folder)
        return disk

    # --------------------------------------------------------------------------------------------- container

    def create(self, cage: Cage) -> str:
        return str(self._call(calls.Create(cage), str))

    def run(
        self,
        container: str,
        cage: Cage,
        disk: Disk,
        limits: Limits,
        seconds: float,
        stopper: Stopper,
        emit: Callable[[Piece], None],
        *,
        again: bool,
    ) -> Run:
        """Start a container, or follow one that was started, to its end. RunnerLost when the runner ended
        before it: the container may run on."""
        request = calls.Run(container, cage, disk, limits, seconds, again)
        with self._open(request) as channel:

            def stop() -> None:
                with suppress(RunnerLost):
                    channel.send(STOP, (stopper.why or "").encode())

            stopper.arm(stop)
            try:
                run: Run = self._answer(channel, Run, lambda piece: emit(calls.decode(Piece, piece)))
                return run
            finally:
                stopper.disarm()

    # ----------------------------------------------------------------------------------------------- outputs

    def collect(self, folder: Path, limits: OutputLimits) -> OutputManifest:
        """OutputRefused names the first thing that is not allowed."""
        return OutputManifest(self._call(calls.Collect(folder, limits), tuple[OutputFile, ...]))

    def keep(self, folder: Path, files: tuple[OutputFile, ...], into: Path) -> None:
        self._call(calls.Keep(folder, files, into))

    def read(self, folder: Path, path: str, offset: int, length: int) -> Iterator[bytes]:
        """Bytes of a collected file, gone on with where a runner that ends meanwhile stopped."""
        end, until = offset + length, time.monotonic() + _BACK_SECONDS
        while True:
            try:
                with self._open(calls.ReadOutput(folder, path, offset, end - offset)) as channel:
                    while (frame := channel.receive())[0] == DATA:
                        offset += len(frame[1])
                        until = time.monotonic() + _BACK_SECONDS
                        yield frame[1]
                    if frame[0] == ERROR:
                        raise calls.decode_error(frame[1])
                    return
            except RunnerLost:
                if time.monotonic() > until or self._closing.wait(_FIRST_PAUSE):
                    raise

    def delete(self, folder: Path) -> None:
        self._call(calls.DeleteFolder(folder))
