"""Hostile jobs bought on a market, on runc and on gVisor at once, beside a healthy one that must not notice.

One order a runtime: every attack is a task of it (`tests/support/attacks.py`), on a worker of its own. The
neighbour runs on a third worker of the same machine and engine, task after task, for as long as they do.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from prixfixe.client.verification import verify
from prixfixe.client.wishes import TaskResult, Wish
from prixfixe.development_keys import ADDRESSES
from prixfixe.devnet.processes import alive, spawn, stop
from prixfixe.devnet.settings import FIRST_PROVIDER
from prixfixe.protocol.money import Money
from prixfixe.protocol.outputs import TaskStatus
from prixfixe.protocol.product import Product
from tests.support.devnet import ROOT, Devnet, running_devnet, wait_for
from worker.cage import GVISOR, LABEL_WORKER
from worker.engine import Engine

# All of it is in the set-up of whichever test comes first.
pytestmark = [pytest.mark.engine, pytest.mark.network_ports, pytest.mark.timeout(600)]

PROGRAM = ROOT / "tests" / "support" / "attacks.py"
IMAGE = "prixfixe-base:bookworm"
SECONDS = 12
PRODUCT = Product(milli_vcpu=500, memory_mib=128, disk_mib=64, max_seconds=SECONDS)
PRICE = Money.parse("0.01")
WALLET = "wallet-of-the-worker.json"
RUNTIMES = ("runc", GVISOR)

OK, FAILED, MEMORY = TaskStatus.SUCCEEDED, TaskStatus.EXITED_NON_ZERO, TaskStatus.OUT_OF_MEMORY
TIME, REFUSED = TaskStatus.OUT_OF_TIME, TaskStatus.OUTPUT_REFUSED
Measure = Callable[[dict[str, Any]], bool]


def _nothing(seen: dict[str, Any]) -> bool:
    return True


@dataclass(frozen=True)
class Attack:
    """name: of a function of the program. runc, gvisor: how it may end there. says: words of the reason that
    its customer reads. holds: what must be true of what it measured."""

    name: str
    runc: tuple[TaskStatus, ...] = (OK,)
    gvisor: tuple[TaskStatus, ...] | None = None
    says: str = ""
    holds: Measure = _nothing

    def expected(self, runtime: str) -> tuple[TaskStatus, ...]:
        return self.runc if runtime == "runc" or self.gvisor is None else self.gvisor


ATTACKS: Final = (
    # gVisor's kernel runs out of host threads and dies with the bomb.
    Attack("fork_bomb", (TIME, MEMORY), (TIME, MEMORY, FAILED)),
    Attack("memory", (MEMORY,), says="128 MiB"),
    Attack("page_cache"),
    Attack("spin", holds=lambda seen: seen["processors"] < 0.75),
    Attack("ignores_signals", (TIME,), says=f"{SECONDS} seconds"),
    Attack("fill_outputs", holds=lambda seen: 1 <= seen["mib"] <= 64),
    Attack("fill_temporary", holds=lambda seen: 1 <= seen["mib"] <= 64),
    Attack("fill_shared", (OK, MEMORY), holds=lambda seen: seen["mib"] <= 64),
    # A busy machine may take longer for 64 MiB of log, or for so many files in gVisor, than the task has.
    Attack("log_burst", (REFUSED, TIME)),
    Attack("log_line", (REFUSED, TIME)),
    Attack("many_files", (REFUSED,), (REFUSED, TIME), says="more than 4096"),
    Attack("sparse", (REFUSED,), says="more than 67108864 bytes"),
    Attack("name_with_newline", (REFUSED,), says="control character"),
    Attack("name_not_utf8", (REFUSED,), says="UTF-8"),
    Attack("name_that_climbs", (REFUSED,), says="backslash"),
    Attack("name_of_255_bytes"),
    Attack("symbolic_link", (REFUSED,), says="symbolic link"),
    Attack("link_in_a_folder", (REFUSED,), says="symbolic link"),
    Attack("hard_link", (REFUSED,), says="several names"),
    Attack("device"),
    # What gVisor does not make on a folder of the host, nobody has to refuse.
    Attack("named_pipe", (REFUSED,), (REFUSED, OK), says="named pipe"),
    Attack("listening_socket", (REFUSED,), (REFUSED, OK), says="socket"),
    Attack("network"),
    Attack("neighbour"),
    Attack("system_calls"),
    Attack("secrets"),
    Attack("past_its_root"),
)
# Works inside of gVisor's own kernel, on nothing but the sandbox itself.
OWN_KERNEL: Final = frozenset({"adjtimex", "unshare of mounts", "chroot"})

HEALTHY = """
import hashlib, json, os, socket
open('/tmp/neighbour-was-here', 'w').close()
one, other = socket.socket(socket.AF_UNIX), socket.socket()
one.bind('\\0prixfixe-neighbour'); one.listen()
other.bind(('0.0.0.0', 45454)); other.listen()
data = b'healthy'
for _ in range(300_000):
    data = hashlib.sha256(data).digest()
