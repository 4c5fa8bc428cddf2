"""A worker beside a fake service, a real chain and a real engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from prixfixe.protocol import wire
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.money import Money
from prixfixe.protocol.reports import LotReport
from tests.cage.conftest import engine, image
from tests.support.market import LocalMarket
from tests.worker.fake_service import FakeService, serving
from tests.worker.orders import PROVIDER, Bought, assignment, buy, definition, open_deal
from worker.daemon import Daemon, installation
from worker.engine import Engine
from worker.settings import WorkerSettings

__all__ = ["engine", "image"]


def market_of(market: LocalMarket) -> wire.Market:
    policy = market.client.policy()
    return wire.Market(
        name="test",
        version="0",
        chain_id=31337,
        contract=market.deployment.market,
        token=market.client.token,
        token_symbol="DEV",
        token_decimals=6,
        operator=market.scheduler.address,
        policy=wire.PolicyNumbers(
            window=policy.window,
            grace=policy.grace,
            notice=policy.notice,
            surety=Money(policy.surety),
            bond=Money(policy.bond),
            max_fee_bps=policy.max_fee_bps,
            arbiter=policy.arbiter,
        ),
        max_blob_bytes=1 << 30,
        heartbeat_seconds=0.2,
    )


@dataclass
class Stage:
    """Everything that a worker meets, and the worker itself."""

    market: LocalMarket
    service: FakeService
    url: str
    image: str
    folder: Path
    settings: WorkerSettings = field(init=False)
    number: int = 0
    facts: dict[str, Any] = field(default_factory=dict)  # what the worker said when it was ready

    def __post_init__(self) -> None:
        self.settings = WorkerSettings(
            service=self.url,
            rpc=self.market.chain.rpc.url,
            provider=PROVIDER.address,
            key="dev:10",
            data=self.folder / "worker",
            slots=1,
            milli_vcpu=500,
            memory_mib=256,
            disk_mib=64,
            rate=Decimal("0.05"),
            drain_seconds=20.0,
        )

    def buy(
        self, script: str, *, max_seconds: int = 20, data: bytes | None = None, tasks: int = 1, lot: int = 1
    ) -> Bought:
        """A customer's order for a script, with one input when there is data."""
        self.number += 1
        inputs = ()
        if data is not None:
            inputs = (InputFile(name="table.csv", sha256=self.service.put(data), size=len(data)),)
        bundle = definition(self.image, script, max_seconds=max_seconds)
        now = self.market.chain.time
        return buy(bundle, now=now, inputs=inputs, nonce=self.number, tasks=tasks, lot=lot)

    def assign(
        self,
        script: str,
        *,
        changes: dict[str, Any] | None = None,
        lot_index: int = 0,
        slots: int = 1,
        **options: Any,
    ) -> wire.Assignment:
        """Buy, match a lot on chain, hand it to the worker. slots: of the ask that is matched."""
        bought = self.buy(script, **options)
        deal, due = open_deal(self.market, bought, lot=lot_index, slots=slots)
        given = assignment(bought, deal, due, **(changes or {}))
        self.service.assign(given)
        return given

    def report_of(self, given: wire.Assignment, timeout: float = 60.0) -> LotReport:
        self.service.until(lambda: given.attempt in self.service.reports, timeout)
        return self.service.reports[given.attempt]

    @contextmanager
    def worker(self, **changes: Any) -> Iterator[Daemon]:
        """A worker that runs for the length of the block, stopped at its end."""
        told: list[str] = []
        ready = threading.Event()

        def emit(event: str, facts: dict[str, Any]) -> None:
            told.append(event)
            if event == "ready":
                self.facts = facts
                ready.set()

        failed: list[BaseException] = []
        daemon = Daemon(replace(self.settings, **changes), emit)

        def run() -> None:
            try:
                daemon.run()
            except BaseException as error:
                failed.append(error)
            finally:
                ready.set()

        thread = threading.Thread(target=run, name="daemon")
        thread.start()
        try:
            assert ready.wait(60), "the worker did not come up"
            if failed:
                raise failed[0]
            yield daemon
        finally:
            daemon.stop()
            thread.join(60)
            assert not thread.is_alive(), "the worker did not stop"


@pytest.fixture
def stage(market: LocalMarket, engine: Engine, image: str, tmp_path: Path) -> Iterator[Stage]:
    service = FakeService(market_of(market))
    with serving(service) as url:
        yield Stage(market, service, url, image, tmp_path)
    (tmp_path / "worker").mkdir(exist_ok=True)
    left = engine.labelled("prixfixe.worker", installation(tmp_path / "worker"))
    for container in left:
        engine.remove(container)
    assert left == {}
