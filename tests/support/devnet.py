"""A devnet for tests: started by the command that a person types, then looked at and hurt from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prixfixe.chain.client import Account, MarketClient
from prixfixe.client import Client
from prixfixe.client.contexts import Context
from prixfixe.devnet.anvil import LocalChain
from prixfixe.devnet.processes import alive, send, spawn, stop, wait_gone
from prixfixe.devnet.state import DevnetState, Folder, require
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.money import Money
from prixfixe.protocol.wire import Job, Quote
from tests.support.ports import lasting_ports

ROOT = Path(__file__).resolve().parents[2]
PROBE = ROOT / "tests" / "support" / "bundles" / "probe"
PIVOT = ROOT / "bundles" / "pivot"
LYING_WORKER = ROOT / "tests" / "support" / "lying_worker.py"
T = TypeVar("T")


def wait_for(question: Callable[[], T], seconds: float = 60, what: str = "it") -> T:
    """The first truthy answer; a missed deadline fails and says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s (last: {answer!r})")
        time.sleep(0.05)


@dataclass
class Devnet:
    """A running devnet, its customer's client, and ways to hurt it."""

    folder: Folder
    home: Path
    table: Path
    others: list[str] = field(default_factory=list)
    """Addresses whose money counts beside the customer's."""
    played: int = 0
    """Units of play money that came to them since the start."""

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PRIXFIXE_HOME": str(self.home)}

    @property
    def state(self) -> DevnetState:
        return require(self.folder)

    @property
    def context(self) -> Context:
        state = self.state
        return Context(
            "dev",
            service=state.service,
            chain_id=state.chain_id,
            contract=state.contract,
            rpc=state.rpc,
            key="dev:3",
        )

    def client(self) -> Client:
        return Client(self.context)

    @property
    def chain(self) -> LocalChain:
        return LocalChain(self.state.rpc)

    @property
    def market(self) -> MarketClient:
        return MarketClient(self.state.rpc, self.state.contract)

    def account(self, address: str | None = None) -> Account:
        from prixfixe.development_keys import ADDRESSES

        return self.market.account(address or ADDRESSES[3])

    def types(
        self, *arguments: str, expect: int | None = 0, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `prixfixe ...` as a person would, in this folder and with these environment variables."""
        done = subprocess.run(
            [sys.executable, "-m", "prixfixe", *arguments],
            env={**self.environment, **variables},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert expect is None or done.returncode == expect, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def dev(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.types("dev", "--folder", str(self.folder.root), *arguments)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        record = self.state.process(name)
        assert record is not None, name
        assert send(record, number), f"{name} did not run"
        assert wait_gone(record, 20), f"{name} did not end"

    def start(self, name: str) -> None:
        self.dev("start", name)

    @contextmanager
    def lying(self, name: str) -> Iterator[None]:
        """The worker of that name is replaced by one that lies about what its tasks wrote, for the length of
        the block."""
        record = self.state.process(name)
        assert record is not None, name
        self.kill(name)
        argv = [sys.executable, str(LYING_WORKER), *record.argv[record.argv.index("worker") :]]
        log = self.folder.logs / "liar.log"
        log.unlink(missing_ok=True)
        liar = spawn("liar", argv, log, env={"PYTHONPATH": str(ROOT)})
        try:
            # Not before: the ask of the one that it replaces rests, and its silence would be the liar's.
            wait_for(lambda: " ready: key" in log.read_text(), 60, "the liar's start")
            assert alive(liar)
            yield
        finally:
            stop(liar)

    def heal(self) -> None:
        """Everything that was killed runs again, and answers."""
        for record in self.state.processes:
            if not alive(record):
                self.start(record.name)
        with self.client() as client:
            wait_for(lambda: _quietly(client.health), 60, "the service's health")

    def quote(
        self,
        client: Client,
        mode: str,
        number: int = 0,
        *,
        units: int = 3,
        bundle: str = "probe",
        replicas: int | None = None,
    ) -> Quote:
        data = self.table.read_bytes()
        import hashlib

        described = InputFile(name="table.csv", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        return client.quote(
            bundle,
            parameters={"mode": mode, "number": number},
            inputs=[described],
            units=units,
            replicas=replicas,
        )

    def buy(self, client: Client, mode: str, number: int = 0, *, replicas: int | None = None) -> Job:
        quote = self.quote(client, mode, number, replicas=replicas)
        client.upload(self.table)
        return client.buy(quote)

    def run(self, mode: str, number: int = 0) -> Job:
        """Buy one probe and wait until it has ended."""
        with self.client() as client:
            return client.wait(self.buy(client, mode, number).id)

    def running_on(self, client: Client, job: str) -> str:
        """The name of the worker process that runs the job, as soon as one does."""
        stage = wait_for(
            lambda: stage if (stage := client.job(job).stage).startswith("running on w") else "",
            what="the start of the job",
        )
        return f"worker-{stage.removeprefix('running on w').split()[0]}"

    def all_money(self) -> int:
        """What the contract owes to customer, providers, arbiter and treasury together: constant while no
        deal or case is open. Without the play money that came to accounts since."""
        from prixfixe.development_keys import ADDRESSES
        from prixfixe.devnet.settings import ARBITER

        people = [*ADDRESSES[3:7], ADDRESSES[ARBITER], self.state.contract, *self.others]
        total = 0
        for address in people:
            account = self.market.account(address)
            total += account.free.units + account.cur.units + account.prev.units
        return total - self.played

    def was_given(self, account: str, amount: Money) -> None:
        """Wait for the play money of an account that counts from now on."""
        wait_for(lambda: self.account(account).free >= amount, 60, "the play money")
        self.others.append(account)
        self.played += amount.units

    def held(self) -> Money:
        return self.market.token_balance(self.state.contract)


def _quietly(question: Callable[[], Any]) -> Any:
    from prixfixe.errors import PrixfixeError

    try:
        return question()
    except PrixfixeError:
        return None


@contextmanager
def running_devnet(
    root: Path, *, workers: int = 3, bundles: Sequence[Path] = (PROBE,), options: Sequence[str] = ()
) -> Iterator[Devnet]:
    """`prixfixe dev --detach` on free ports, stopped at the end."""
    table = root / "table.csv"
    root.mkdir(parents=True, exist_ok=True)
    table.write_text("account,amount\n00123,1.50\n00124,2.50\n")
    devnet = Devnet(Folder(root / "devnet"), root / "home", table)
    arguments = ["dev", "--folder", str(devnet.folder.root), "--workers", str(workers)]
    for bundle in bundles:
        arguments += ["--bundle", str(bundle)]
    if not bundles:
        arguments += ["--no-bundles"]
    port, chain_port = lasting_ports(2)
    ports = ("--port", str(port), "--chain-port", str(chain_port))
    started = devnet.types(*arguments, *options, *ports, "--detach", "--json")
    json.loads(started.stdout.splitlines()[-1])
    try:
        yield devnet
    finally:
        devnet.dev("reset", "--yes")


def rested(devnet: Devnet) -> None:
    """Wait until all three workers could begin at once: none runs something, or cools down after what a test
    before did to it."""
    with devnet.client() as client:
        wait_for(lambda: devnet.quote(client, "ok", replicas=3).starts_in == 0, 120, "three workers at rest")
