"""Kill any process at any moment, and take chain, database and disk away: every task ends settled or
refunded, once, and the books agree."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from marketplace.store.database import Store
from marketplace.store.tables import cursor, jobs
from prixfixe.devnet.anvil import running_anvil
from prixfixe.keys import development_signer
from prixfixe.protocol.money import Money
from scheduler.accounting import check_money, stuck, unfinished
from scheduler.restoring import run as rebuild
from tests.faults import sellers
from tests.faults.company import Company
from tests.faults.customers import Customer, Front, publish
from tests.faults.line import Line
from tests.faults.troubles import Place, Trouble, plan
from tests.support.market import LocalMarket, deploy_local_market
from tests.support.ports import lasting_ports
from tests.support.postgres import PostgresServer, require_programs, running_postgres
from tests.support.scheduling import until

pytestmark = [pytest.mark.chain, pytest.mark.network_ports]

PROVIDERS = (4, 5, 6, 7, 8, 9)  # development keys; three replicas may be asked of three others
FIRST_KEY = 10
SELLERS = Path(sellers.__file__)


@dataclass(frozen=True)
class Size:
    """jobs: in flight when things begin to break. later: further ones meanwhile. kills: one a second. each:
    of every other trouble. promise_seconds: in which an order is done or given up."""

    jobs: int
    later: int
    kills: int
    each: int
    promise_seconds: int
    rest_seconds: float


SMALL = Size(jobs=16, later=8, kills=7, each=1, promise_seconds=120, rest_seconds=240.0)
FULL = Size(jobs=300, later=60, kills=85, each=3, promise_seconds=600, rest_seconds=900.0)


def size() -> Size:
    """The full one when the area is named: `scripts/test faults`."""
    return FULL if os.environ.get("PRIXFIXE_TEST_SIZE") == "full" else SMALL


@pytest.fixture(params=["postgresql", "sqlite"] if size() is FULL else ["postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer | None]:
    """A server of the test's own, because it is killed; None for a file."""
    if request.param == "sqlite":
        yield None
        return
    with running_postgres(require_programs()) as started:
        yield started


