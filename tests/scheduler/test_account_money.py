"""Money of managed accounts on a real chain: deposited once whatever dies, accounted for to the unit, and
never stranded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from marketplace.accounts.balances import Balances
from marketplace.accounts.identity import SCOPES, Identity
from marketplace.accounts.limits import Spending
from marketplace.accounts.people import People
from marketplace.accounts.statement import Statements
from marketplace.accounts.top_ups import credit, listed
from marketplace.accounts.withdrawals import Withdrawals
from marketplace.chain import MarketReader
from marketplace.store import outbox
from prixfixe.cli.account import account
from prixfixe.keys import development_signer
from prixfixe.protocol.accounts import SignUp
from prixfixe.protocol.money import Money
from prixfixe.protocol.typed_data import parse_bytes32
from prixfixe.protocol.wire import Reason
from prixfixe.seeds import load_seed
from scheduler import relayer as relayer_module
from scheduler.sender import Sender
from tests.support.market import PRICE
from tests.support.scheduling import Service
from tests.support.service import quick_passwords

pytestmark = pytest.mark.chain

SEED = load_seed("dev", chain_id=31337)
PURSE = development_signer(15).address  # where the owner's money leaves to
FIFTY = Money.parse("50.00")


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def killed(*_: Any) -> None:
    raise Killed


class Desk:
    """An account with its owner, at a service."""

    def __init__(self, service: Service) -> None:
        market = service.market
        reader = MarketReader(service.client.rpc, service.client.contract)
        store = service.store
        balances = Balances(store, reader, Spending(store), market.deployment.policy.surety)
        self.withdrawals = Withdrawals(store, reader, service.client.domain, SEED, balances, 60)
        self.statements = Statements(store, reader)
        self.signer = SEED.signer(1)
        self.owner = Identity(1, self.signer.address, SCOPES["owner"], person="p")
        self.service = service

    def opened(self) -> Desk:
        client = self.service.client
        reader = MarketReader(client.rpc, client.contract)
        people = People(self.service.store, reader, SEED, 3600, quick_passwords())
        people.sign_up(SignUp(email="ada@example.com", password="correct horse", withdraw_to=PURSE))
        client.mint(self.service.market.admin, self.service.market.scheduler.address, Money.parse("500"))
        return self

    def free(self) -> Money:
        return self.service.client.account(self.signer.address).free

    def relay(self) -> None:
        self.service.relay()
        self.service.indexer.run_once()

    def buy(self, nonce: int) -> str:
        order = self.service.market.purchase(nonce=nonce)
        own = type(order)(**{**_fields(order), "customer": self.signer.address})
        return self.service.order(own, signer=self.signer)  # type: ignore[arg-type]


def _fields(order: Any) -> dict[str, Any]:
    return {name: getattr(order, name) for name in order.__dataclass_fields__}


def leave(service: Service, file: Path) -> dict[str, Any]:
    """What anybody does with a standing withdrawal."""
    environment = {
        "PRIXFIXE_SERVICE": "http://127.0.0.1:1",  # gone
        "PRIXFIXE_RPC": str(service.market.node()),
        "PRIXFIXE_CHAIN_ID": "31337",
        "PRIXFIXE_CONTRACT": service.client.contract,
    }
    run = CliRunner().invoke(
        account, ["leave", str(file), "--key", "dev:9", "--yes", "--json"], env=environment
    )
    assert run.exit_code == 0, run.output
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def test_a_top_up_is_deposited_once_though_the_relayer_is_killed_and_told_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(service).opened()
    credit(service.store, "ada@example.com", FIFTY, "2026-017")
    with monkeypatch.context() as patched:
        patched.setattr(relayer_module, "broadcast", killed)
        with pytest.raises(Killed):
            service.relayer.run_once()
    again = service.restarted()
    desk = Desk(again)
    desk.relay()
    assert desk.free() == FIFTY
    shown, sends = credit(again.store, "ada@example.com", FIFTY, "2026-017")
    assert (shown.state, sends) == ("confirmed", False)

    with again.store.write() as connection:  # as if the row had been lost
        outbox.queue_deposit(connection, "2026-017", desk.signer.address, FIFTY.units)
    desk.relay()
    assert again.outbox()[-1]["state"] == "failed"
    assert "deposited already" in again.outbox()[-1]["error"]["message"]
    assert credit(again.store, "ada@example.com", FIFTY, "2026-017") == (shown, False)
    assert desk.free() == FIFTY
    again.close()


@pytest.mark.parametrize("before_it_is_sent", [True, False])
def test_a_top_up_whose_authorisation_somebody_else_brings_to_the_chain_has_arrived(
    service: Service, monkeypatch: pytest.MonkeyPatch, before_it_is_sent: bool
) -> None:
    desk = Desk(service).opened()
    account, client = desk.signer.address, service.client
    client.mint(service.market.admin, service.market.stranger.address, FIFTY)
    client.deposit_for(service.market.stranger, account, FIFTY)  # of the same amount, and no top-up
    credit(service.store, account, FIFTY, "2026-017")
    salt = parse_bytes32(service.outbox()[-1]["arguments"]["salt"])
    copied: list[str] = []

    def copy(*_: Any) -> None:
        if not copied:
            word, signature, _ = client.authorise_deposit(service.market.scheduler, account, FIFTY, salt=salt)
            done = client.deposit_with_authorization(service.market.stranger, account, word, signature, salt)
            copied.append(done.transaction_hash)

    if before_it_is_sent:
        copy()
    else:
        prepare = Sender.prepare
        monkeypatch.setattr(Sender, "prepare", lambda sender, data: copy() or prepare(sender, data))
    service.relay()
    with service.store.read() as connection:
        assert [each.state for each in listed(connection, 1)] == ["failed"], "its event was not read yet"
    service.indexer.run_once()
    assert service.outbox()[-1]["error"]["code"] == "deposited-already"
    shown, sends = credit(service.store, account, FIFTY, "2026-017")
    assert (shown.state, shown.transaction, sends) == ("confirmed", copied[0], False)
    told = [(line.kind, line.reference) for line in desk.statements.statement(desk.owner).lines]
    assert told == [("deposit", service.market.stranger.address), ("top-up", "2026-017")]
    assert desk.free() == FIFTY + FIFTY


def test_a_deposit_of_the_same_amount_does_not_stand_for_a_top_up_that_failed(service: Service) -> None:
    desk = Desk(service).opened()
    operator, more = service.market.scheduler, Money.parse("900.00")
    credit(service.store, desk.signer.address, more, "i1")
    desk.relay()
    service.client.mint(service.market.admin, operator.address, more)
    service.client.deposit_for(operator, desk.signer.address, more)
    service.indexer.run_once()
    with service.store.read() as connection:
        assert [each.state for each in listed(connection, 1)] == ["failed"]


def test_a_top_up_that_the_operator_cannot_pay_fails_and_is_paid_later(service: Service) -> None:
    desk = Desk(service).opened()
    more = Money.parse("900.00")
    credit(service.store, desk.signer.address, more, "i1")
    desk.relay()
    assert service.outbox()[-1]["state"] == "failed"
    service.client.mint(service.market.admin, service.market.scheduler.address, more)
    shown, sends = credit(service.store, desk.signer.address, more, "i1")
    assert (shown.state, sends) == ("pending", True)
    desk.relay()
    assert desk.free() == more


def test_the_statement_is_the_chains_balance_to_the_unit_and_the_owner_leaves_with_all_of_it(
    service: Service, tmp_path: Path
) -> None:
    desk = Desk(service).opened()
    credit(service.store, desk.signer.address, Money(50_000_001), "2026-017")
    desk.relay()
    worker = service.ready_worker()
    paid = desk.buy(1)
    service.step()
    service.report(worker)
    service.step()
    refused = desk.buy(2)
    service.step()
    service.report(worker, status=5, reason=Reason(code="no-column", message="none", fault="customer"))
    service.step()
    assert (service.job(paid)["state"], service.job(refused)["state"]) == ("settled", "refunded")
    made = desk.withdrawals.withdraw(desk.owner, Money(7_000_000), "w1")
    desk.relay()
    assert service.client.token_balance(PURSE) == Money(7_000_000)

    statement = desk.statements.statement(desk.owner)
    told = [(line.kind, line.amount) for line in statement.lines]
    assert told == [
        ("top-up", 50_000_001),
        ("order", -PRICE.units),
        ("order", -PRICE.units),
        ("returned", PRICE.units),
        ("withdrawal", -7_000_000),
    ]
    assert statement.lines[0].reference == "2026-017"
    assert statement.lines[-1].transaction == desk.withdrawals.page(desk.owner, None, 1)[0][0].transaction
    assert made.to == PURSE
    balance = desk.free().units
    assert statement.balance == statement.on_chain == balance == sum(amount for _, amount in told)

    # The operator is gone: anybody sends what the owner was given.
    file = tmp_path / "standing.json"
    file.write_text(desk.withdrawals.standing(desk.owner).model_dump_json())
    left = leave(service, file)
    assert (left["sent"], left["left"], left["to"]) == (str(balance), "0", PURSE)
    assert len(left["transactions"]) == bin(balance).count("1")
    assert service.client.token_balance(PURSE) == Money(7_000_000 + balance)
    assert leave(service, file)["transactions"] == []
    service.indexer.run_once()
    after = desk.statements.statement(desk.owner)
    assert after.balance == after.on_chain == 0
    since = statement.lines[2].time  # several may be of one second
    later = desk.statements.statement(desk.owner, since=since, until=after.lines[-1].time)
    before = [line for line in after.lines if line.time < since]
    assert (later.opening, later.balance) == (sum(line.amount for line in before), 0)
    assert later.lines == after.lines[len(before) :]
