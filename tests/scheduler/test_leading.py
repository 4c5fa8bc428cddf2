"""Of several processes on one database one leads each duty; when it is gone another goes on in seconds."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import insert, text

from marketplace.store.database import Store
from marketplace.store.tables import nonces
from prixfixe.errors import Unavailable
from prixfixe.protocol.manifest import JobManifest
from scheduler.duty import Duty, stop_all
from tests.scheduler.test_serve import Start, facts, start
from tests.support.market import LocalMarket, manifest_of
from tests.support.postgres import PostgresServer, choosing
from tests.support.scheduling import Service, until
from worker.client import ServiceClient

__all__ = ["start"]  # the fixture


class Counting(Duty):
    name = "counting"
    topics = ("work",)

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.runs = 0

    def run_once(self) -> float:
        with self.store.write() as connection:
            connection.execute(insert(nonces).values(nonce=os.urandom(8).hex(), expires_at=1))
        self.runs += 1
        return 0.05


@pytest.mark.both_databases
def test_one_of_two_does_a_duty_and_the_other_when_it_has_stopped(pair: tuple[Store, Store]) -> None:
    first, second = (Counting(store) for store in pair)
    first.start()
    until(lambda: first.runs > 1, "the first to lead")
    second.start()
    seen = first.runs
    until(lambda: first.runs > seen + 5, "the first to go on")
    assert (second.runs, second.health().leads, first.health().leads) == (0, False, True)
    assert stop_all([first], 60.0) == []
    until(lambda: second.runs > 1, "the second to take over")
    assert second.health().leads
    assert stop_all([second], 60.0) == []


def test_a_leader_that_lost_its_lock_without_knowing_writes_nothing(
    postgres_pair: tuple[Store, Store],
) -> None:
    """The lock's connection is cut from the other side, as a server does when a machine falls silent."""
    first, second = postgres_pair
    assert first.leading.leads("counting")
    assert not second.leading.leads("counting")
    with second.write() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
            )
        )
    until(lambda: second.leading.leads("counting"), "the lock to be free")
    with pytest.raises(Unavailable) as refused, first.led("counting"), first.write():
        pass
    assert refused.value.code == "not-leading"
    assert not first.leading.leads("counting")
    with second.led("counting"), second.write():
        pass
    with first.write():
        pass  # what is no duty's is nobody's to lead


def test_after_a_crash_of_the_server_the_duty_goes_on_in_one_process(
    postgres_pair: tuple[Store, Store], postgres_server: PostgresServer
) -> None:
    duties = [Counting(store) for store in postgres_pair]
    for duty in duties:
        duty.start()
    until(lambda: any(duty.runs > 1 for duty in duties), "one to lead")
    postgres_server.stop(signal.SIGQUIT)
    until(lambda: not any(duty.health().leads for duty in duties), "both to see that it is gone")
    before = [duty.runs for duty in duties]
    postgres_server.start()
    until(
        lambda: any(duty.runs > seen + 1 for duty, seen in zip(duties, before, strict=True)), "one to go on"
    )
    assert [duty.health().leads for duty in duties].count(True) == 1
    assert all(duty.health().running for duty in duties)
    assert stop_all(duties, 60.0) == []


@pytest.mark.chain
@pytest.mark.network_ports
def test_when_the_leader_is_killed_another_process_assigns(
    start: Start, market: LocalMarket, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """Duties alone and a whole service on one database; the first, which leads all, is killed with -9."""
    with choosing(postgres_server), closing(Service(market, tmp_path)) as tables:
        _fail_over(start, tables)


@pytest.mark.chain
@pytest.mark.network_ports
def test_on_a_file_duties_alone_take_over_from_duties_alone(
    start: Start, market: LocalMarket, tmp_path: Path
) -> None:
    with closing(Service(market, tmp_path, shared=True)) as tables:
        _fail_over(start, tables, ["--no-api"], ["--no-duties"])


def _fail_over(start: Start, tables: Service, *others: list[str]) -> None:
    """others: the processes beside the leader, the one with the API last; a whole one when None are given."""
    tables.list_offer()
    worker = tables.ready_worker()
    database = ("--database", tables.store.url)
    leader = start(*database, "--no-api", "--metrics", "127.0.0.1:0")
    told = facts(leader)
    assert told["url"] is None
    ready = told["metrics"].removesuffix("/metrics") + "/v1/ready"
    until(lambda: httpx.get(ready, timeout=20, trust_env=False).status_code == 200, "it to lead all duties")
    *standing_by, other = (start(*database, *options) for options in others or ([],))
    assert [facts(each)["url"] for each in standing_by] == [None] * len(standing_by)
    url = facts(other)["url"]
    health = httpx.get(url + "/v1/health", timeout=20, trust_env=False).json()
    assert health["status"] == "ok"
    assert [duty["name"] for duty in health["duties"] if duty["leads"]] == []

    tables.beat(worker)
    manifest = JobManifest.model_validate(manifest_of(1) | {"command": ["true"], "determinism": "exact"})
    with closing(ServiceClient(url)) as service:
        service.sign_in(worker)
        os.kill(leader.pid, signal.SIGKILL)
        killed = time.monotonic()
        job = tables.order(manifest=manifest.model_dump(mode="json"))
        given = service.assignment(45.0)  # it takes a few seconds: a lead is looked for each second
        print(f"{time.monotonic() - killed:.1f} s from the leader's end to an assignment")
    assert given is not None
    assert "0x" + given.order.digest(tables.market.client.domain).hex() == job
    other.send_signal(signal.SIGTERM)
    assert other.wait(60) == 0
