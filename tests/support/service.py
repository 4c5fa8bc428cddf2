"""A service over a chain that a test sets as it likes. Keys, signatures, store, blobs and HTTP are real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher
from sqlalchemy import select

from marketplace.accounts.passwords import Passwords
from marketplace.api import create_app
from marketplace.chain import AccountView, ChainView
from marketplace.services import Services
from marketplace.settings import ServiceSettings
from marketplace.store import deals as chain_deals
from marketplace.store import openings
from marketplace.store.tables import jobs
from marketplace.store.transitions import lots_matched
from prixfixe.errors import Unavailable
from prixfixe.keys import LocalSigner, development_signer, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.deals import NO_BUNDLE, Deal, Due, Fact, Leg, refusal_root
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask, Purchase, Result, order_from_json
from prixfixe.protocol.outputs import OutputFile, OutputManifest, leaf, lot_root, merkle_root
from prixfixe.protocol.reports import LotReport, TaskReport
from prixfixe.protocol.signatures import message_digest
from prixfixe.protocol.siwe import SignIn
from prixfixe.protocol.typed_data import Domain, format_bytes32, parse_bytes32
from prixfixe.seeds import Seed, load_seed
from tests.support.stores import migrated_store

CHAIN_ID = 31337
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
DOMAIN = Domain(CHAIN_ID, CONTRACT)
HOST = "127.0.0.1:8600"
GRACE = 4
CHAIN_TIME = 1_900_000_000
DOLLAR = 1_000_000

ADMIN, PRICING, OPERATOR, CUSTOMER, PROVIDER, STRANGER = (development_signer(at) for at in range(6))
WORKER = development_signer(10)
SEED = load_seed("dev", chain_id=CHAIN_ID)

DEFINITION: dict[str, Any] = {
    "id": "echo",
    "version": "1.0.0",
    "title": "Echo",
    "summary": "Gives back what it was given.",
    "audience": "tests",
    "image": "sha256:" + "ab" * 32,
    "command": ["cat"],
    "parameters": {
        "type": "object",
        "additionalProperties": False,
        "required": ["word"],
        "properties": {
            "word": {"type": "string"},
            "times": {"type": "integer", "minimum": 1, "default": 1},
        },
    },
    "inputs": {"formats": ["csv"], "max_bytes": 1_000_000, "max_files": 2},
    "tiers": [
        {"name": "small", "unit": "rows", "up_to": 100, "price": "4.00", "max_cost": "3.00"},
        {"name": "large", "unit": "rows", "up_to": 10_000, "price": "9.00", "max_cost": "7.00"},
    ],
    "limits": {"milli_vcpu": 1000, "memory_mib": 512, "disk_mib": 256, "max_seconds": 120},
    "replicas": 1,
    "determinism": "exact",
    "disputable": True,
    "service_level": 600,
    "privacy": {"retention_days": 30},
    "proof": {"canonical": "out.csv", "control_totals": "totals.json"},
}


@dataclass
class FakeChain:
    """What `MarketReader` answers, set by the test."""

    time: int = CHAIN_TIME
    block: int = 7
    accounts: dict[str, AccountView] = field(default_factory=dict)
    offers: dict[bytes, int] = field(default_factory=dict)
    workers: dict[tuple[str, str], int] = field(default_factory=dict)
    pricing: set[str] = field(default_factory=lambda: {PRICING.address})
    fee_bps: int = 0
    silent: bool = False
    looks: int = 0

    def look(
        self,
        *,
        accounts: Sequence[str] = (),
        offers: Sequence[bytes] = (),
        workers: Sequence[tuple[str, str]] = (),
        fee: bool = False,
    ) -> ChainView:
        self.looks += 1
        if self.silent:
            raise Unavailable("the chain does not answer", code="chain-unavailable")
        nobody = AccountView(0, 0, 0)
        return ChainView(
            self.block,
            self.time,
            {each: self.accounts.get(each, nobody) for each in accounts},
            {each: self.offers.get(each, 0) for each in offers},
            {each: self.workers.get(each, 0) for each in workers},
            self.fee_bps if fee else 0,
        )

    def may_price(self, address: str) -> bool:
        return address in self.pricing


@dataclass
class Clock:
    """The service's clock; moves when the test says so."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


