"""Every event of the contract counts once, across restarts and re-organisations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from marketplace.store.attempting import attempt_started
from marketplace.store.progress import progress_reported
from marketplace.store.settling import NO_SIGNATURE
from marketplace.store.tables import (
    asks,
    attempts,
    chain_events,
    cursor,
    deals,
    jobs,
    lots,
    offers,
    tasks,
    trades,
)
from prixfixe.devnet.anvil import LocalChain, running_anvil
from prixfixe.errors import ConfigurationError, Unavailable
from prixfixe.keys import LocalSigner
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask, SignedAsk
from prixfixe.protocol.wire import Reason
from scheduler import reaper
from tests.support.market import OFFER, PRICE, LocalMarket, deploy_local_market
from tests.support.scheduling import OUTPUTS, Service, until

pytestmark = pytest.mark.chain

BROKEN = Reason(code="engine", message="no engine", fault="provider")
_strangers = count(1 << 100)


@pytest.fixture(autouse=True)
def block_of_its_own(chain: LocalChain) -> None:
    """A block that no other test makes, to go back to. anvil keeps states by their block's hash, the newest
    ten in memory. Of a block that many tests made it puts the newest state on disk when the oldest is due,
    and whoever goes back to that (`anvil_reorg`) finds no contract's code any more: every call answers 0x."""
    chain.rpc.call("anvil_setCoinbase", f"0x{next(_strangers):040x}")
    mine_on(chain)


@pytest.fixture
def careful(market: LocalMarket, tmp_path: Path) -> Iterator[Service]:
    """A service that reads a block when two others are on top of it, as off local chains."""
    made = Service(market, tmp_path, confirmations=2)
    made.list_offer()
    yield made
    made.close()


def mine(service: Service, blocks: int = 1) -> None:
    mine_on(service.market.chain, blocks)


def mine_on(chain: LocalChain, blocks: int = 1) -> None:
    for _ in range(blocks):
        chain.rpc.call("evm_mine")


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


def test_a_refusal_by_several_names_those_whose_word_the_transaction_carried(service: Service) -> None:
    three = [
        service.ready_worker(number, price=Money.parse("0.30"), name=f"w{number}", slots=1)
        for number in range(3)
    ]
    service.bid(price=Money.parse("2.00"), quorum=2, replicas=3)
    service.close_batch()
    for each in three[:2]:
        service.report(each, status=6, reason=BROKEN)
    service.relay()
    service.report(three[2], status=6, reason=BROKEN)  # too late to be carried
    service.indexer.run_once()
    row = service.row(deals)
    assert row["state"] == "refused"
    assert [each != NO_SIGNATURE for each in row["signatures"]].count(True) == 2


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


def test_a_re_organisation_past_a_settlement_is_rewound_and_paid_once(service: Service) -> None:
    """The node itself puts other, empty blocks in the place of the last five."""
    worker = service.ready_worker(slots=2)
    job = service.order(tasks=2, lot=1)
    service.step()
    before = service.free(service.market.customer)
    for row in service.rows(attempts):
        service.report(worker, attempt=row["id"])
    service.step()
    settled = service.rows(deals)[0]["ended"]["block"]
    assert service.job(job)["state"] == "settled"
    head = service.client.block().number

    service.market.chain.rpc.call("anvil_reorg", head - settled + 1, [])
    service.indexer.run_once()
    assert [row["state"] for row in service.rows(deals)] == ["open", "open"]
    assert service.rows(trades) == []
    until(lambda: (service.step(), service.job(job)["state"] == "settled")[1], "the second settlement")

    assert service.job(job)["charged"] == 2 * PRICE.units
    assert service.free(service.market.customer) == before, "what was held for the deals went to the worker"
    assert len(service.rows(trades)) == 2


def test_one_of_several_nodes_that_lacks_a_block_is_no_re_organisation_unless_it_stays_so(
    service: Service,
) -> None:
    chain = service.market.chain
    snapshot = chain.rpc.call("evm_snapshot")
    service.ready_worker()
    job = service.order()
    service.step()
    assert service.lot(job)["state"] == "open"
    service.client.rpc.several = True
    chain.rpc.call("evm_revert", snapshot)
    with pytest.raises(Unavailable, match="was read"):
        service.indexer.run_once()
    assert service.lot(job)["state"] == "open"
    object.__setattr__(service.indexer._settings, "behind_seconds", 0.0)
    service.indexer.run_once()
    assert service.lot(job)["state"] == "free"


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


def test_how_far_a_worker_was_is_not_told_once_the_chain_took_its_deal_back(service: Service) -> None:
    """Else the next worker's progress would be hidden until it is beyond."""
    chain = service.market.chain
    first, second = service.ready_worker(), service.ready_worker(1, name="w2")
    service.beat(second, age=100.0)

    def says(worker: LocalSigner, fraction: float) -> None:
        attempt = service.attempt_of(worker)["id"]
        with service.store.write() as connection:
            attempt_started(connection, attempt)
            progress_reported(connection, attempt, 0, fraction)

    snapshot = chain.rpc.call("evm_snapshot")
    job = service.order()
    service.step()
    says(first, 0.75)
    assert service.job(job)["progress"] == 0.75

    chain.rpc.call("evm_revert", snapshot)
    chain.rpc.call("evm_mine")
    service.indexer.run_once()
    assert service.job(job)["progress"] is None
    service.relay()  # the match that was lost is not wanted any more
    service.beat(first, age=100.0)
    service.beat(second)
    service.step()
    says(second, 0.25)
    assert service.job(job)["progress"] == 0.25


