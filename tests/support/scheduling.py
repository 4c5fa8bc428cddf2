"""A service's store and duties over a real market, without its HTTP: tests move the duties by hand or start
them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from marketplace.blobs import Blobs
from marketplace.chain import MarketReader
from marketplace.newcomers import Newcomers
from marketplace.reputation import Reputations
from marketplace.resting import MarketTerms
from marketplace.store import transitions
from marketplace.store.database import Store
from marketplace.store.reports import attempt_reported
from marketplace.store.tables import (
    asks,
    attempts,
    blobs,
    bundles,
    deals,
    jobs,
    lots,
    offers,
    open_batches,
    quotes,
    workers,
)
from marketplace.store.tables import transactions as outbox_table
from marketplace.store.upsert import insert_missing
from prixfixe.chain.client import MarketClient
from prixfixe.devnet.anvil import LocalChain
from prixfixe.keys import LocalSigner, development_signer, sign_typed
from prixfixe.protocol.deals import Deal, Offer, refusal_root
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Bid, Order, Result, SignedAsk
from prixfixe.protocol.outputs import OutputFile, OutputManifest, leaf, merkle_root
from prixfixe.protocol.reports import LotReport, TaskReport
from prixfixe.protocol.wire import Reason
from scheduler.auctioneer import Auctioneer
from scheduler.indexer import Indexer, IndexerSettings
from scheduler.matcher import Matcher
from scheduler.reaper import Reaper, ReaperSettings
from scheduler.relayer import Relayer, RelayerSettings
from tests.support.market import OFFER, PAY, LocalMarket, manifest_of
from tests.support.stores import migrated_store

SILENCE_SECONDS = 3.0
# A test's worker beats once and is heard for this long, however slowly a busy machine gets on with the test.
HEARD_SECONDS = 3600.0
NEWCOMER_CAP = 20_000_000
OUTPUTS = OutputManifest((OutputFile("out.csv", "ab" * 32, 10),))


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """The first true value of `condition`, or a failure that says what was waited for."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for: {what}")
        time.sleep(0.02)
    return value


@contextmanager
def mining_by_hand(chain: LocalChain) -> Iterator[None]:
    """No block is made until one is asked for, as on a chain with others on it."""
    chain.rpc.call("evm_setAutomine", False)
    try:
        yield
    finally:
        chain.rpc.call("evm_setAutomine", True)
        chain.rpc.call("evm_mine")


def hurry(store: Store) -> None:
    """The time of every batch that gathers is over."""
    with store.write() as connection:
        connection.execute(update(open_batches).values(closes_at=0.0))