@cache
def quick_passwords() -> Passwords:
    """Hashed at next to no cost."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


class InProcess(httpx.BaseTransport):
    """The app without a socket, for tests that need no stream. One event loop for all requests."""

    def __init__(self, app: Any) -> None:
        self._asgi = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._runner = asyncio.Runner()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        whole = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())

        async def exchange() -> httpx.Response:
            answer = await self._asgi.handle_async_request(whole)
            # As it was sent, packed or not.
            content = b"".join([piece async for piece in answer.aiter_raw()])
            return httpx.Response(answer.status_code, headers=answer.headers, content=content)

        return self._runner.run(exchange())

    def close(self) -> None:
        self._runner.close()


class World:
    """A running service with what tests do all the time."""

    def __init__(self, folder: Path, *, seed: Seed | None = SEED, **settings_: Any) -> None:
        self.clock = Clock()
        self.chain = FakeChain()
        self.chain.accounts[CUSTOMER.address] = AccountView(100 * DOLLAR, 0, 3)
        self.chain.accounts[PROVIDER.address] = AccountView(5 * DOLLAR, 0, 1)
        self.chain.workers[(PROVIDER.address, WORKER.address)] = CHAIN_TIME + 10**6
        chosen = {"max_blob_bytes": 3_000_000, "max_log_bytes": 1000, **settings_}
        settings = ServiceSettings(data=folder, domain=HOST, **chosen)
        self.store = migrated_store(settings.data / "prixfixe.db")
        self.services = Services.build(
            settings,
            MARKET,
            self.store,
            self.chain,
            OPERATOR,
            self.clock,
            seed=seed,
            passwords=quick_passwords(),
        )
        self.app = create_app(self.services)
        self.http = httpx.Client(transport=InProcess(self.app), base_url=f"http://{HOST}")
        self._tokens: dict[str, dict[str, str]] = {}
        self.in_hand: Callable[[], int] = lambda: 0  # requests that a port has taken and not ended

    def close(self) -> None:
        self.http.close()
        self.store.close()

    def sign_in(self, signer: LocalSigner) -> dict[str, str]:
        """The header of a session."""
        if signer.address not in self._tokens:
            nonce = self.http.get("/v1/sessions/nonce").json()
            text = SignIn.now(
                nonce["domain"], signer.address, f"http://{nonce['domain']}", CHAIN_ID, nonce["nonce"]
            ).compose()
            signature = signer.sign_digest(message_digest(text))
            answer = self.http.post(
                "/v1/sessions", json={"message": text, "signature": "0x" + signature.hex()}
            )
            assert answer.status_code == 200, answer.text
            self._tokens[signer.address] = {"Authorization": f"Bearer {answer.json()['token']}"}
        return self._tokens[signer.address]

    def upload(self, signer: LocalSigner, content: bytes) -> str:
        """Put a blob; its name."""
        name = sha256_hex(content)
        answer = self.http.put(f"/v1/blobs/{name}", content=content, headers=self.sign_in(signer))
        assert answer.status_code in (200, 201), answer.text
        return name

    def publish(self, **changes: Any) -> wire.BundleListing:
        """The echo bundle, its offers live for a long time."""
        definition = BundleDefinition.model_validate({**DEFINITION, **changes})
        for _, _, offer in definition.offers():
            self.chain.offers[offer.id] = CHAIN_TIME + 10**6
        body = {"definition": definition.to_json(), "image_archive": self.upload(PRICING, b"an image")}
        answer = self.http.post("/v1/bundles", json=body, headers=self.sign_in(PRICING))
        assert answer.status_code == 201, answer.text
        return wire.BundleListing.model_validate(answer.json())

    def quote_request(self, content: bytes = b"a,b\n", **changes: Any) -> dict[str, Any]:
        """The body that asks what a job of the echo bundle costs."""
        body = {
            "customer": CUSTOMER.address,
            "bundle": "echo",
            "parameters": {"word": "hello"},
            "inputs": [{"name": "table.csv", "sha256": sha256_hex(content), "size": len(content)}],
            "units": 50,
        }
        return {**body, **changes}

    def ask_quote(self, content: bytes = b"a,b\n", **changes: Any) -> httpx.Response:
        return self.http.post("/v1/quotes", json=self.quote_request(content, **changes))

    def quote(self, content: bytes = b"a,b\n", **changes: Any) -> wire.Quote:
        answer = self.ask_quote(content, **changes)
        assert answer.status_code == 200, answer.text
        return wire.Quote.model_validate(answer.json())

    def order(
        self, quote: wire.Quote, signer: LocalSigner = CUSTOMER, nonce: int = 1, **changes: Any
    ) -> dict[str, Any]:
        """A signed order for a quote, as JSON; `changes` are made before it is signed."""
        fields: dict[str, Any] = {
            "customer": quote.customer,
            "bundle": parse_bytes32(quote.offer_id),
            "price": quote.price.units,
            "tasks": quote.tasks,
            "lot": quote.lot,
            "job": parse_bytes32(quote.job),
            "expiry": quote.order_expiry,
            "deliver_by": quote.deliver_by,
            "era": quote.era,
            "nonce": nonce,
        }
        purchase = Purchase(**{**fields, **changes})
        signature = sign_typed(signer, purchase, DOMAIN)
        return {"quote": quote.id, "order": purchase.to_json(), "signature": "0x" + signature.hex()}

    def post_order(self, order: dict[str, Any], **headers: str) -> httpx.Response:
        return self.http.post("/v1/jobs", json=order, headers=headers)

    def placed(self, content: bytes = b"a,b\n", nonce: int = 1) -> wire.Job:
        """A job, queued."""
        self.upload(CUSTOMER, content)
        answer = self.post_order(self.order(self.quote(content), nonce=nonce))
        assert answer.status_code == 201, answer.text
        return wire.Job.model_validate(answer.json())

    def register(self, **changes: Any) -> httpx.Response:
        body = {
            "provider": PROVIDER.address,
            "name": "w1",
            "resources": {"milli_vcpu": 2000, "memory_mib": 4096, "disk_mib": 8192, "slots": 2},
            "version": "0.1.0",
        }
        return self.http.post("/v1/workers", json={**body, **changes}, headers=self.sign_in(WORKER))

    def ask(self, signer: LocalSigner = WORKER, **changes: Any) -> wire.SignedAsk:
        """A signed ask for the echo bundle's product."""
        product = BundleDefinition.model_validate(DEFINITION).limits.product.to_bytes()
        fields: dict[str, Any] = {
            "provider": PROVIDER.address,
            "product": product,
            "price": DOLLAR,
            "slots": 1,
            "kinds": 2,
            "customer": ZERO_ADDRESS,
            "matcher": CONTRACT,
            "expiry": CHAIN_TIME + 60,
            "era": 1,
        }
        ask = Ask(**{**fields, **changes})
        return wire.SignedAsk(ask=ask, signature="0x" + sign_typed(signer, ask, DOMAIN).hex())

    def beat(
        self, asks: Sequence[wire.SignedAsk] = (), running: Sequence[str] = (), draining: bool = False
    ) -> httpx.Response:
        body = wire.Heartbeat(asks=tuple(asks), running=tuple(running), draining=draining)
        return self.http.post(
            "/v1/workers/heartbeat", json=body.model_dump(mode="json"), headers=self.sign_in(WORKER)
        )

    def open_deal(
        self,
        job: str,
        deadline: int = CHAIN_TIME + 124,
        *,
        people: Sequence[tuple[str, str]] = ((PROVIDER.address, WORKER.address),),
        quorum: int = 1,
        lot: int = 0,
    ) -> Deal:
        """What matcher, relayer and indexer do: the lot is matched with the worker's ask and its deal
        opens. job: its id. people: provider and key of each leg."""
        with self.store.read() as connection:
            row = connection.execute(select(jobs.c.order).where(jobs.c.id == job)).scalar_one()
        order = order_from_json(row)
        bundle = order.bundle if isinstance(order, Purchase) else NO_BUNDLE
        deal = Deal(
            order=order.digest(DOMAIN),
            customer=order.customer,
            bundle=bundle,
            lot=lot,
            count=order.lot_size(lot),
            quorum=quorum,
            disputable=bundle != NO_BUNDLE,
            price=order.price,
            fee=0,
            legs=tuple(Leg(provider, key, DOLLAR) for provider, key in people),
        )
        with self.store.write() as connection:
            lots_matched(connection, {(job, lot): [self.ask().model_dump(mode="json")]})
            openings.deals_opened(
                connection, [openings.Opened(deal, Due(deadline).pack(), where(1 + 2 * lot))]
            )
        return deal

    def assignment(self) -> wire.Assignment:
        answer = self.http.get("/v1/assignments", headers=self.sign_in(WORKER))
        assert answer.status_code == 200, answer.text
        return wire.Assignment.model_validate(answer.json())

    def worker_post(self, path: str, body: Any = None) -> httpx.Response:
        return self.http.post(f"/v1/attempts/{path}", json=body, headers=self.sign_in(WORKER))

    def running(self, job: wire.Job) -> wire.Assignment:
        """The job's assignment, registered, opened and started."""
        assert self.register().status_code == 200
        self.open_deal(job.id)
        assignment = self.assignment()
        assert self.worker_post(f"{assignment.attempt}/start").status_code == 204
        return assignment


