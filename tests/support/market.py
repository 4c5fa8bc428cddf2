"""A market on a local chain, with the people that tests need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from prixfixe.chain.client import MarketClient
from prixfixe.chain.deployment import Deployment, deploy
from prixfixe.chain.events import DealOpened, Settled
from prixfixe.chain.parameters import Policy, Roles
from prixfixe.chain.rpc import Rpc
from prixfixe.devnet.anvil import LocalChain
from prixfixe.keys import LocalSigner, development_signer, sign_typed
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.canonical import canonical_digest
from prixfixe.protocol.deals import Offer
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import KIND_BOTH, Ask, Bid, Order, Purchase, Result, SignedAsk
from prixfixe.protocol.product import Product
from prixfixe.testing.chain import MemoryChain

PRICE = Money.parse("2.00")
PAY = Money.parse("1.20")
PRODUCT = Product.parse("cpu-2x4/10m")
OFFER = Offer(
    product=PRODUCT.to_bytes(),
    application=b"\x07" * 32,
    price=PRICE.units,
    max_cost=PRICE.units,
    quorum=1,
    disputable=False,
)
# The same, but what it pays waits and can be taken back; a test that needs it publishes it.
DISPUTABLE = replace(OFFER, application=b"\x08" * 32, disputable=True)


def manifest_of(tasks: int) -> dict[str, Any]:
    """As little of a job as these markets' orders need."""
    return {"image": f"sha256:{'0' * 64}", "tasks": tasks, "inputs": []}


@dataclass(frozen=True)
class LocalMarket:
    """A deployed market. Accounts by index: 0 admin, 1 pricing, 2 scheduler, 3 customer, 4 provider, 10
    worker key, 9 stranger."""

    chain: LocalChain | MemoryChain
    deployment: Deployment

    def node(self) -> Rpc | str:
        """What another process would connect to: the node's address, or a chain that has none."""
        return self.chain if isinstance(self.chain, MemoryChain) else self.chain.url

    @cached_property
    def client(self) -> MarketClient:
        return self.deployment.client(self.chain.rpc)

    admin, pricing, scheduler, customer, provider, stranger, worker = (
        development_signer(index) for index in (0, 1, 2, 3, 4, 9, 10)
    )

    def purchase(
        self, *, tasks: int = 1, lot: int = 1, nonce: int = 1, era: int = 0, offer: Offer = OFFER
    ) -> Purchase:
        """An order of the customer for an offer, live for an hour."""
        now = self.chain.time
        return Purchase(
            customer=self.customer.address,
            bundle=offer.id,
            price=offer.price,
            tasks=tasks,
            lot=lot,
            job=canonical_digest(manifest_of(tasks)),
            expiry=now + 3600,
            deliver_by=now + 7200,
            era=era,
            nonce=nonce,
        )

    def ask(self, signer: LocalSigner | None = None, *, price: Money = PAY, slots: int = 1) -> SignedAsk:
        """The provider's ask, signed by its worker key unless another signer is given."""
        ask = Ask(
            provider=self.provider.address,
            product=OFFER.product,
            price=price.units,
            slots=slots,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=self.deployment.market,
            expiry=self.chain.time + 300,
            era=0,
        )
        return SignedAsk(ask, sign_typed(signer or self.worker, ask, self.client.domain))

    def bid(self, *, price: Money = PRICE, nonce: int = 1, **changes: Any) -> Bid:
        """A bid of the customer for the same product, live for an hour."""
        now = self.chain.time
        fields: dict[str, Any] = {
            "customer": self.customer.address,
            "product": OFFER.product,
            "price": price.units,
            "tasks": 1,
            "lot": 1,
            "quorum": 1,
            "job": canonical_digest(manifest_of(changes.get("tasks", 1))),
            "matcher": self.deployment.market,
            "expiry": now + 3600,
            "deliver_by": now + 7200,
            "era": 0,
            "nonce": nonce,
        }
        return Bid(**fields | changes)

    def sign(self, order: Order, signer: LocalSigner | None = None) -> bytes:
        return sign_typed(signer or self.customer, order, self.client.domain)

    def settled(self, root: bytes) -> tuple[DealOpened, Settled]:
        """A deal of DISPUTABLE, published, matched and paid now with this root for its one task."""
        client = self.client
        client.publish(self.pricing, DISPUTABLE, self.chain.time + 86_400, Money(0))
        order = self.purchase(offer=DISPUTABLE)
        matched = client.match_purchase(self.scheduler, order, self.sign(order), DISPUTABLE, 0, [self.ask()])
        opened = matched.one(DealOpened)
        signature = sign_typed(self.worker, Result(opened.deal, root, 1), client.domain)
        ended = client.settle(self.stranger, opened.data, opened.due, root, 1, [signature])
        return opened, ended.one(Settled)


POLICY = Policy(
    window=600,
    grace=4,
    notice=60,
    surety=Money.parse("5").units,
    bond=Money.parse("5").units,
    arbiter_fee=Money.parse("1").units,
    max_fee_bps=1000,
    arbiter=LocalMarket.admin.address,
    deposit_cap=Money.parse("1000000").units,
)
ROLES = Roles(
    admin=LocalMarket.admin.address,
    pricing=LocalMarket.pricing.address,
    scheduler=LocalMarket.scheduler.address,
    pauser=LocalMarket.admin.address,
)


def deploy_local_market(chain: LocalChain) -> LocalMarket:
    """Deploys, funds customer and provider, authorises the worker key and publishes OFFER."""
    return _furnished(LocalMarket(chain, deploy(chain.rpc, LocalMarket.admin, POLICY, ROLES)))


def memory_market(time: int) -> LocalMarket:
    """The same market on a chain in memory, which begins at `time`."""
    chain = MemoryChain(POLICY, ROLES, time=time)
    return _furnished(LocalMarket(chain, chain.deployment))


def _furnished(market: LocalMarket) -> LocalMarket:
    client = market.client
    for signer, amount in ((market.customer, "100"), (market.provider, "20")):
        client.mint(market.admin, signer.address, Money.parse(amount))
        client.deposit(signer, Money.parse(amount))
    client.authorise(market.provider, market.worker.address, market.chain.time + 86_400)
    client.publish(market.pricing, OFFER, market.chain.time + 86_400, Money(0))
    return market