@dataclass
class Service:
    """The scheduler's half of a service on one data folder. `restarted()` is the same service after a
    crash."""

    market: LocalMarket
    data: Path
    relayer_settings: RelayerSettings = field(default_factory=lambda: RelayerSettings(poll_seconds=0.02))
    signer: LocalSigner | None = None
    heard_seconds: float = HEARD_SECONDS  # how far ahead a heartbeat lies; 0 where the test has the clock
    confirmations: int = 0  # of the indexer
    shared: bool = False  # with other processes

    def __post_init__(self) -> None:
        self.store = migrated_store(self.data / "prixfixe.db", shared=self.shared)
        client = self.client = MarketClient(self.market.node(), self.market.deployment.market)
        reader = MarketReader(client.rpc, client.contract)
        policy = self.market.deployment.policy
        self.relayer = Relayer(
            self.store, client, self.signer or self.market.scheduler, self.relayer_settings
        )
        first = self.market.deployment.block
        reading = IndexerSettings(first, poll_seconds=0.05, confirmations=self.confirmations)
        self.indexer = Indexer(self.store, client, reading)
        terms = MarketTerms(
            contract=client.contract,
            operator=self.market.scheduler.address,
            grace=policy.grace,
            surety=policy.surety,
            silence_seconds=SILENCE_SECONDS,
            newcomer_cap=NEWCOMER_CAP,
        )
        self.reputations = Reputations(self.store, reader)
        self.newcomers = Newcomers(self.store, self.reputations)
        self.matcher = Matcher(self.store, reader, terms, self.reputations, self.newcomers)
        self.blobs = Blobs(self.store, self.data / "blobs", 2**30)
        self.auctioneer = Auctioneer(self.store, reader, self.blobs, terms, client.domain, self.newcomers)
        self.reaper = Reaper(self.store, reader, ReaperSettings(policy.grace, SILENCE_SECONDS))
        self.reaper._began = 0.0  # as if it had run for long; a test of a fresh start sets it back
        self.duties = (self.matcher, self.auctioneer, self.relayer, self.indexer, self.reaper)

    def step(self) -> None:
        """Every duty once, in the order in which work flows; what is sent is mined before it is read."""
        self.matcher.run_once()
        self.relay()
        self.indexer.run_once()
        self.reaper.run_once()

    def close_batch(self) -> None:
        """The batches that are due, as if their time were over; what was sent is mined and read."""
        self.indexer.run_once()
        self.auctioneer.run_once()
        hurry(self.store)
        self.auctioneer.run_once()
        self.relay()
        self.indexer.run_once()

    def relay(self) -> None:
        """The relayer, until nothing that it sent is unmined."""

        def done() -> bool:
            self.relayer.run_once()
            return all(row["state"] != "sent" for row in self.outbox())

        until(done, "every transaction to be mined")

    def restarted(self) -> Service:
        """This one is gone without a word (nothing of its memory is kept); another starts on its files."""
        self.close()
        return replace(self)

    def close(self) -> None:
        for duty in self.duties:
            duty.stop()
        for duty in self.duties:
            assert duty.join(10.0), f"{duty.name} did not stop"
        self.store.close()
        self.client.rpc.close()

    # ------------------------------------------------------------------------------------- what people do

    def list_offer(self, offer: Offer = OFFER, bundle: str = "probe") -> None:
        """An offer of the market's fixture, as a published bundle."""
        now = int(time.time())
        with self.store.write() as connection:
            archive = {"sha256": "00" * 32, "size": 1, "created_at": now}
            insert_missing(connection, blobs, [archive])
            connection.execute(
                insert(bundles).values(
                    id=bundle,
                    version="1",
                    definition={},
                    definition_digest="00" * 32,
                    image="sha256:" + "00" * 32,
                    image_archive="00" * 32,
                    published_by=self.market.pricing.address,
                    published_at=now,
                )
            )
            connection.execute(
                insert(offers).values(
                    offer_id="0x" + offer.id.hex(),
                    bundle=bundle,
                    version="1",
                    tier="only",
                    replicas=1,
                    position=0,
                    offer=offer.to_json(),
                    product="0x" + offer.product.hex(),
                    price=offer.price,
                    up_to=1,
                    until=self.market.chain.time + 86_400,
                )
            )

    def bid(self, bid: Bid | None = None, *, signer: LocalSigner | None = None, **fields: Any) -> str:
        """A customer's bid for the auction, stored as the API does; the job's id. fields: of the bid, or
        replicas, whole and providers of its terms."""
        terms = {name: fields.pop(name) for name in ("replicas", "whole", "providers") if name in fields}
        if signer is not None:
            fields["customer"] = signer.address
        given = bid or self.market.bid(**fields)
        return self.order(given, transitions.OrderTerms("auction", OFFER.product, **terms), signer)

    def order(
        self,
        order: Order | None = None,
        terms: transitions.OrderTerms | None = None,
        signer: LocalSigner | None = None,
        manifest: dict[str, Any] | None = None,
        **fields: Any,
    ) -> str:
        """A customer's order, stored as the API does; the job's id. manifest: whose digest nobody looks
        at here."""
        purchase = order or self.market.purchase(**fields)
        job = "0x" + purchase.digest(self.market.client.domain).hex()
        with self.store.write() as connection:
            if connection.execute(select(quotes.c.id).where(quotes.c.id == "q")).first() is None:
                connection.execute(
                    insert(quotes).values(
                        id="q", customer=purchase.customer, quote={}, expires_at=0, created_at=0
                    )
                )
            transitions.job_placed(
                connection,
                job=job,
                quote="q",
                order=purchase,
                signature="0x" + self.market.sign(purchase, signer).hex(),
                manifest=manifest or manifest_of(purchase.tasks),
                terms=terms or transitions.OrderTerms("bundle", OFFER.product),
            )
        return job

    def register(self, signer: LocalSigner, provider: str, name: str = "w1", slots: int = 1) -> None:
        with self.store.write() as connection:
            connection.execute(
                insert(workers).values(
                    key=signer.address,
                    provider=provider,
                    name=name,
                    resources={"milli_vcpu": 2000, "memory_mib": 4096, "disk_mib": 4096, "slots": slots},
                    version="test",
                    registered_at=0,
                    heartbeat_at=time.time() + self.heard_seconds,
                    draining=False,
                    cool_until=0.0,
                )
            )

    def place(self, ask: SignedAsk, signer: LocalSigner) -> None:
        product = "0x" + ask.ask.product.hex()
        with self.store.write() as connection:
            connection.execute(
                insert(asks).values(
                    worker=signer.address,
                    product=product,
                    provider=ask.ask.provider,
                    price=ask.ask.price,
                    slots=ask.ask.slots,
                    expiry=ask.ask.expiry,
                    ask=ask.ask.to_json(),
                    signature="0x" + ask.signature.hex(),
                    placed_at=0,
                )
            )
            self.store.notify(connection, "asks")

    def beat(self, signer: LocalSigner, age: float = 0.0, **said: Any) -> None:
        """A heartbeat, `age` seconds ago; one that is 0 lasts. said: more of the worker's columns."""
        at = time.time() - age if age else time.time() + self.heard_seconds
        values = {"heartbeat_at": at, "cool_until": 0.0, **said}
        with self.store.write() as connection:
            connection.execute(update(workers).where(workers.c.key == signer.address).values(values))

    def ready_worker(
        self, number: int = 0, *, price: Money = PAY, name: str = "w1", slots: int = 1
    ) -> LocalSigner:
        """A registered worker with a live ask; 0 is the market fixture's own, others get a provider of
        their own."""
        market = self.market
        worker = development_signer(10 + number)
        provider = development_signer(4 + number)
        if number:
            client = market.client
            client.mint(market.admin, provider.address, Money.parse("20"))
            client.deposit(provider, Money.parse("20"))
            client.authorise(provider, worker.address, market.chain.time + 86_400)
        self.register(worker, provider.address, name, slots)
        ask = market.ask(worker, price=price, slots=slots)
        if number:
            own = type(ask.ask)(**{**_fields(ask.ask), "provider": provider.address})
            ask = SignedAsk(own, sign_typed(worker, own, market.client.domain))
        self.place(ask, worker)
        return worker

    def attempt_of(self, worker: LocalSigner) -> Any:
        with self.store.read() as connection:
            return (
                connection.execute(
                    select(attempts)
                    .where(attempts.c.worker == worker.address)
                    .order_by(attempts.c.created_at.desc())
                )
                .mappings()
                .first()
            )

    def report(
        self,
        worker: LocalSigner,
        *,
        status: int = 0,
        reason: Reason | None = None,
        attempt: str | None = None,
        outputs: OutputManifest = OUTPUTS,
    ) -> None:
        """The worker's report as the API stores it: success, or a refusal for any other status."""
        row = self.attempt_of(worker) if attempt is None else self.row(attempts, id=attempt)
        deal = self.row(deals, id=row["deal"], opening=row["opening"])
        if status == 0:
            root, done = merkle_root([leaf(0, 0, outputs.digest)]), 1
        else:
            root, done = refusal_root(deal["due"]), 0
        result = Result(Deal.from_json(deal["deal"]).id, root, done)
        signature = sign_typed(worker, result, self.market.client.domain)
        task = TaskReport(
            status=status,
            exit_code=0 if status == 0 else 1,
            seconds=0.1,
            outputs=outputs if status == 0 else OutputManifest(()),
            reason=reason,
        )
        report = LotReport(tasks=(task,), result=result, signature="0x" + signature.hex(), cage={})
        with self.store.write() as connection:
            attempt_reported(connection, row["id"], report)

    # --------------------------------------------------------------------------------------- what one sees

    def row(self, table: Any, **key: Any) -> Any:
        where = [table.c[name] == value for name, value in key.items()]
        with self.store.read() as connection:
            return connection.execute(select(table).where(*where)).mappings().one()

    def rows(self, table: Any, *order: Any) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(select(table).order_by(*order)).mappings().all())

    def job(self, job: str) -> Any:
        return self.row(jobs, id=job)

    def lot(self, job: str, lot: int = 0) -> Any:
        return self.row(lots, job=job, lot=lot)

    def outbox(self) -> list[Any]:
        return self.rows(outbox_table, outbox_table.c.id)

    def free(self, signer: LocalSigner) -> int:
        """What an account of the contract can spend now."""
        return self.client.account(signer.address).free.units


def _fields(ask: Any) -> dict[str, Any]:
    return {name: getattr(ask, name) for name in ask.__dataclass_fields__}
