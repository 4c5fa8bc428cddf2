"""The worker's main loop: sign in, register, take up what a restart interrupted, then one assignment a free
slot.

Threads: the caller's, which waits for signals; the heart; one that polls; one an attempt. Nothing sleeps to
wait for work: the poll is answered by the service the moment there is some.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from prixfixe.errors import Conflict, PrixfixeError, Unavailable
from prixfixe.logs import about, ids
from prixfixe.metrics import serving
from prixfixe.protocol.typed_data import Domain
from prixfixe.protocol.wire import Assignment, Market
from worker import holder
from worker.attempt import Attempt
from worker.cage import LABEL_ATTEMPT, LABEL_GPUS
from worker.calls import Description
from worker.chain import ChainReader
from worker.checks import NotOurs
from worker.client import ServiceClient, Stopped, require_market
from worker.duty import LOCK_FILE, Duty
from worker.gauges import PREFIX, Gauges
from worker.gpus import GpuPool
from worker.hands import Hands
from worker.heart import Heart
from worker.idle import start_idle_work
from worker.images import ImageStore
from worker.inputs import InputCache
from worker.isolation import capabilities
from worker.journal import Journal
from worker.lots import Lots
from worker.machine_key import open_key
from worker.notes import remember_version, service_differs
from worker.ownlog import ids_of
from worker.registering import registration
from worker.room import Room
from worker.sealing import Secrets
from worker.settings import WorkerSettings
from worker.settling import Settler
from worker.shelf import SHELF_FILE, ImageShelf
from worker.slots import Slots
from worker.states import States
from worker.voice import Emit, Voice
from worker.watch import Watch
from worker.whereabouts import require_room

log = logging.getLogger("prixfixe.worker")

_POLL_SECONDS: Final = 25.0
_FOREVER: Final = 10 * 365 * 86400.0
_KEEP_ENDED_SECONDS: Final = 7 * 86400.0
_ABSENT_SECONDS: Final = 1.0  # between looks at a node or service that is away at the start
_FULL_SECONDS: Final = 1.0  # between looks at a full disk
_LOCK_SECONDS: Final = 0.2
_LAST_WORDS_SECONDS: Final = 10.0  # for refusals of tasks that a drain cut off


class Daemon:
    """One worker. `run` returns when it was told to stop and has."""

    def __init__(self, settings: WorkerSettings, emit: Emit = lambda event, facts: None) -> None:
        self._settings = settings
        self._told = emit
        self._emit: Emit = emit
        self._draining = threading.Event()
        self._stopping = threading.Event()  # at once
        self._condition = threading.Condition()
        self._active: dict[str, Attempt] = {}
        self._hands: Hands | None = None
        self._up = False  # signed in and registered; before that a stop has nothing to wait for

    # ------------------------------------------------------------------------------------------------- stop

    def stop(self) -> None:
        """First call: take no more work and finish what runs. Second call: stop at once."""
        if self._draining.is_set() or not self._up:
            self._stopping.set()
        self._draining.set()
        with self._condition:
            self._condition.notify_all()

    @property
    def runner_pid(self) -> int | None:
        """Process id of the runner that lives now."""
        return None if self._hands is None else self._hands.pid

    # -------------------------------------------------------------------------------------------------- run

    def run(self) -> None:
        """Until stopped. ConfigurationError, Forbidden and the like when it cannot work at all."""
        self._settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (
            only_one(self._settings.data),
            closing(Voice(self._told)) as self._emit,
            self._room() as (room, market, runner),
        ):
            self._up = True
            heart = Heart(room, market, self._beat_facts, self._give_up, self.stop)
            remember_version(self._settings.data)
            if (differs := service_differs(market.version)) is not None:
                log.info("%s", differs)
            self._recover(room)
            heart.start()
            gauges = Gauges(room, self._slots_taken, lambda: heart.heard)
            try:
                with serving(self._settings.metrics, gauges.families, PREFIX) as url:
                    self._emit("ready", {**self._describe(room, market, runner), "metrics": url})
                    threading.Thread(target=self._poll, args=(room,), name="poll", daemon=True).start()
                    start_idle_work(room, self._draining.wait, lambda: bool(self._active))
                    self._draining.wait()
                    heart.drain(time.time() + self._settings.drain_seconds)
                    self._drain()
            finally:
                heart.stop()
            self._emit("stopped", {"unfinished": len(room.journal.unfinished())})

    @contextmanager
    def _room(self) -> Iterator[tuple[Room, Market, Description]]:
        """Everything that attempts share, checked: service, chain, key, engine."""
        settings = self._settings
        with ExitStack() as open_:
            # Before the key is read: what a child could inherit by mistake is not there yet.
            hands = open_.enter_context(
                closing(Hands(settings.data, settings.scratch, connections=4 * settings.slots + 8))
            )
            self._hands = hands
            client = open_.enter_context(closing(ServiceClient(settings.service, stopping=self._stopping)))
            market = client.market(wait=_FOREVER)
            require_market(market, settings.contract)
            chain = open_.enter_context(closing(ChainReader(settings.rpc, market.contract, market.chain_id)))
            self._once_there(chain.check)
            signer = open_key(settings.data, settings.key, market.chain_id)
            self._once_there(lambda: chain.require_authorised(settings.provider, signer.address))
            self._once_there(lambda: client.sign_in(signer))
            runner = hands.describe()
            journal = open_.enter_context(closing(Journal(settings.data / "journal.db")))
            states = open_.enter_context(closing(States(settings.data, self._emit)))
            settler = Settler(
                chain, journal, signer, market.policy.grace, settings.settle_after_seconds, states, self._emit
            )
            inputs = InputCache(settings.data / "inputs", client.download, settings.limits.input_cache_mib)
            shelf = ImageShelf(settings.data / SHELF_FILE, settings.limits.image_quota_mib << 20)
            # Left first of all: cleaning uses everything above.
            pool = open_.enter_context(ThreadPoolExecutor(4 + settings.slots, thread_name_prefix="pool"))
            local = runner.scratch == "loop" and runner.user == 0 and holder.possible()
            if settings.egress and not local:
                log.warning("no way out is offered to jobs: it needs root on the engine's own x86-64 host")
            here = installation(settings.data)
            domain = Domain(market.chain_id, market.contract)
            secrets = Secrets(settings.data, here, domain)
            if runner.scratch == "carried":
                secrets.possible = False  # they are on this machine, and the engine is not
                require_room(settings.memory_mib, settings.disk_mib, runner.memory_mib)
            has = capabilities(
                settings.runtime, runner.runtimes, egress=settings.egress and local, secrets=secrets.possible
            )
            introduction = registration(settings, has, secrets.statement(signer))
            client.register(introduction, wait=_FOREVER)
            room = Room(
                settings=settings,
                installation=here,
                domain=domain,
                grace=market.policy.grace,
                signer=signer,
                client=client,
                lots=Lots(client),
                states=states,
                settler=settler,
                duty=Duty(settings.data),
                chain=chain,
                hands=hands,
                runtimes=runner.runtimes,
                capabilities=has,
                journal=journal,
                images=ImageStore(hands, inputs, shelf, self._images_in_use),
                inputs=inputs,
                slots=Slots(settings.slots),
                gpus=GpuPool(settings.gpus),
                secrets=secrets,
                pool=pool,
            )
            watch = open_.enter_context(closing(Watch(room)))
            watch.look()
            watch.start()
            open_.callback(settler.close)
            settler.start()
            yield room, market, runner

    def _once_there(self, call: Callable[[], None]) -> None:
        """Call until node or service answers: after a power cut each part comes back in its own time."""
        told = False
        while True:
            try:
                return call()
            except Unavailable as error:
                if not told:
                    log.warning("waiting: %s", error)
                told = True
                if self._stopping.wait(_ABSENT_SECONDS):
                    raise Stopped("stopped before it was ready") from error

    def _recover(self, room: Room) -> None:
        """Take up the journal's attempts, and remove what is left of any other."""
        room.journal.forget_before(time.time() - _KEEP_ENDED_SECONDS)
        rows = room.journal.unfinished()
        known = {row.id for row in rows}
        followed = {
            task.container
            for row in rows
            if row.state == "running"
            for task in room.journal.tasks(row.id).values()
            if task.report is None
        }
        for container, labels in room.hands.containers(room.installation).items():
            if labels.get(LABEL_ATTEMPT) not in known:
                log.info("removing container %s, left by an attempt that is over", container[:12])
                room.hands.remove(container)
            elif LABEL_GPUS in labels and container in followed:
                room.gpus.reserve(container, tuple(labels[LABEL_GPUS].split(",")))
        room.hands.sweep(room.journal.disks())
        room.secrets.sweep(known)
        _sweep(room, known)
        for row in rows:
            attempt = Attempt(room, Assignment.model_validate_json(row.assignment))
            self._launch(attempt, lambda attempt=attempt, row=row: attempt.recover(row))  # type: ignore[misc]

    def _poll(self, room: Room) -> None:
        """One long poll while a slot is free, for as many lots as there are free slots."""
        pause = 0.2
        while not self._draining.is_set():
            with self._condition:
                self._condition.wait_for(
                    lambda: self._taken() < self._settings.slots or self._draining.is_set()
                )
            if self._draining.is_set():
                return
            if room.states.trouble() is not None:  # the heart says it
                self._draining.wait(_FULL_SECONDS)
                continue
            try:
                free = max(self._settings.slots - self._slots_taken(), 1)
                found = room.lots.next(free, _POLL_SECONDS)
                if not found or self._begin_each(room, found):
                    pause = 0.2
                    continue
            except Stopped:
                return
            except PrixfixeError as error:
                log.warning("no assignments for now: %s", error)
            except Exception:
                log.exception("polling failed")
            # A silent service, or one that offers what was turned down: not again at once.
            self._draining.wait(pause)
            pause = min(pause * 2, 5.0)

    def _begin_each(self, room: Room, found: Sequence[Assignment]) -> bool:
        """Begin them while slots are free, and say so; False when none could be begun. What is left comes
        again."""
        begun: dict[str, Attempt] = {}
        for assignment in found:
            if begun and self._slots_taken() >= self._settings.slots:
                break
            attempt = self._accept(room, assignment)
            if attempt is None:
                continue
            tasks = len(assignment.tasks)
            log.info("attempt %s: taken, %d task(s)", attempt.id, tasks, extra=ids(**ids_of(assignment)))
            self._launch(attempt, attempt.begin)
            self._emit("attempt", {"attempt": attempt.id, "deal": assignment.deal_id})
            begun[attempt.id] = attempt
        for name, error in room.lots.start(list(begun)).items():
            if error.code == "job-cancelled":
                log.info("attempt %s: refused, as %s", name, error)
                begun[name].stop("drain")
            else:
                log.warning("attempt %s: the service was not told of its start: %s", name, error)
        return bool(begun)

    def _accept(self, room: Room, assignment: Assignment) -> Attempt | None:
        attempt = Attempt(room, assignment)
        try:
            if (trouble := room.states.trouble()) is not None:
                # Nothing could be journalled of it, so nothing signed: the market gives it to another.
                log.error("attempt %s is not begun: %s", attempt.id, trouble)
                return None
            return attempt if attempt.accept() else None
        except NotOurs as error:
            log.error("attempt %s is not run: %s", assignment.attempt[:64], error)
            return None

    def _launch(self, attempt: Attempt, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                with about(**ids_of(attempt.assignment)):
                    work()
            except Exception:
                log.exception("attempt %s: unexpected", attempt.id)
            finally:
                with self._condition:
                    self._active.pop(attempt.id, None)
                    self._condition.notify_all()

        with self._condition:
            self._active[attempt.id] = attempt
        threading.Thread(target=run, name=f"attempt-{attempt.id[:8]}", daemon=True).start()

    def _taken(self) -> int:
        """Slots that running attempts may use."""
        return sum(attempt.width for attempt in self._active.values())

    def _slots_taken(self) -> int:
        with self._condition:
            return self._taken()

    def _drain(self) -> None:
        """Let running tasks end; then refuse what is left; at a second signal stop everything now."""
        if not self._idle(self._settings.drain_seconds):
            self._stop_all("shutdown" if self._stopping.is_set() else "drain")
            if not self._idle(_LAST_WORDS_SECONDS):
                self._stopping.set()
                self._stop_all("shutdown")
                self._idle(_LAST_WORDS_SECONDS)

    def _idle(self, timeout: float) -> bool:
        with self._condition:
            self._condition.wait_for(lambda: not self._active or self._stopping.is_set(), timeout)
            if self._active and self._stopping.is_set():
                self._stop_all("shutdown")
                self._condition.wait_for(lambda: not self._active, _LAST_WORDS_SECONDS)
            return not self._active

    def _stop_all(self, why: str) -> None:
        with self._condition:
            attempts = list(self._active.values())
        for attempt in attempts:
            threading.Thread(target=attempt.stop, args=(why,), daemon=True).start()

    # ------------------------------------------------------------------------------------------- for others

    def _images_in_use(self) -> set[str]:
        with self._condition:
            return {attempt.assignment.manifest.image for attempt in self._active.values()}

    def _beat_facts(self) -> tuple[str, ...]:
        with self._condition:
            return tuple(self._active)

    def _give_up(self, attempts: tuple[str, ...]) -> None:
        with self._condition:
            found = [self._active[name] for name in attempts if name in self._active]
        for attempt in found:
            attempt.stop("given up")

    def _describe(self, room: Room, market: Market, runner: Description) -> dict[str, Any]:
        return {
            "name": self._settings.name,
            "key": room.signer.address,
            "provider": self._settings.provider,
            "market": market.contract,
            "chain_id": market.chain_id,
            "slots": self._settings.slots,
            "scratch": runner.scratch,
            "runtime": self._settings.runtime,
            "pid": os.getpid(),
            "runner_pid": room.hands.pid,
        }


def _sweep(room: Room, known: set[str]) -> None:
    """Delete what attempts that are over have left in the data folder."""
    for folder in (room.runs, room.kept("")):
        if folder.is_dir():
            for entry in folder.iterdir():
                if entry.name not in known:
                    shutil.rmtree(entry, ignore_errors=True)


def installation(data: Path) -> str:
    """A name for this data folder, made once. Containers carry it, so that a worker never touches
    another's."""
    place = data / "installation"
    try:
        return place.read_text(encoding="ascii")
    except FileNotFoundError:
        part = data / "installation.part"
        part.write_text(uuid.uuid4().hex, encoding="ascii")
        part.replace(place)
        return place.read_text(encoding="ascii")


def _lock(descriptor: int) -> None:
    """BlockingIOError when another has it: for longer than a command that only looks (`duty.is_running`)."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise
        time.sleep(0.02)


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """Two daemons on one journal would sign against each other. Conflict names the one that runs."""
    descriptor = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            _lock(descriptor)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            raise Conflict(
                f"another worker runs on {data}" + (f": process {pid}" if pid else ""),
                hint="give each worker a --data of its own",
                fault="provider",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        with suppress(OSError):
            os.close(descriptor)