open('/job/outputs/result', 'w').write(data.hex())
"""


def known_result() -> str:
    data = b"healthy"
    for _ in range(300_000):
        data = hashlib.sha256(data).digest()
    return data.hex()


@dataclass
class Outcome:
    """What became of all of it. tasks: of each runtime by attack, with what it saw. neighbours: results of
    the healthy tasks, None for one that did not end well. bystander: see `_listening`."""

    tasks: dict[str, dict[str, tuple[TaskResult, dict[str, Any]]]] = field(default_factory=dict)
    neighbours: list[str | None] = field(default_factory=list)
    ordered: dict[str, dict[str, Any]] = field(default_factory=dict)
    met: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    logs: list[int] = field(default_factory=list)  # bytes of each task's log, as its customer gets it
    failures: list[BaseException] = field(default_factory=list)


def _provider(worker: int) -> str:
    return ADDRESSES[FIRST_PROVIDER + worker - 1]


@contextmanager
def _listening(met: list[str]) -> Iterator[list[tuple[str, int]]]:
    """Servers of the host, TCP and UDP, on loopback and on every address; who comes is written down."""
    with ExitStack() as open_:
        places = []
        for host in ("127.0.0.1", "0.0.0.0"):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                server = open_.enter_context(socket.socket(socket.AF_INET, kind))
                server.bind((host, 0))
                if kind == socket.SOCK_STREAM:
                    server.listen()
                thread = threading.Thread(target=_note, args=(server, met), daemon=True)
                thread.start()
                own = [host] if host != "0.0.0.0" else _own_addresses()
                places += [(each, server.getsockname()[1]) for each in own]
        yield places


def _note(server: socket.socket, met: list[str]) -> None:
    with suppress(OSError):
        if server.type == socket.SOCK_STREAM:
            met.append(str(server.accept()[1]))
        else:
            met.append(str(server.recvfrom(100)[1]))


def _own_addresses() -> list[str]:
    """Of every interface of this machine; also of the engine's bridge, if it has one."""
    told = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout
    return [each for each in told.split() if ":" not in each]


@contextmanager
def _with_runtime(devnet: Devnet, worker: int, runtime: str) -> Iterator[None]:
    """A worker of the devnet is replaced by one that runs everything on this runtime."""
    record = devnet.state.process(f"worker-{worker}")
    assert record is not None
    devnet.kill(record.name)
    log = devnet.folder.logs / f"{runtime}.log"
    egress = ["--egress"] if runtime == "runc" else []
    started = spawn(record.name, [*record.argv, "--runtime", runtime, *egress], log)
    try:
        wait_for(lambda: " ready: key" in log.read_text(), 60, f"the start of the worker on {runtime}")
        yield
        assert alive(started), f"the worker on {runtime} did not survive its jobs"
    finally:
        stop(started)