def success(deal: Deal, outputs: OutputManifest, signer: LocalSigner = WORKER) -> LotReport:
    """The signed report of a task that succeeded."""
    result = Result(deal.id, merkle_root([leaf(0, 0, outputs.digest)]), 1)
    return _report(0, outputs, result, signer, None)


def refusal(deal: Deal, due: int, status: int = 5, signer: LocalSigner = WORKER) -> LotReport:
    """The signed report of a task that failed by its customer's mistake."""
    reason = wire.Reason(code="no-column", message="there is no column 'x'", fault="customer")
    return _report(status, OutputManifest(), Result(deal.id, refusal_root(due), 0), signer, reason)


def _report(
    status: int,
    outputs: OutputManifest,
    result: Result,
    signer: LocalSigner,
    reason: wire.Reason | None,
) -> LotReport:
    exit_code = 0 if status == 0 else 65
    task = TaskReport(status=status, exit_code=exit_code, seconds=1.5, outputs=outputs, reason=reason)
    return LotReport(
        tasks=(task,),
        result=result,
        signature="0x" + sign_typed(signer, result, DOMAIN).hex(),
        cage={"runtime": "runc"},
    )


def lot_report(
    deal: Deal, tasks: Sequence[tuple[int, OutputManifest]], signer: LocalSigner = WORKER
) -> LotReport:
    """The signed report of a lot of which each task ended with this status and these outputs."""
    done = sum(deal.pays_for(status) for status, _ in tasks)
    root = lot_root((status, outputs.digest) for status, outputs in tasks)
    result = Result(deal.id, root, done)
    failed = wire.Reason(code="exited-non-zero", message="it ended with exit code 3", fault="customer")
    return LotReport(
        tasks=tuple(
            TaskReport(
                status=status,
                exit_code=0 if status == 0 else 3,
                seconds=1.0,
                outputs=outputs,
                reason=None if status == 0 else failed,
            )
            for status, outputs in tasks
        ),
        result=result,
        signature="0x" + sign_typed(signer, result, DOMAIN).hex(),
    )


