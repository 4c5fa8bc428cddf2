"""Processes that die at every step: each job still ends settled or refunded, and is paid for once."""

from __future__ import annotations

import signal

import pytest

from prixfixe.protocol.money import Money
from tests.support.devnet import Devnet, wait_for

PRICE = Money.parse("2.00")


def test_another_worker_finishes_when_one_is_killed_in_the_middle(devnet: Devnet) -> None:
    before = devnet.account().free
    with devnet.client() as client:
        job = devnet.buy(client, "wait", 4)
        devnet.kill(devnet.running_on(client, job.id))
        ended = client.wait(job.id)
        assert (ended.state, ended.attempts) == ("settled", 2)
        assert len(client.receipt(job.id).lots) == 2
    assert before - devnet.account().free == PRICE, "paid once"


def test_the_deadline_refunds_by_itself_when_no_worker_is_left(devnet: Devnet) -> None:
    before = devnet.account().free
    with devnet.client() as client:
        job = devnet.buy(client, "wait", 8)
        running = devnet.running_on(client, job.id)
        for name in {"worker-1", "worker-2", "worker-3", running}:
            devnet.kill(name)
        assert devnet.account().free == before - PRICE
        wait_for(lambda: devnet.account().free == before, 60, "the refund")
        devnet.chain.advance(200)  # past what the customer would accept
        ended = client.wait(job.id)
    assert (ended.state, ended.charged) == ("refunded", Money(0))
    assert devnet.account().free == before


@pytest.mark.parametrize("moment", ["queued", "running"])
@pytest.mark.parametrize("victim", ["service", "chain"])
def test_a_restart_loses_nothing(devnet: Devnet, victim: str, moment: str) -> None:
    before = devnet.account().free
    with devnet.client() as client:
        job = devnet.buy(client, "wait", 2)
        if moment == "running":
            devnet.running_on(client, job.id)
    # The chain is asked to end, so that it writes its blocks; a chain that forgets blocks is a
    # reorganisation.
    devnet.kill(victim, signal.SIGTERM if victim == "chain" else signal.SIGKILL)
    devnet.heal()
    with devnet.client() as client:
        ended = client.wait(job.id)
    charged = before - devnet.account().free
    assert (ended.state, charged) in (("settled", PRICE), ("refunded", Money(0)))
    assert ended.charged == charged


def test_a_worker_that_restarts_goes_on_with_its_container(devnet: Devnet) -> None:
    before = devnet.account().free
    with devnet.client() as client:
        job = devnet.buy(client, "wait", 3)
        name = devnet.running_on(client, job.id)
        devnet.kill(name)
        devnet.start(name)
        ended = client.wait(job.id)
    assert ended.state == "settled"
    assert before - devnet.account().free == PRICE
