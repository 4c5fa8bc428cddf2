"""What the machine found, told as short stories."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketplace.store.tables import deals, tasks
from prixfixe.protocol.wire import Reason
from prixfixe.testing.chain import MemoryChain
from tests.support.market import memory_market
from tests.support.scheduling import OUTPUTS, Service

START = 1_900_000_000


@pytest.mark.parametrize("restarted", [False, True], ids=["same process", "after a restart"])
def test_a_match_that_was_taken_back_before_it_was_read_goes_out_again(
    tmp_path: Path, restarted: bool
) -> None:
    """Nothing else is to be sent that would show the gap, and no event was read that could be undone."""
    market = memory_market(START)
    assert isinstance(market.chain, MemoryChain)
    service = Service(market, tmp_path)
    service.list_offer()
    service.ready_worker()
    job = service.order()
    service.matcher.run_once()
    service.relay()
    assert [row["state"] for row in service.outbox()] == ["confirmed"]
    market.chain.reorganise(1)
    assert market.client.events(market.client.block().number) == []
    if restarted:
        service = service.restarted()
    service.relay()
    service.indexer.run_once()
    assert service.lot(job)["state"] == "open"
    assert [row["state"] for row in service.rows(deals)] == ["open"]
    service.close()


def test_a_refusal_whose_deal_was_taken_back_says_nothing_of_what_another_worker_brings(
    tmp_path: Path,
) -> None:
    """The customer pays for the second worker's outputs, and gets them."""
    market = memory_market(START)
    assert isinstance(market.chain, MemoryChain)
    service = Service(market, tmp_path)
    service.list_offer()
    first, second = service.ready_worker(), service.ready_worker(1, name="w2")
    service.beat(second, age=100.0)
    job = service.order()
    service.matcher.run_once()
    service.relay()
    service.indexer.run_once()
    service.report(first, status=5, reason=Reason(code="no-column", message="no column x", fault="customer"))
    assert [row["state"] for row in service.rows(tasks)] == ["failed"]
    market.chain.reorganise(1)
    service.indexer.run_once()
    assert service.lot(job)["state"] == "free"
    assert [row["state"] for row in service.rows(tasks)] == ["queued"]

    service.relay()  # the match that was lost is not wanted any more
    service.beat(first, age=100.0)
    service.beat(second)
    service.step()
    service.report(second)
    service.step()
    assert service.job(job)["state"] == "settled"
    (task,) = service.rows(tasks)
    assert (task["state"], task["status"], task["outputs"]) == ("succeeded", 0, OUTPUTS.to_json())
    service.close()