def _attack(
    devnet: Devnet, folder: Path, archive: Path, worker: int, facts: dict[str, Any]
) -> dict[str, tuple[TaskResult, dict[str, Any]]]:
    wish = Wish(
        archive,
        ("python3", f"/job/inputs/{PROGRAM.name}", "{attack}"),
        product=PRODUCT,
        inputs=(PROGRAM,),
        parameters=facts,
        price=PRICE,
        lot=len(ATTACKS),
        providers=(_provider(worker),),
        wait_seconds=120,
    )
    rows = [{"attack": attack.name} for attack in ATTACKS]
    with devnet.client() as client:
        ended = client.map(wish, rows, folder)
    seen = {}
    for attack, task in zip(ATTACKS, ended, strict=True):
        place = task.folder / "seen.json"
        seen[attack.name] = (task, json.loads(place.read_text()) if place.exists() else {})
    return seen


ORDERED: Final = """
import json, os, urllib.error, urllib.request
seen = {"kernel": open("/proc/version").read(), "proxy": os.environ.get("http_proxy")}
try:
    urllib.request.urlopen("http://other.example/", timeout=5)
except (OSError, urllib.error.HTTPError) as error:
    seen["other"] = getattr(error, "code", None)
json.dump(seen, open("/job/outputs/seen.json", "w"))
"""


def _order(devnet: Devnet, folder: Path, archive: Path, **required: Any) -> dict[str, Any]:
    """A task with requirements on the worker that runs everything on runc and lets jobs call hosts."""
    wish = Wish(archive, ("python3", "-c", ORDERED), product=PRODUCT, price=PRICE, providers=(_provider(1),),
                wait_seconds=120, **required)  # fmt: skip
    with devnet.client() as client:
        job = client.wait(client.submit(wish))
        client.download(job, folder)
        receipt = client.receipt(job)
    cage = receipt.lots[0].cage or {}
    context = devnet.context
    assert verify(receipt, [], chain_id=context.chain_id, contract=context.contract).valid
    seen = json.loads((folder / "seen.json").read_text())
    return {**seen, "cage": (cage.get("runtime"), cage.get("hosts"))}


def _live_on(devnet: Devnet, folder: Path, archive: Path, over: threading.Event, outcome: Outcome) -> None:
    wish = Wish(archive, ("python3", "-c", HEALTHY), product=PRODUCT, price=PRICE, tasks=4, lot=4,
                providers=(_provider(3),), wait_seconds=120)  # fmt: skip
    number = 0
    with devnet.client() as client:
        while not over.is_set():
            number += 1
            place = folder / str(number)
            job = client.wait(client.submit(wish))
            client.download(job, place)
            for index in range(4):
                found = place / str(index) / "result"
                outcome.neighbours.append(found.read_text() if found.exists() else None)


