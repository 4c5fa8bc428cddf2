"""A market with a verifier that tests move by hand: what is sold, checked, found and judged, on a real
chain."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from marketplace.chain import MarketReader
from marketplace.store.canaries import Canary
from marketplace.store.looks import unseen
from marketplace.store.tables import asks, attempts, cases, checks, deals
from marketplace.store.transitions import OrderTerms
from prixfixe.errors import Conflict
from prixfixe.keys import LocalSigner, development_signer
from prixfixe.market.verification import Among, Rule, admitted
from prixfixe.protocol.deals import Deal, Offer
from prixfixe.protocol.disputes import Case, Claim
from prixfixe.protocol.money import Money
from prixfixe.protocol.outputs import OutputFile, OutputManifest
from prixfixe.protocol.typed_data import parse_bytes32
from scheduler.verifier import Buys, Verifier, VerifierSettings
from tests.support.market import DISPUTABLE, OFFER
from tests.support.scheduling import OUTPUTS, Service

FEE = Money.parse("1").units
BUYER = development_signer(17)
LIE = OutputManifest((OutputFile("out.csv", "cd" * 32, 10),))
OTHER_LIE = OutputManifest((OutputFile("out.csv", "ef" * 32, 10),))
Lies = dict[str, OutputManifest]  # by worker


@dataclass
class Shop:
    """Buys re-runs as `Checking` does, without quotes: the scheduler's half has none."""

    service: Service
    nonces: Any

    def buy(self, deal: str, opening: int, without: Collection[str], chosen: Among) -> str:
        others = {row["provider"] for row in self.service.rows(asks)} - set(without)
        if not others:
            raise Conflict("nobody else asks for this product now", code="nobody-else")
        with self.service.store.read() as connection:
            since = unseen(connection, others)
        return self._order(DISPUTABLE, admitted(since, bytes(next(self.nonces)), chosen))

    def buy_canary(self, canary: Canary, provider: str) -> str:
        return self._order(OFFER, (provider,))

    def _order(self, offer: Offer, providers: tuple[str, ...]) -> str:
        order = self.service.market.purchase(offer=offer, nonce=next(self.nonces))
        own = replace(order, customer=BUYER.address)
        return self.service.order(own, OrderTerms("bundle", OFFER.product, providers=providers), BUYER)


@dataclass
class Street:
    """A market with a verifier and some workers, each of a provider of its own."""

    service: Service
    workers: list[LocalSigner]
    nonces: Any
    rule: Rule = Rule(least=0)  # noqa: RUF009 (frozen)
    spread: int = 0

    def verifier(self, buying: Buys | None = None) -> Verifier:
        settings = VerifierSettings(window=600, stake=FEE, spread=self.spread, rule=self.rule)
        client = self.service.client
        reader = MarketReader(client.rpc, client.contract)
        return Verifier(self.service.store, reader, buying or Shop(self.service, self.nonces), settings)

    def sold(self, lies: Lies | None = None, provider: int = 0, offer: Offer = DISPUTABLE) -> str:
        """A customer's job, run by the worker of that number, and paid; the deal's id."""
        service = self.service
        terms = OrderTerms("bundle", OFFER.product, providers=(self.provider(provider),))
        job = service.order(service.market.purchase(offer=offer, nonce=next(self.nonces)), terms)
        self.run(lies or {})
        (row,) = [row for row in service.rows(deals) if row["job"] == job]
        assert row["state"] == "settled"
        return str(row["id"])

    def run(self, lies: Lies) -> None:
        """All that was bought is matched, run and paid."""
        service = self.service
        for worker in self.workers:
            service.beat(worker)
        service.matcher.run_once()
        self.pass_on()
        for row in [row for row in service.rows(attempts) if row["state"] == "assigned"]:
            (worker,) = (each for each in self.workers if each.address == row["worker"])
            service.report(worker, attempt=row["id"], outputs=lies.get(worker.address, OUTPUTS))
        self.pass_on()

    def pass_on(self) -> None:
        """What was decided reaches the chain, and its events the tables."""
        self.service.relay()
        self.service.indexer.run_once()

    def check(self, lies: Lies | None = None, rounds: int = 4) -> None:
        """The verifier looks, and what it bought is run, some times in turn."""
        verifier = self.verifier()
        for _ in range(rounds):
            verifier.run_once()
            self.run(lies or {})
        verifier.run_once()
        self.pass_on()

    def provider(self, number: int) -> str:
        return development_signer(4 + number).address

    def states(self) -> dict[str, str]:
        return {row["deal"]: row["state"] for row in self.service.rows(checks)}

    def judge(self, guilty: bool = True) -> None:
        """The arbiter's word in the newest case."""
        row = [each for each in self.service.rows(cases, cases.c.number) if each["state"] == "open"][-1]
        deal = self.service.row(deals, id=row["deal"], opening=row["opening"])
        case = Case(
            Deal.from_json(deal["deal"]),
            parse_bytes32(deal["root"]),
            int(row["fact"]),
            row["challenger"],
            row["until"],
            Claim.from_json(row["claim"]).hash,
            tuple(int(fee) for fee in row["fees"]),
        )
        self.service.client.judge(self.service.market.admin, case, guilty=guilty)
        self.service.indexer.run_once()


def open_street(service: Service) -> Street:
    """Three workers, a funded buyer, and a disputable bundle beside the market's own."""
    market, client = service.market, service.client
    client.publish(market.pricing, DISPUTABLE, market.chain.time + 86_400, Money(0))
    service.list_offer(DISPUTABLE, "disputable")
    for signer in (BUYER, market.scheduler):
        client.mint(market.admin, signer.address, Money.parse("50"))
        client.deposit(signer, Money.parse("50"))
    workers = [service.ready_worker(number, name=f"w{number}") for number in range(3)]
    return Street(service, workers, count(1))


def liar(street: Street, number: int = 0, what: OutputManifest = LIE) -> Lies:
    return {street.workers[number].address: what}