def manifest_of(**files: bytes) -> OutputManifest:
    return OutputManifest.of(
        OutputFile(name.replace("_", "."), sha256_hex(content), len(content))
        for name, content in files.items()
    )


def where(block: int) -> dict[str, Any]:
    """A place on the chain."""
    return {"transaction": "0x" + f"{block:064x}", "block": block, "log_index": 0, "time": CHAIN_TIME + block}


def settle_on_chain(world: World, deal: Deal, report: LotReport) -> None:
    """What the indexer does at `Settled`."""
    with world.store.write() as connection:
        chain_deals.deals_settled(
            connection,
            [
                chain_deals.Settled(
                    format_bytes32(deal.id),
                    root=format_bytes32(report.result.root),
                    done=(done := report.result.done),
                    paid=DOLLAR * done,
                    returned=deal.given_back(done, 1).units,
                    fact=Fact(done, 1, (place := where(2 + 2 * deal.lot))["time"]).pack(),
                    signatures=[report.signature],
                    where=place,
                )
            ],
        )


def refuse_on_chain(world: World, deal: Deal, report: LotReport) -> None:
    """What the indexer does at `Refused`."""
    with world.store.write() as connection:
        chain_deals.deal_refused(
            connection,
            format_bytes32(deal.id),
            returned=deal.price,
            signatures=[report.signature],
            where=where(2),
        )


MARKET = wire.Market(
    name="test",
    version="0.1.0",
    chain_id=CHAIN_ID,
    contract=CONTRACT,
    token=ADMIN.address,
    token_symbol="USD",
    token_decimals=6,
    operator=OPERATOR.address,
    policy=wire.PolicyNumbers(
        window=600,
        grace=GRACE,
        notice=60,
        surety=Money(5 * DOLLAR),
        bond=Money(5 * DOLLAR),
        max_fee_bps=1000,
        arbiter=ADMIN.address,
    ),
    max_blob_bytes=3_000_000,
    heartbeat_seconds=1.0,
)
