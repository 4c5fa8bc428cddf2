"""The relayer loses nothing and sends nothing twice, whatever happens between it and the chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marketplace.store.tables import deals, transactions
from prixfixe.chain import transactions as sending
from prixfixe.devnet.anvil import running_anvil
from prixfixe.errors import ChainError, Unavailable
from prixfixe.protocol.money import Money
from scheduler import relayer as relayer_module
from scheduler.relayer import RelayerSettings
from scheduler.sender import Prepared, Sender
from tests.support.market import PRICE, deploy_local_market
from tests.support.ports import lasting_port
from tests.support.scheduling import Service, mining_by_hand, until

pytestmark = pytest.mark.chain


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def killed_when_it_sends(*_: Any) -> None:
    raise Killed


def match_is_queued(service: Service, **fields: Any) -> str:
    job = service.order(**fields)
    service.matcher.run_once()
    assert service.outbox()[-1]["state"] == "pending"
    return job


def test_a_relayer_killed_before_its_bytes_left_sends_them_after_its_restart(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.ready_worker()
    job = match_is_queued(service)
    with monkeypatch.context() as patched:
        patched.setattr(relayer_module, "broadcast", killed_when_it_sends)
        with pytest.raises(Killed):
            service.relayer.run_once()
    stored = service.outbox()[0]
    assert (stored["state"], len(stored["hashes"])) == ("sent", 1), "nonce and hash were stored first"

    again = service.restarted()
    again.relay()
    again.indexer.run_once()

    row = again.outbox()[0]
    assert (row["state"], row["nonce"]) == ("confirmed", stored["nonce"])
    assert again.lot(job)["state"] == "open"
    again.close()


def test_a_node_that_runs_no_call_for_its_gas_is_asked_for_an_estimate(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.ready_worker()
    job = match_is_queued(service)
    rpc = service.client.rpc
    really = rpc.outcomes

    def without_it(calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return really(
            [(method.replace("eth_createAccessList", "eth_other"), given) for method, given in calls]
        )

    monkeypatch.setattr(rpc, "outcomes", without_it)
    service.relay()
    service.indexer.run_once()
    assert service.lot(job)["state"] == "open"


def test_a_relayer_killed_after_its_bytes_left_finds_the_receipt_and_sends_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.ready_worker()
    job = match_is_queued(service)
    really = sending.broadcast

    def sent_then_killed(*arguments: Any) -> None:
        really(*arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(relayer_module, "broadcast", sent_then_killed)
        with pytest.raises(Killed):
            service.relayer.run_once()

    again = service.restarted()
    monkeypatch.setattr(relayer_module, "broadcast", killed_when_it_sends)
    again.relay()
    again.indexer.run_once()

    assert again.outbox()[0]["state"] == "confirmed"
    assert again.outbox()[0]["sends"] == 1
    assert again.lot(job)["state"] == "open"
    again.close()


def test_rows_go_out_without_waiting_for_the_receipts_of_those_before(service: Service) -> None:
    service.ready_worker(slots=3)
    with mining_by_hand(service.market.chain):
        for nonce in range(3):
            match_is_queued(service, nonce=nonce)
            service.relayer.run_once()
        rows = service.outbox()
        assert [row["state"] for row in rows] == ["sent"] * 3
        first = rows[0]["nonce"]
        assert [row["nonce"] for row in rows] == [first, first + 1, first + 2]
    service.relay()
    assert [row["state"] for row in service.outbox()] == ["confirmed"] * 3


def test_a_transaction_that_the_node_dropped_goes_out_again_with_its_nonce(service: Service) -> None:
    service.ready_worker()
    job = match_is_queued(service)
    with mining_by_hand(service.market.chain):
        service.relayer.run_once()
        sent = service.outbox()[0]
        service.market.chain.rpc.call("anvil_dropTransaction", sent["hash"])
        service.relayer.run_once()
    service.step()
    row = service.outbox()[0]
    assert (row["state"], row["hash"], row["nonce"]) == ("confirmed", sent["hash"], sent["nonce"])
    assert service.lot(job)["state"] == "open"


def test_a_dropped_transaction_is_signed_anew_by_a_process_that_did_not_sign_it(service: Service) -> None:
    service.ready_worker()
    job = match_is_queued(service)
    with mining_by_hand(service.market.chain):
        service.relayer.run_once()
        sent = service.outbox()[0]
        service.market.chain.rpc.call("anvil_dropTransaction", sent["hash"])
        again = service.restarted()
        again.relayer.run_once()
    again.step()
    row = again.outbox()[0]
    assert (row["state"], row["nonce"]) == ("confirmed", sent["nonce"])
    assert again.lot(job)["state"] == "open"
    again.close()


def test_a_transaction_that_stays_unmined_gets_higher_fees_and_whichever_is_mined_counts(
    service: Service,
) -> None:
    hasty = Service(service.market, service.data, replace(service.relayer_settings, bump_seconds=0.0))
    hasty.ready_worker()
    job = match_is_queued(hasty)
    chain = service.market.chain
    with mining_by_hand(chain):
        hasty.relayer.run_once()
        first = hasty.outbox()[0]
        hasty.relayer.run_once()
        second = hasty.outbox()[0]
        assert second["hash"] != first["hash"]
        assert second["nonce"] == first["nonce"]
        assert second["hashes"] == [first["hash"], second["hash"]]
        fees = [chain.rpc.call("eth_getTransactionByHash", second["hash"])["maxFeePerGas"]]
        assert int(fees[0], 16) > 0
    hasty.step()
    assert hasty.outbox()[0]["state"] == "confirmed"
    assert hasty.lot(job)["state"] == "open"
    hasty.close()


def test_after_many_raises_fees_only_follow_the_chains(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hasty = Service(service.market, service.data, replace(service.relayer_settings, bump_seconds=0.0))
    hasty.ready_worker()
    match_is_queued(hasty)
    monkeypatch.setattr(relayer_module, "_MOST_SENDS", 2)
    with mining_by_hand(service.market.chain):
        for _ in range(5):
            hasty.relayer.run_once()
        last = hasty.outbox()[0]
        assert len(last["hashes"]) == 2
        assert [each.message for each in caplog.records if "not mined after" in each.message] == [
            f"transaction {last['id']} ({last['purpose']}) not mined after 2 sends"
        ]
        sent = service.client.rpc.call("eth_getTransactionByHash", last["hash"])
        dear = 2 * int(sent["maxFeePerGas"], 16)
        monkeypatch.setattr(Sender, "with_present_fees", lambda _, given: replace(given, max_fee=dear))
        for _ in range(3):
            hasty.relayer.run_once()
        hashes = hasty.outbox()[0]["hashes"]
        assert len(hashes) == 3
        sent = service.client.rpc.call("eth_getTransactionByHash", hashes[-1])
        assert int(sent["maxFeePerGas"], 16) == dear
    hasty.step()
    assert hasty.outbox()[0]["state"] == "confirmed"
    hasty.close()


def test_a_call_that_would_revert_is_not_sent_and_says_why(service: Service) -> None:
    """The customer's money goes after the matcher saw it: the lot waits with the reason, then goes on."""
    market = service.market
    service.ready_worker()
    job = match_is_queued(service)
    market.client.withdraw(market.customer, market.customer.address, Money.parse("99"))
    nonce = service.client.rpc.call("eth_getTransactionCount", market.scheduler.address, "latest")

    service.relayer.run_once()

    row = service.outbox()[0]
    assert row["state"] == "failed"
    assert row["error"]["revert"] == "MarketFundsShort"
    assert row["hash"] is None, "nothing was sent"
    assert service.client.rpc.call("eth_getTransactionCount", market.scheduler.address, "latest") == nonce
    lot = service.lot(job)
    assert lot["state"] == "free"
    assert "$1" in lot["waiting_reason"]
    assert "$2" in lot["waiting_reason"]

    market.client.deposit(market.customer, Money.parse("99"))
    until(lambda: (service.step(), service.lot(job)["state"] == "open")[1], "the match after the deposit")