def test_a_result_counts_again_though_another_worker_refused_the_lot_meanwhile(service: Service) -> None:
    """The chain takes the first worker's deal back, and gives it again after the second's: its customer gets
    the outputs that it pays for."""
    market, chain = service.market, service.market.chain
    first, second = service.ready_worker(), service.ready_worker(1, name="w2")
    service.beat(second, age=100.0)
    snapshot = chain.rpc.call("evm_snapshot")
    purchase = market.purchase()
    job = service.order(purchase)
    service.step()
    service.report(first)
    chain.rpc.call("evm_revert", snapshot)
    chain.rpc.call("evm_mine")
    service.indexer.run_once()

    service.beat(first, age=100.0)
    service.beat(second)
    stored = service.row(asks, worker=second.address)
    ask = SignedAsk(Ask.from_json(stored["ask"]), bytes.fromhex(stored["signature"][2:]))
    market.client.match_purchase(market.scheduler, purchase, market.sign(purchase), OFFER, 0, [ask])
    service.step()
    service.report(second, status=6, reason=BROKEN)
    service.step()
    assert service.lot(job)["state"] == "free"
    assert [row["state"] for row in service.rows(tasks)] == ["queued"]

    service.beat(second, age=100.0)
    service.beat(first)
    for _ in range(3):
        service.step()
    assert service.job(job)["state"] == "settled"
    assert [row["state"] for row in service.rows(deals, deals.c.state)] == ["refused", "settled"]
    (task,) = service.rows(tasks)
    assert (task["state"], task["status"], task["files"]) == ("succeeded", 0, len(OUTPUTS.files))
    assert task["outputs"] == OUTPUTS.to_json()


def test_a_deal_in_the_head_is_read_when_two_blocks_are_on_top_of_it(careful: Service) -> None:
    worker = careful.ready_worker()
    job = careful.order()
    careful.matcher.run_once()
    careful.relay()
    opened = careful.outbox()[0]["block"]
    for confirmations in (0, 1):
        careful.indexer.run_once()
        assert careful.row(cursor, name="market")["block"] == opened - 2 + confirmations
        assert (careful.rows(deals), careful.lot(job)["state"]) == ([], "matching")
        mine(careful)
    careful.indexer.run_once()
    assert careful.lot(job)["state"] == "open"
    assert careful.attempt_of(worker)["state"] == "assigned"


@pytest.mark.parametrize("taken_back", ["match", "settle"])
def test_what_is_taken_back_before_it_is_read_is_sent_again_and_nothing_is_undone(
    careful: Service, taken_back: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = careful.ready_worker()
    job = careful.order()
    careful.step()
    if taken_back == "settle":
        mine(careful, 2)
        careful.step()
        careful.report(worker)
        careful.step()
    assert careful.outbox()[-1]["call"] == taken_back
    mine(careful)
    careful.indexer.run_once()
    before = everything(careful)

    careful.market.chain.rpc.call("anvil_reorg", 2, [])
    careful.indexer.run_once()
    assert everything(careful) == before
    assert "re-organised" not in caplog.text

    def settled() -> bool:
        careful.step()
        mine(careful)
        attempt = careful.attempt_of(worker)
        if attempt is not None and attempt["signature"] is None:
            careful.report(worker)
        return bool(careful.job(job)["state"] == "settled")

    until(settled, "the job to settle")
    assert "re-organised" not in caplog.text
    assert careful.job(job)["charged"] == PRICE.units
    assert [row["state"] for row in careful.rows(deals)] == ["settled"]
    assert len(careful.rows(trades)) == 1
    assert [row["call"] for row in careful.outbox()] == ["match", "settle"]


@pytest.mark.parametrize("end", ["settle", "expire"])
def test_what_ended_a_deal_and_is_not_read_yet_is_not_sent_again(
    careful: Service, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the chain takes for the blocks on top of it."""
    monkeypatch.setattr(reaper, "_AGAIN_SECONDS", 0.0)
    worker = careful.ready_worker()
    job = careful.order()
    careful.step()
    mine(careful, 2)
    careful.indexer.run_once()
    if end == "settle":
        careful.report(worker)
    else:
        careful.market.chain.move_to(careful.rows(deals)[0]["deadline"] + 1)
        careful.reaper.run_once()
    careful.relay()
    sent = [(row["call"], row["state"]) for row in careful.outbox()]
    assert sent == [("match", "confirmed"), (end, "confirmed")]

    for _ in range(3):
        careful.step()
    assert careful.rows(deals)[0]["state"] == "open"
    assert [(row["call"], row["state"]) for row in careful.outbox()] == sent
    mine(careful, 2)
    careful.step()
    assert careful.rows(deals)[0]["state"] != "open"
    assert not str(careful.job(job)["stage"]).startswith("settling: ")


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


def test_a_match_that_fails_when_it_is_mined_again_before_it_was_read_frees_its_lot(
    careful: Service,
) -> None:
    """The chain's other blocks have it behind a withdrawal of what it was to be paid with."""
    market, rpc = careful.market, careful.market.chain.rpc
    careful.ready_worker()
    job = careful.order()
    careful.matcher.run_once()
    careful.relay()
    sent = rpc.call("eth_getRawTransactionByHash", careful.outbox()[0]["hash"])
    mine(careful)
    rpc.call("anvil_reorg", 2, [])
    everything = market.client.account(market.customer.address).free
    market.client.withdraw(market.customer, market.customer.address, everything)
    rpc.call("eth_sendRawTransaction", sent)
    mine(careful, 3)

    careful.indexer.run_once()
    careful.relayer.run_once()
    careful.relayer.run_once()
    assert [row["state"] for row in careful.outbox()] == ["failed"]
    assert careful.lot(job)["state"] == "free"
