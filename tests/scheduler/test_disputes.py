"""A challenge and its end move case, deal and money of a job, and are taken back when the chain does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from marketplace.store.disputes import open_cases
from marketplace.store.tables import cases, chain_events, deals
from prixfixe.chain import events
from prixfixe.chain.conduct import conduct_at
from prixfixe.market.reputation import ranked
from prixfixe.protocol.deals import Deal, Fact
from prixfixe.protocol.disputes import Case, Claim, Ground
from prixfixe.protocol.money import Money
from tests.support.market import DISPUTABLE, PRICE
from tests.support.scheduling import OUTPUTS, Service

pytestmark = pytest.mark.chain

CLAIM = Claim(Ground.WRONG, 0, 0, OUTPUTS.digest)


@pytest.fixture
def settled(service: Service) -> str:
    """A job whose disputable deal was paid."""
    market = service.market
    market.client.publish(market.pricing, DISPUTABLE, market.chain.time + 86_400, Money(0))
    service.list_offer(DISPUTABLE, "disputable")
    worker = service.ready_worker()
    job = service.order(market.purchase(offer=DISPUTABLE))
    service.step()
    service.report(worker)
    service.step()
    assert service.job(job)["state"] == "settled"
    return job


def challenged(service: Service) -> Case:
    """The customer's challenge, read by the indexer."""
    row = service.rows(deals)[0]
    deal, root, fact = Deal.from_json(row["deal"]), bytes.fromhex(row["root"][2:]), int(row["fact"])
    market = service.market
    event = market.client.challenge(market.customer, deal, root, fact, CLAIM).one(events.Challenged)
    service.indexer.run_once()
    return Case(
        deal, root, fact, event.challenger, event.until, CLAIM.hash, tuple(f.units for f in event.fees)
    )


def judge(service: Service, case: Case, guilty: bool) -> None:
    service.market.client.judge(service.market.admin, case, guilty=guilty)
    service.indexer.run_once()


def lapse(service: Service, case: Case) -> None:
    service.market.chain.move_to(case.until + 1)
    service.market.client.lapse(service.market.stranger, case)
    service.indexer.run_once()


ENDS: dict[str, Callable[[Service, Case], None]] = {
    "guilty": lambda service, case: judge(service, case, True),
    "acquitted": lambda service, case: judge(service, case, False),
    "lapsed": lapse,
}


def test_an_open_case_is_kept_with_all_that_a_judge_passes_back(service: Service, settled: str) -> None:
    case = challenged(service)
    row = service.rows(cases)[0]
    assert (row["state"], row["job"], row["number"]) == ("open", settled, 1)
    assert Claim.from_json(row["claim"]) == CLAIM
    assert (row["until"], row["bond"], row["fees"]) == (case.until, 5_000_000, ["1000000"])
    assert int(row["fact"]) == case.fact
    assert service.rows(deals)[0]["state"] == "disputed"
    assert service.job(settled)["charged"] == PRICE.units
    with service.store.read() as connection:
        assert [found["deal"] for found in open_cases(connection)] == [row["deal"]]
    assert service.client.lot(case.deal.order, 0) == case.word
    event = service.rows(chain_events)[-1]
    assert (event["name"], event["data"]["claim"]) == ("Challenged", CLAIM.to_json())


@pytest.mark.parametrize(
    ("end", "deal_state", "charged"),
    [("guilty", "guilty", 0), ("acquitted", "settled", PRICE.units), ("lapsed", "settled", PRICE.units)],
)
def test_a_case_ends_and_the_jobs_money_with_it(
    service: Service, settled: str, end: str, deal_state: str, charged: int
) -> None:
    case = challenged(service)
    ENDS[end](service, case)
    row, deal = service.rows(cases)[0], service.rows(deals)[0]
    assert (row["state"], deal["state"], service.job(settled)["charged"]) == (end, deal_state, charged)
    assert row["returned"] == (PRICE.units if end == "guilty" else None)
    if end != "guilty":
        assert Fact.unpack(int(deal["fact"])).past_cases == 1
        again = challenged(service)
        assert again.fact != case.fact
        assert [row["state"] for row in service.rows(cases, cases.c.number)] == [end, "open"]


def known_of_the_provider(service: Service) -> dict[str, int]:
    """What the service computes of it, which is what anyone computes from the node."""
    told = service.reputations.records()
    conduct, block, _ = conduct_at(service.client)
    # The chain's clock may have gone on between the two: all of it is compared at the same second.
    same = ranked((conduct.record(each, told.time) for each in conduct.providers()), block, told.time)
    assert told == same
    (found,) = told.items
    assert found.provider == service.market.provider.address
    return {"paid": found.paid, "guilty": found.guilty}


@pytest.mark.parametrize("end", list(ENDS))
def test_what_the_chain_takes_back_is_undone(service: Service, settled: str, end: str) -> None:
    rpc = service.market.chain.rpc
    before = rpc.call("evm_snapshot")
    settled_deal = dict(service.rows(deals)[0])
    case = challenged(service)
    during = rpc.call("evm_snapshot")
    disputed_deal, open_case = dict(service.rows(deals)[0]), dict(service.rows(cases)[0])
    assert known_of_the_provider(service) == {"paid": 1, "guilty": 0}
    ENDS[end](service, case)
    guilty = int(end == "guilty")
    assert known_of_the_provider(service) == {"paid": 1 - guilty, "guilty": guilty}

    rpc.call("evm_revert", during)
    rpc.call("evm_mine")
    service.indexer.run_once()
    assert dict(service.rows(deals)[0]) == disputed_deal
    assert dict(service.rows(cases)[0]) == open_case
    assert service.job(settled)["charged"] == PRICE.units

    rpc.call("evm_revert", before)
    rpc.call("evm_mine")
    service.indexer.run_once()
    assert known_of_the_provider(service) == {"paid": 1, "guilty": 0}
    assert dict(service.rows(deals)[0]) == settled_deal
    assert service.rows(cases) == []


def test_a_restarted_indexer_counts_a_case_once(service: Service, settled: str) -> None:
    case = challenged(service)
    judge(service, case, True)
    again = service.restarted()
    again.indexer.run_once()
    assert [row["state"] for row in again.rows(cases)] == ["guilty"]
    assert again.job(settled)["charged"] == 0
    again.close()