def test_a_transaction_that_reverts_when_it_is_mined_fails_with_the_reason(service: Service) -> None:
    """It passed the estimate; before its block the customer ended the era of the order."""
    market = service.market
    service.ready_worker()
    job = match_is_queued(service)
    chain = market.chain
    with mining_by_hand(chain):
        service.relayer.run_once()
        ended = sending.prepare(
            chain.rpc,
            chain_id=market.client.chain_id,
            sender=market.customer.address,
            to=market.client.contract,
            data=market.client.encode_call("bump", 0),
        )
        sooner = replace(ended, priority_fee=ended.max_fee * 10, max_fee=ended.max_fee * 20)
        sending.broadcast(chain.rpc, sooner.sign(market.customer))
    service.relay()
    row = service.outbox()[0]
    assert (row["state"], row["error"]["revert"]) == ("failed", "MarketEra")
    ended_job = service.job(job)
    assert (ended_job["state"], ended_job["charged"]) == ("refunded", 0)
    assert ended_job["reason"]["fault"] == "customer"


def test_a_nonce_that_somebody_else_took_is_noticed_and_the_wish_goes_out_with_the_next(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Two processes with the scheduler's key: the second is not fought, and is named in the log."""
    market = service.market
    service.ready_worker()
    service.relayer.run_once()
    job = match_is_queued(service)
    chain = market.chain
    with mining_by_hand(chain):
        service.relayer.run_once()
        mine = service.outbox()[0]
        theirs = sending.Transaction(
            chain_id=market.client.chain_id,
            nonce=mine["nonce"],
            to=market.scheduler.address,
            data=b"",
            gas=21_000,
            max_fee=10**12,
            priority_fee=10**11,
        )
        sending.broadcast(chain.rpc, theirs.sign(market.scheduler))
    service.relay()
    service.indexer.run_once()

    row = service.outbox()[0]
    assert row["state"] == "confirmed"
    assert row["nonce"] == mine["nonce"] + 1
    assert service.relayer.foreign_nonces == 1
    assert "does another process send with this key" in caplog.text
    assert service.lot(job)["state"] == "open"


def test_a_deal_that_its_worker_settled_by_itself_is_settled_here_too(
    service: Service,
) -> None:
    market = service.market
    worker = service.ready_worker()
    job = service.order()
    service.step()
    service.report(worker)
    queued = service.outbox()[-1]
    deal = service.rows(deals)[0]
    from prixfixe.protocol.deals import Deal

    market.client.settle(
        worker,
        Deal.from_json(deal["deal"]),
        deal["due"],
        bytes.fromhex(queued["arguments"]["root"][2:]),
        1,
        [bytes.fromhex(queued["arguments"]["signatures"][0][2:])],
    )
    service.step()

    assert service.row(transactions, id=queued["id"])["state"] == "failed"
    assert service.job(job)["state"] == "settled"
    assert service.job(job)["charged"] == PRICE.units


def test_while_the_chain_is_out_of_reach_rows_stay_and_go_out_when_it_is_back(tmp_path: Path) -> None:
    """The chain is stopped and started again with its state; so does a chain's container."""
    state, port = tmp_path / "state.json", lasting_port()
    with running_anvil(state=state, port=port) as chain:
        market = deploy_local_market(chain)
        service = Service(market, tmp_path)
        service.list_offer()
        worker = service.ready_worker()
        job = service.order()
        service.step()
    service.report(worker)
    with pytest.raises(Unavailable):
        service.relayer.run_once()
    assert service.outbox()[-1]["state"] == "pending"
    with running_anvil(state=state, port=port):
        until(lambda: _ran(service), "the chain's return")
        service.step()
        assert service.job(job)["state"] == "settled"
        assert service.job(job)["charged"] == PRICE.units
    service.close()


def _ran(service: Service) -> bool:
    try:
        service.step()
    except Unavailable:
        return False
    return True


def test_a_relayer_without_money_for_gas_keeps_its_rows_and_says_so(service: Service) -> None:
    market = service.market
    service.ready_worker()
    match_is_queued(service)
    chain = market.chain
    chain.rpc.call("anvil_setBalance", market.scheduler.address, "0x0")
    with pytest.raises(Exception, match=r"(?i)gas|fund"):
        service.relayer.run_once()
    assert service.outbox()[0]["state"] == "pending"
    chain.rpc.call("anvil_setBalance", market.scheduler.address, hex(10**18))
    service.relay()
    assert service.outbox()[0]["state"] == "confirmed"


class Refusing:
    """Stands for a node that takes nothing for want of gas money; keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[sending.SignedTransaction] = []

    def __call__(self, _rpc: Any, signed: sending.SignedTransaction) -> None:
        self.given.append(signed)
        raise ChainError("send: insufficient funds for gas * price + value", code="no-gas-money")


def test_a_raise_of_fees_that_is_refused_leaves_what_is_in_the_pool_as_it_was(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = Service(service.market, service.data, replace(service.relayer_settings, bump_seconds=0.0))
    service.ready_worker(slots=2)
    jobs = [match_is_queued(service)]
    with mining_by_hand(service.market.chain):
        hasty.relayer.run_once()
        first = hasty.outbox()[0]
        with monkeypatch.context() as patched:
            patched.setattr(relayer_module, "broadcast", Refusing())
            with pytest.raises(Unavailable, match="too little money for gas"):
                hasty.relayer.run_once()
        kept = hasty.outbox()[0]
        assert (kept["state"], kept["hash"], kept["nonce"]) == ("sent", first["hash"], first["nonce"])
        hasty.close()
        jobs.append(match_is_queued(service, nonce=2))
        service.relayer.run_once()
        assert service.outbox()[1]["nonce"] == first["nonce"] + 1
    service.relay()
    service.indexer.run_once()

    assert [row["state"] for row in service.outbox()] == ["confirmed"] * 2
    assert service.outbox()[0]["hash"] == first["hash"]
    assert [service.lot(job)["state"] for job in jobs] == ["open"] * 2


def test_a_receipt_ends_only_the_rows_that_its_transaction_carried(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node forgot the first transaction, and others had it yet: it is mined after all, when its row is on
    its way again in the company of two."""
    chain = service.market.chain
    service.ready_worker(slots=3)
    jobs = [match_is_queued(service)]
    refusing = Refusing()
    with mining_by_hand(chain):
        service.relayer.run_once()
        first = service.outbox()[0]
        chain.rpc.call("anvil_dropTransaction", first["hash"])
        with monkeypatch.context() as patched:
            patched.setattr(relayer_module, "broadcast", refusing)
            with pytest.raises(Unavailable, match="too little money for gas"):
                service.relayer.run_once()
        assert service.outbox()[0]["state"] == "pending"
        jobs += [match_is_queued(service, nonce=nonce) for nonce in (2, 3)]
        service.relayer.run_once()
        together = service.outbox()
        assert {row["hash"] for row in together} == {together[0]["hash"]} != {first["hash"]}
        chain.rpc.call("anvil_dropTransaction", together[0]["hash"])
        sending.broadcast(chain.rpc, refusing.given[0])
    service.relay()
    service.indexer.run_once()

    rows = service.outbox()
    assert [row["state"] for row in rows] == ["confirmed"] * 3, "one match of its own for each"
    assert rows[0]["hash"] == first["hash"]
    assert rows[1]["hash"] == rows[2]["hash"] != together[0]["hash"]
    assert [service.lot(job)["state"] for job in jobs] == ["open"] * 3
    assert service.relayer.foreign_nonces == 0


def test_many_that_wait_for_gas_money_are_not_split(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of that refusal name gas, too; each half would be asked about in vain."""
    service.ready_worker(slots=2)
    for nonce in (2, 3):
        match_is_queued(service, nonce=nonce)
    asked = []

    def refusing(data: bytes) -> None:
        asked.append(data)
        raise ChainError("eth_estimateGas: insufficient funds for gas * price + value", code="no-gas-money")

    monkeypatch.setattr(service.relayer._sender, "_rehearses", False)
    monkeypatch.setattr(service.relayer._sender, "prepare", refusing)
    with pytest.raises(ChainError, match="insufficient funds"):
        service.relayer.run_once()
    assert len(asked) == 1
    assert [row["state"] for row in service.outbox()] == ["pending"] * 2


def test_many_that_no_block_holds_any_more_are_sent_as_several_when_they_are_signed_anew(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.ready_worker(slots=2)
    jobs = [match_is_queued(service, nonce=nonce) for nonce in (2, 3)]
    with mining_by_hand(service.market.chain):
        service.relayer.run_once()
        together = service.outbox()
        assert together[0]["hash"] == together[1]["hash"]
        service.market.chain.rpc.call("anvil_dropTransaction", together[0]["hash"])
        again = service.restarted()
        really, first = again.relayer._sender.prepare, []

        def no_more_than_one(data: bytes) -> Prepared:
            first.append(data)
            if data == first[0]:
                raise ChainError("eth_estimateGas: gas required exceeds allowance", code="chain-error")
            return really(data)

        monkeypatch.setattr(again.relayer._sender, "_rehearses", False)
        monkeypatch.setattr(again.relayer._sender, "prepare", no_more_than_one)
        again.relayer.run_once()
    again.step()

    rows = again.outbox()
    assert [row["state"] for row in rows] == ["confirmed"] * 2
    assert rows[0]["hash"] != rows[1]["hash"]
    assert [again.lot(job)["state"] for job in jobs] == ["open"] * 2
    again.close()


def test_settings_are_what_the_docs_say() -> None:
    assert RelayerSettings().bump_seconds == 30.0