@contextmanager
def small_disk(folder: Path, mebibytes: int = 80) -> Iterator[Path | None]:
    """A file system of its own at `folder`, a little larger than what the service keeps free; None where this
    user may not mount one, which fails where set-up was to see to it."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    mounted = done.returncode == 0
    if not mounted and "PRIXFIXE_TEST_WHOLE" in os.environ:
        pytest.fail(f"no small disk that could be full: {done.stderr}")
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def fund(market: LocalMarket) -> None:
    """Money for the customer and sureties, and keys that may sell."""
    client, until_ = market.client, market.chain.time + 86_400
    client.mint(market.admin, market.customer.address, Money.parse("10000"))
    client.deposit(market.customer, Money.parse("10000"))
    for at, number in enumerate(PROVIDERS):
        provider = development_signer(number)
        client.mint(market.admin, provider.address, Money.parse("100"))
        client.deposit(provider, Money.parse("100"))
        client.authorise(provider, development_signer(FIRST_KEY + at).address, until_)


@pytest.mark.timeout(1800)
def test_whatever_dies_every_task_is_settled_or_refunded_once(
    server: PostgresServer | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled() if size() is FULL else nullcontext():  # who asked for it sees it go on
        break_a_market(server, tmp_path)


def break_a_market(server: PostgresServer | None, tmp_path: Path) -> None:
    drawn = random.SystemRandom().randrange(10**6) if size() is FULL else 5
    seed = int(os.environ.get("PRIXFIXE_FAULTS_SEED", drawn))
    print(f"seed {seed}: PRIXFIXE_FAULTS_SEED={seed} repeats the order of what breaks")
    with running_anvil() as chain, small_disk(tmp_path / "data") as disk:
        line = Line(int(chain.url.rpartition(":")[2]))
        company = Company(tmp_path)
        market = deploy_local_market(chain)
        fund(market)
        file = f"sqlite:///{tmp_path / 'data' / 'prixfixe.db'}"
        store_url = file if server is None else server.database("faults")
        try:
            fronts = hire(company, market, line, store_url, tmp_path)
            place = Place(company, chain, line, server, tmp_path / "data", disk)
            break_everything(place, market, fronts, store_url, seed)
        finally:
            company.stop()
            line.close()


def hire(company: Company, market: LocalMarket, line: Line, database: str, folder: Path) -> list[str]:
    """Two API processes, two schedulers, two of workers; the addresses of the first."""
    manifest = folder / "deployment.json"
    market.deployment.save(manifest)
    ports = lasting_ports(2)
    domains = [word for port in ports for word in ("--domain", f"127.0.0.1:{port}")]
    serve = ["-m", "prixfixe", "serve", "--data", str(folder / "data"), "--rpc", line.url, "--key", "dev:2"]
    serve += ["--deployment", str(manifest), "--database", database, *domains]
    serve += ["--heartbeat", "2"]  # a machine that does ten other things is not silent yet
    serve += ["--cool-down", "1"]  # three replicas of four providers: soon too few were left
    for number, port in enumerate(ports, 1):
        company.add(f"api-{number}", [*serve, "--no-duties", "--port", str(port)])
        company.add(f"scheduler-{number}", [*serve, "--no-api"])
    fronts = [f"http://127.0.0.1:{port}" for port in ports]
    for number, url in enumerate(fronts, 1):
        settings = {
            "service": url,
            "contract": market.deployment.market,
            "chain_id": market.deployment.chain_id,
            "rpc": line.url,
            "workers": [
                (provider, FIRST_KEY + at) for at, provider in enumerate(PROVIDERS) if at % 2 == number - 1
            ],
        }
        file = folder / f"sellers-{number}.json"
        file.write_text(json.dumps(settings))
        company.add(f"workers-{number}", [str(SELLERS), str(file)])
    company.begin()
    return fronts


def break_everything(place: Place, market: LocalMarket, fronts: list[str], database: str, seed: int) -> None:
    """Orders before and while everything breaks; then quiet, until all is at its end and adds up."""
    chosen, front = size(), Front(fronts)
    publish(front, market.client, market.pricing, chosen.promise_seconds)
    until(lambda: has_asks(front), "a worker's ask", 180)
    customer = Customer(front, market.customer, market.client, chosen.promise_seconds)
    store = Store(database)
    with place.company.held(name for name in place.company.names if name.startswith("workers")):
        for _ in range(chosen.jobs):
            customer.orders_one()
        states = job_states(store)
        assert states.get("queued", 0) + states.get("running", 0) == chosen.jobs, states
    steps = plan(seed, chosen.kills, place.company.names, chosen.each)
    began = time.monotonic()
    print(f"{chosen.jobs} jobs in flight: {states}")
    for at, step in enumerate(steps):
        print(f"{time.monotonic() - began:6.1f} s  {name_of(step)}")
        if callable(step):
            step(place)
        else:
            place.company.kill(step)
        while len(customer.orders) < chosen.jobs + (at + 1) * chosen.later // len(steps):
            customer.orders_one()
        time.sleep(max(0.0, began + at + 1 - time.monotonic()))
    quiet = time.monotonic()
    print(f"{quiet - began:6.1f} s  quiet; {front.repeated} calls were repeated")
    try:
        while left := unfinished(store):
            if time.monotonic() - quiet > chosen.rest_seconds:
                pytest.fail(
                    f"seed {seed}: after {chosen.rest_seconds:.0f} s of quiet there is still {left}\n"
                    f"{stuck(store)}\n{place.company.last_words()}"
                )
            time.sleep(0.2)
        rest = time.monotonic() - quiet
        until(lambda: is_at_head(store, market), "the tables to be at the chain's head", 30)
        ends = job_states(store)
        happened = check_money(market.client, market.deployment, store)
        until(lambda: is_as_rebuilt(place, market, database), "the tables to equal their rebuild", 180)
    finally:
        store.close()
        front.close()
    killed = place.company.killed
    print(f"at rest {rest:.1f} s later: {ends}; {dict(happened)}; {killed} killed: {place.company.endings()}")
    print(f"events that were taken back by each re-organisation: {place.undone}")
    assert len(set(customer.orders)) == chosen.jobs + chosen.later
    assert len(place.undone) == chosen.each
    assert size() is SMALL or any(place.undone), "no re-organisation took anything back"
    assert happened["Settled"] > 0, "nobody was paid for anything"
    # Whoever is drawn twice in a moment may not be there again yet, or has given up by itself.
    assert killed > chosen.kills // 2, "hardly anybody was killed"


def has_asks(front: Front) -> bool:
    product = "0x" + sellers.PRODUCT.to_bytes().hex()
    answer = front.call("GET", f"/v1/book/{product}")
    return answer.status_code == 200 and bool(answer.json().get("asks"))


def is_at_head(store: Store, market: LocalMarket) -> bool:
    head = market.client.block()
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(select(cursor.c.block, cursor.c.hash))] == [
            (head.number, head.hash)
        ]


def job_states(store: Store) -> dict[str, int]:
    """How many jobs are in each state."""
    with store.read() as connection:
        counted = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        return {row[0]: row[1] for row in connection.execute(counted)}


def is_as_rebuilt(place: Place, market: LocalMarket, database: str) -> bool:
    """Whether the chain and the archive alone give the same tables. The archive follows a moment later."""
    chain, contract = market.chain.url, market.deployment.market
    found = rebuild(place.data, database, None, chain, contract, None, write=False)
    if not found.is_whole:
        print(found.to_text())
    return found.is_whole


def name_of(step: str | Trouble) -> str:
    return f"kill -9 {step}" if isinstance(step, str) else step.__name__.replace("_", " ")
