"""A whole market in the process of a test: order a job and get its results, with no Docker, no node and no
service to start.

    from prixfixe.testing import Market, Task

    def double(task: Task) -> dict[str, bytes]:
        return {"doubled.txt": task.inputs["number.txt"] * 2}

    with Market(double) as market:
        job = market.client.wait(market.client.submit(Wish(IMAGE, inputs=["number.txt"])))
        market.client.download(job, "results/")

The client, the API, the store and the duties are the real ones; the chain is `MemoryChain`, and the one
worker calls a function of the test's instead of a container. It needs the extra `service`."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from prixfixe.chain.client import MarketClient
from prixfixe.chain.parameters import Policy, Roles
from prixfixe.client import Client
from prixfixe.client.contexts import Context
from prixfixe.errors import ConfigurationError
from prixfixe.keys import LocalSigner, development_signer
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.money import Money
from prixfixe.testing.chain import CHAIN_ID, MARKET, MemoryChain
from prixfixe.testing.work import Run, echo

ADMIN, PRICING, OPERATOR, CUSTOMER, PROVIDER, WORKER = (development_signer(at) for at in (0, 1, 2, 3, 4, 10))
IMAGE: Final = "registry.test/any@sha256:" + "1" * 64
"""The name of an image, for orders whose image is never looked at."""

_SERVICE: Final = "scheduler.rehearsal"
_YEAR: Final = 365 * 86_400


class Rehearsal(Protocol):
    """The service and its worker, as `scheduler.rehearsal` makes them."""

    url: str

    def publish(self, definition: BundleDefinition, publisher: str, archive: bytes) -> None: ...

    def close(self) -> None: ...


class Market:
    """A running market with one customer, who has money, and one worker. Use it as a context.

    run: what a task does, for its output files by name; called in a thread. ask: what the worker asks for a
    task of any product. client: the customer's. chain: the test's hand on time and blocks.
    """

    def __init__(
        self, run: Run = echo, *, money: Money | None = None, ask: Money | None = None, seconds: float = 60.0
    ) -> None:
        """money: the customer's, $1000 by default. seconds: how long a wait may take before it fails."""
        self._run = run
        self._ask = ask or Money.parse("0.10")
        self.chain = MemoryChain(POLICY, ROLES, time=int(time.time()))
        self.contract: MarketClient = self.chain.client()
        self._fund(CUSTOMER, money or Money.parse("1000"))
        self._fund(PROVIDER, Money.parse("100"))
        self.contract.authorise(PROVIDER, WORKER.address, self.chain.time + _YEAR)
        self._seconds = seconds

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="prixfixe-market-")
        self.folder = Path(self._folder.name)
        self._rehearsal = _rehearsal(self.chain, self.folder / "data", self._run, self._ask)
        self.url = self._rehearsal.url
        self.client = self.client_of(CUSTOMER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self._rehearsal.close()
        self._folder.cleanup()

    def client_of(self, signer: LocalSigner) -> Client:
        """A client of somebody's; the caller closes it. Whoever orders needs money in an account."""
        context = Context("test", service=self.url, chain_id=CHAIN_ID, contract=MARKET)
        return Client(context, signer=signer)

    def publish(self, definition: BundleDefinition | Mapping[str, Any], image: bytes = b"an image") -> None:
        """Offers a bundle. definition: as `bundle.toml` says it, with its image's digest filled in. image:
        what stands for the archive, which nobody looks into."""
        if not isinstance(definition, BundleDefinition):
            definition = BundleDefinition.model_validate(definition)
        for _, _, offer in definition.offers():
            self.contract.publish(PRICING, offer, self.chain.time + _YEAR, Money(0))
        self._rehearsal.publish(definition, PRICING.address, image)

    def free(self, signer: LocalSigner = CUSTOMER) -> Money:
        """What somebody's account can spend."""
        return self.contract.account(signer.address).free

    def _fund(self, signer: LocalSigner, amount: Money) -> None:
        self.contract.mint(ADMIN, signer.address, amount)
        self.contract.deposit(signer, amount)


POLICY: Final = Policy(
    window=600,
    grace=30,
    notice=60,
    surety=Money.parse("5").units,
    bond=Money.parse("5").units,
    arbiter_fee=Money.parse("1").units,
    max_fee_bps=1000,
    arbiter=ADMIN.address,
    deposit_cap=Money.parse("1000000").units,
)
ROLES: Final = Roles(
    admin=ADMIN.address, pricing=PRICING.address, scheduler=OPERATOR.address, pauser=ADMIN.address
)


def _rehearsal(chain: MemoryChain, data: Path, run: Run, ask: Money) -> Rehearsal:
    rehearsal: Rehearsal = service_module(_SERVICE).Rehearsal(chain, data, run, ask)
    return rehearsal


def service_module(name: str) -> Any:
    """A module of the service in this process. It rests on this package and not the other way round, so it is
    found by its name. ConfigurationError when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"a market in memory needs the service, which is not installed ({error.name} is missing)",
            code="no-service",
            hint="install prixfixe[service]",
        ) from error