@pytest.fixture(scope="module")
def outcome(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Everything is tried once; the tests look at what came of it."""
    root = tmp_path_factory.mktemp("attacks")
    here = [name for name in RUNTIMES if name in engine.info().get("Runtimes", {})]
    outcome, archive = Outcome(), root / "image.tar"
    subprocess.run(["docker", "save", "-o", str(archive), IMAGE], check=True)
    with (
        running_devnet(root, workers=3, bundles=()) as devnet,
        _listening(outcome.met) as listening,
        ExitStack() as replaced,
    ):
        secret = secrets.token_hex(16)
        records = [devnet.state.process(f"worker-{number}") for number in (1, 2, 3)]
        for number, runtime in enumerate(here, start=1):
            replaced.enter_context(_with_runtime(devnet, number, runtime))
            (devnet.folder.worker(number) / WALLET).write_text(secret)
        ports = [int(url.rsplit(":", 1)[1].strip("/")) for url in (devnet.state.service, devnet.state.rpc)]
        facts = {
            "listening": [*listening, *(("127.0.0.1", port) for port in ports)],
            "pids": [os.getpid(), *(record.pid for record in records if record is not None)],
            "wallet": WALLET,
            "secret": secret[::-1],
        }
        over = threading.Event()
        healthy = threading.Thread(
            target=_guarded(outcome, _live_on), args=(devnet, root / "healthy", archive, over, outcome)
        )
        healthy.start()

        def attack(number: int, runtime: str) -> None:
            outcome.tasks[runtime] = _attack(devnet, root / runtime, archive, number, facts)

        threads = [
            threading.Thread(target=_guarded(outcome, attack), args=(number, runtime))
            for number, runtime in enumerate(here, start=1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        def order(name: str, **required: Any) -> None:
            outcome.ordered[name] = _order(devnet, root / name, archive, **required)

        guarded = _guarded(outcome, order)
        guarded("egress", hosts=("api.example.com",))
        if GVISOR in here:
            guarded("gvisor", isolation="gvisor")
        over.set()
        healthy.join()
        # What is left once the workers have cleaned up after themselves.
        installations = [(devnet.folder.worker(number) / "installation").read_text() for number in (1, 2, 3)]
        with suppress(AssertionError):
            wait_for(
                lambda: not any(engine.labelled(LABEL_WORKER, each) for each in installations),
                *(120, "cleaning"),
            )
        outcome.left += [each for name in installations for each in engine.labelled(LABEL_WORKER, name)]
        kept = (devnet.folder.service / "logs").iterdir()
        outcome.logs += [place.stat().st_size for place in kept]
    outcome.left += [line for line in Path("/proc/mounts").read_text().splitlines() if str(root) in line]
    return outcome


def _guarded(outcome: Outcome, work: Callable[..., None]) -> Callable[..., None]:
    def run(*arguments: Any, **named: Any) -> None:
        try:
            work(*arguments, **named)
        except BaseException as error:
            outcome.failures.append(error)

    return run


def test_the_market_carries_all_of_it_to_an_end(outcome: Outcome) -> None:
    assert outcome.failures == []
    assert "runc" in outcome.tasks


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_ends_where_the_cage_does(outcome: Outcome, attack: Attack, runtime: str) -> None:
    if runtime not in outcome.tasks:
        pytest.skip(f"the engine has no runtime {runtime}: scripts/setup starts one that has")
    task, seen = outcome.tasks[runtime][attack.name]
    assert task.status is not None, "it never ran"
    ended = TaskStatus(task.status)
    assert ended in attack.expected(runtime), f"{ended.name}: {task.reason} {seen}"
    worked = set(seen.get("worked", ())) - (OWN_KERNEL if runtime == GVISOR else set())
    assert not worked
    # What gVisor tells a job of its own time is no measure; `test_cage.py` asks the engine.
    if ended is OK and (runtime, attack.name) != (GVISOR, "spin"):
        assert attack.holds(seen), seen
    elif ended is attack.runc[0]:
        assert attack.says in str(task.reason)


def test_no_customer_is_sent_more_of_a_log_than_its_tasks_share(outcome: Outcome) -> None:
    # However `log_burst` and `log_line` end on a busy machine.
    assert 1000 < max(outcome.logs) < (1 << 20) // len(ATTACKS) + 1000


def test_a_job_that_requires_gvisor_gets_it_from_a_worker_that_runs_others_on_runc(outcome: Outcome) -> None:
    if GVISOR not in outcome.tasks:
        pytest.skip("the engine has no runtime runsc: scripts/setup starts one that has")
    assert "Linux version 4.4.0 " in outcome.ordered["gvisor"]["kernel"], "the version that gVisor claims"
    assert outcome.ordered["gvisor"]["proxy"] is None
    assert outcome.ordered["gvisor"]["cage"] == (GVISOR, []), "as its worker signed it, in the receipt"
    assert "Linux version 4.4.0 " not in outcome.ordered["egress"]["kernel"]


def test_a_job_that_names_hosts_finds_a_proxy_that_refuses_others(outcome: Outcome) -> None:
    assert outcome.ordered["egress"]["proxy"] == "http://127.0.0.1:3128"
    assert outcome.ordered["egress"]["other"] == 403
    assert outcome.ordered["egress"]["cage"] == ("runc", ["api.example.com"])


def test_the_healthy_neighbour_noticed_nothing(outcome: Outcome) -> None:
    # A task that took more than the product's seconds would have been stopped, and have no result.
    assert len(outcome.neighbours) >= 4
    assert set(outcome.neighbours) == {known_result()}


def test_nothing_of_the_host_was_called_and_nothing_is_left(outcome: Outcome) -> None:
    assert outcome.met == []
    assert outcome.left == []
