"""What the machine found, told as short stories."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketplace.store.tables import deals
from prixfixe.testing.chain import MemoryChain
from tests.support.market import memory_market
from tests.support.scheduling import Service

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
