"""Every event of the contract counts once, across restarts and re-organisations."""

from __future__ import annotations

import pytest

from marketplace.store.tables import chain_events, cursor, deals, jobs, lots, offers, trades
from prixfixe.devnet.anvil import running_anvil
from prixfixe.errors import ConfigurationError
from tests.support.market import OFFER, PRICE, deploy_local_market
from tests.support.scheduling import Service

pytestmark = pytest.mark.chain


def everything(service: Service) -> dict[str, list[dict[str, object]]]:
    """What the indexer keeps, to compare."""
    plain = {}
    for table in (deals, lots, jobs, trades, chain_events, cursor):
        rows = service.rows(table, *table.primary_key.columns)
        plain[table.name] = [dict(row) for row in rows]
    return plain


def test_reading_again_changes_nothing(service: Service) -> None:
    worker = service.ready_worker()
    service.order()
    service.step()
    service.report(worker)
    service.step()
    before = everything(service)

    service.indexer.run_once()
    again = service.restarted()
    again.indexer.run_once()

    assert everything(again) == before
    again.close()


def test_an_indexer_that_was_away_catches_up_in_chunks(service: Service) -> None:
    worker = service.ready_worker()
    job = service.order()
    service.matcher.run_once()
    service.relay()
    for _ in range(30):
        service.market.chain.rpc.call("evm_mine")
    slow = service.restarted()
    object.__setattr__(slow.indexer._settings, "chunk", 7)
    slow.indexer.run_once()
    assert slow.lot(job)["state"] == "open"
    assert slow.attempt_of(worker)["state"] == "assigned"
    assert slow.row(cursor, name="market")["block"] == slow.client.block().number
    slow.close()


def test_events_are_stored_with_their_place_and_the_contracts_own_values(service: Service) -> None:
    service.ready_worker()
    service.order()
    service.step()
    opened = next(row for row in service.rows(chain_events) if row["name"] == "DealOpened")
    deal = service.rows(deals)[0]
    assert opened["data"]["deal"] == deal["id"]
    assert opened["data"]["data"] == deal["deal"]
    assert deal["opened"] == {
        "transaction": opened["transaction"],
        "block": opened["block"],
        "log_index": opened["log_index"],
        "time": opened["time"],
    }


def test_an_offers_end_is_mirrored(service: Service) -> None:
    market = service.market
    until = market.chain.time + 100
    market.client.retire(market.pricing, OFFER.id, until)
    service.indexer.run_once()
    assert service.rows(offers)[0]["until"] == until


def test_a_lot_that_its_customer_cancels_on_the_chain_is_over(service: Service) -> None:
    market = service.market
    purchase = market.purchase()
    job = service.order(purchase)
    market.client.cancel(market.customer, purchase, 0)
    service.indexer.run_once()
    ended = service.job(job)
    assert (ended["state"], ended["charged"]) == ("refunded", 0)
    assert ended["reason"]["code"] == "cancelled"


def test_a_customer_that_bumps_its_era_ends_its_waiting_orders(service: Service) -> None:
    job = service.order()
    service.market.client.bump(service.market.customer, 0)
    service.indexer.run_once()
    assert service.job(job)["state"] == "refunded"


def test_a_settlement_that_the_chain_takes_back_is_undone_and_settled_again(service: Service) -> None:
    chain = service.market.chain
    worker = service.ready_worker()
    job = service.order()
    service.step()
    snapshot = chain.rpc.call("evm_snapshot")
    service.report(worker)
    service.step()
    assert service.job(job)["state"] == "settled"
    trade = dict(service.rows(trades)[0])

    chain.rpc.call("evm_revert", snapshot)
    chain.rpc.call("evm_mine")
    service.indexer.run_once()
    assert service.rows(deals)[0]["state"] == "open"
    assert service.rows(trades) == []
    assert service.job(job)["state"] == "running"
    service.step()
    service.step()

    assert service.job(job)["state"] == "settled"
    assert service.job(job)["charged"] == PRICE.units
    assert [deal["state"] for deal in service.rows(deals)] == ["settled"]
    place = ("block", "log_index", "time")
    now = [{**row, **{name: trade[name] for name in place}} for row in service.rows(trades)]
    assert now == [trade]


def test_a_deal_that_the_chain_takes_back_is_matched_again_and_its_result_still_counts(
    service: Service,
) -> None:
    chain = service.market.chain
    worker = service.ready_worker()
    snapshot = chain.rpc.call("evm_snapshot")
    job = service.order()
    service.step()
    service.report(worker)
    first = service.rows(deals)[0]["id"]

    chain.rpc.call("evm_revert", snapshot)
    chain.rpc.call("evm_mine")
    service.indexer.run_once()
    assert service.lot(job)["state"] == "free"
    assert service.rows(deals) == []
    service.beat(worker)
    for _ in range(3):
        service.step()

    assert service.job(job)["state"] == "settled"
    assert service.rows(deals)[0]["id"] == first, "the same deal: its id holds no time"


def test_another_chain_is_refused_and_nothing_is_lost(service: Service) -> None:
    """A local chain that lost its state has the same id, and after the same deployment the same address."""
    service.ready_worker()
    service.order()
    service.step()
    before = everything(service)
    with running_anvil() as empty:
        misled = Service(deploy_local_market(empty), service.data)
        with pytest.raises(ConfigurationError, match="another chain"):
            misled.indexer.run_once()
        assert everything(misled) == before
        misled.close()
