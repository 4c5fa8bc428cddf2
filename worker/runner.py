"""Runs one container from start to end and tells the facts; decides nothing about money.

The clock that stops a task is here, outside of the container: at its limit the whole container is killed,
whatever it does with signals. The streams are read as they come, and read on when nobody wants them any
more, so that a loud job blocks on nothing but its own limit.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prixfixe.errors import EngineError
from prixfixe.protocol.egress import parse_host
from worker import holder
from worker.cage import Cage
from worker.carrying import Carrier
from worker.containers import ContainerState, EngineLost, Run, container_name, holder_name
from worker.egress import Proxy, Resolve, look_up
from worker.engine import Engine, Stream
from worker.logs import LogTail, Piece
from worker.scratch import Disk
from worker.stopping import Stopper

log = logging.getLogger("prixfixe.worker")

_KILLED: Final = 137  # exit code of what SIGKILL ended, and of a shell that waited for it
_WATCH_SECONDS: Final = 0.5  # how often a watched disk is measured
_ENGINE_BACK_SECONDS: Final = 60.0  # how long a lost engine is waited for


@dataclass(frozen=True, slots=True)
class Job:
    """What to run and where its text goes. seconds: until it is killed. emit: called with each piece of
    log."""

    cage: Cage
    disk: Disk
    tail: LogTail
    seconds: float
    emit: Callable[[Piece], None]


class Runner:
    """Runs jobs on one engine."""

    def __init__(self, engine: Engine, resolve: Resolve = look_up) -> None:
        self._engine = engine
        self._resolve = resolve

    def create(self, cage: Cage) -> str:
        """Make the container, not started; its id. A job that calls hosts gets its namespace first."""
        name = container_name(cage.attempt, cage.task)
        if cage.mounts.carried is not None:
            self._engine.remove(name)  # of an earlier try: it has the volumes
            Carrier(self._engine).bring(cage)
        beside = self._engine.hold(holder.create_request(cage), holder_name(name)) if cage.hosts else None
        return self._engine.create(cage.create_request(beside), name)

    def run(self, container: str, job: Job, stopper: Stopper) -> Run:
        """Start a created container and follow it to its end."""
        with self._way_out(job):
            # Over TLS what an attached socket has decrypted already would wait for what comes after it.
            stream = self._engine.attach(container) if job.cage.mounts.carried is None else None
            started = time.monotonic()
            self._engine.start(container)
            # Not before: nothing is killed that does not run yet, and a stop that came by then is told here.
            stopper.arm(lambda: self._kill(container))
            stream = stream or self._engine.follow(container)
            return self._follow(container, stream, job, stopper, started)

    def resume(self, state: ContainerState, job: Job, stopper: Stopper) -> Run:
        """Follow a container that an earlier process of this worker started; its whole log is read again.
        One that is over needs no way out any more, and who followed it may have taken that away."""
        with nullcontext() if state.over else self._way_out(job):
            started = time.monotonic() - _age(state.started_at)
            stopper.arm(lambda: self._kill(state.id))
            stream = self._engine.follow(state.id)
            return self._follow(state.id, stream, job, stopper, started)

    @contextmanager
    def _way_out(self, job: Job) -> Iterator[None]:
        """The proxy of a job that may call hosts, from before its start to after its end; what it did is the
        end of the job's log."""
        cage = job.cage
        if not cage.hosts:
            yield
            return
        beside = holder_name(container_name(cage.attempt, cage.task))
        if not (pid := self._engine.pid(beside)):
            raise EngineError("the job's network namespace is gone", code="no-egress", retryable=True)
        proxy = Proxy(
            holder.listen_inside(pid), [parse_host(host) for host in cage.hosts], resolve=self._resolve
        )
        proxy.start()
        try:
            yield
            lines = "".join(f"{line}\n" for line in proxy.account())
            if lines and (piece := job.tail.feed(False, lines.encode())) is not None:
                job.emit(piece)
        finally:
            proxy.close()
            with suppress(EngineError):
                self._engine.remove(beside)

    def _follow(self, container: str, stream: Stream, job: Job, stopper: Stopper, started: float) -> Run:
        with _Watch(job, stopper, started), closing(stream):
            with suppress(EngineLost, OSError):
                self._read(stream, job, stopper)
            state = self._ended(container, started + job.seconds)
        stopper.disarm()
        seconds = time.monotonic() - started
        if state is None:
            raise EngineError(
                "the engine lost the container while it ran", code="container-lost", retryable=True
            )
        no_memory = state.oom_killed
        if state.exit_code == _KILLED and not no_memory and stopper.why is None:
            with suppress(EngineError):
                no_memory = self._engine.ran_out_of_memory(state.id)
        if state.error and state.exit_code != 0 and not no_memory and stopper.why is None:
            raise EngineError(
                f"the engine could not run the container: {state.error[:300]}", code="could-not-run"
            )
        return Run(
            exit_code=state.exit_code,
            seconds=seconds,
            oom_killed=no_memory,
            stopped_for=stopper.why,
            error=job.tail.last_error(),
            last_line=job.tail.last_line(),
        )

    def _read(self, stream: Stream, job: Job, stopper: Stopper) -> None:
        for is_error, data in stream:
            if stopper.why == "log":
                continue  # read on, so that the engine is not blocked while it kills
            piece = job.tail.feed(is_error, data)
            if piece is not None:
                job.emit(piece)
            if job.tail.flooded:
                stopper.stop("log")

    def _ended(self, container: str, until: float) -> ContainerState | None:
        """Its state once it is over. An engine that went away meanwhile is waited for."""
        back_by = max(until, time.monotonic()) + _ENGINE_BACK_SECONDS
        pause = 0.05
        while True:
            try:
                state = self._engine.state(container)
                if state is None or state.over:
                    return state
                # Its streams ended before it did: closed by itself, or the engine is still writing down the
                # end.
                self._engine.wait(container, max(1.0, until - time.monotonic() + 5.0))
            except EngineLost:
                if time.monotonic() + pause > back_by:
                    raise
                time.sleep(pause)
                pause = min(pause * 2, 2.0)

    def _kill(self, container: str) -> None:
        try:
            self._engine.kill(container)
        except EngineError as error:
            log.warning("container %s could not be killed: %s", container[:12], error)


class _Watch:
    """Stops a run at its time limit, and a watched disk at its size."""

    def __init__(self, job: Job, stopper: Stopper, started: float) -> None:
        left = max(0.0, started + job.seconds - time.monotonic())
        self._timer = threading.Timer(left, stopper.stop, ["time"])
        self._timer.daemon = True
        self._over = threading.Event()
        self._job = job
        self._stopper = stopper
        self._meter = threading.Thread(target=self._measure, name="disk", daemon=True)

    def __enter__(self) -> None:
        self._timer.start()
        if self._job.disk.kind == "watched":
            self._meter.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._over.set()

    def _measure(self) -> None:
        most = self._job.disk.size_mib << 20
        while not self._over.wait(_WATCH_SECONDS):
            if self._job.disk.used_bytes() > most:
                self._stopper.stop("disk")
                return


def _age(started_at: str) -> float:
    """Seconds since the engine started it; it writes nanoseconds, which Python does not read."""
    text = started_at.rstrip("Z").split(".")[0]
    try:
        return max(0.0, time.time() - datetime.fromisoformat(text + "+00:00").timestamp())
    except ValueError:
        return 0.0
