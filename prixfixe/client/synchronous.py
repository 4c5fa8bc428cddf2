"""`Client`: the market from ordinary, blocking Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

from prixfixe.client.calls import Answer, Call, Download, Operation, Part, Pause, Progress, Request, Upload
from prixfixe.client.contexts import Context
from prixfixe.client.dispute import Verdict
from prixfixe.client.events import EventParser
from prixfixe.client.files import IncomingFile, body_of
from prixfixe.client.keeping import KeptOrder
from prixfixe.client.refund import Returned
from prixfixe.client.setup import (
    EVENTS_READ_SECONDS,
    RECONNECT_SECONDS,
    SILENCE_SECONDS,
    event_headers,
    http_options,
    id_of,
    lost,
    make_operations,
    request_options,
)
from prixfixe.client.wishes import TaskResult, Wish, require_within, write_results
from prixfixe.errors import PrixfixeError, Unavailable
from prixfixe.keys import Signer
from prixfixe.protocol import wire
from prixfixe.protocol.book import (
    AuctionTerms,
    BatchSummary,
    Book,
    Cancelled,
    OwnOrder,
    ProductListing,
    TermsChange,
)
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.money import Money
from prixfixe.protocol.prices import PriceIndex, Trade
from prixfixe.protocol.product import Product
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.reputation import Reputation
from prixfixe.protocol.secrets import Seal

if TYPE_CHECKING:
    from prixfixe.protocol import accounts

T = TypeVar("T")


class Client:
    """A customer of one market.

        with Client() as client:                       # the current context and its key
            quote = client.quote("pivot", parameters=..., inputs=["sales.csv"], units=1000)
            job = client.wait(client.buy(quote))
            client.download(job, "results/")

    context: a Context, the name of one, or None for the current one. signer: who signs; by default the
    context's key. api_key: of a managed account, for which the service signs; also in PRIXFIXE_API_KEY.
    Errors are those of `prixfixe.errors`."""

    def __init__(
        self,
        context: Context | str | None = None,
        *,
        signer: Signer | Callable[[], Signer] | None = None,
        api_key: str | None = None,
        keep_sessions: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.operations = make_operations(context, signer, keep_sessions=keep_sessions, api_key=api_key)
        self._http = httpx.Client(transport=transport, **http_options(self.context))

    @classmethod
    def from_context(cls, name: str | None = None) -> Self:
        """A client of a named context, or of the current one."""
        return cls(name)

    @property
    def context(self) -> Context:
        return self.operations.context

    @property
    def address(self) -> str:
        """The customer's address; opens the key when the context does not tell it."""
        return self.run(self.operations.address())

    def market(self) -> wire.Market:
        """The market's numbers and addresses; refused when they are not the context's."""
        return self.run(self.operations.market())

    def health(self) -> dict[str, Any]:
        """What the service says of its own state."""
        return self.run(self.operations.health())

    def bundles(self) -> tuple[wire.BundleListing, ...]:
        """Everything on offer."""
        return self.run(self.operations.bundles())

    def bundle(self, name: str, version: str | None = None) -> wire.BundleListing:
        """One bundle; its newest version when none is named."""
        return self.run(self.operations.bundle(name, version))

    def account(self) -> accounts.Account:
        """The managed account of an API key: its balance and limits."""
        return self.run(self.operations.account())

    def statement(self, since: int | None = None, until: int | None = None) -> accounts.Statement:
        """Every movement of a managed account on the chain, between these seconds of its clock."""
        return self.run(self.operations.statement(since, until))

    def quote(
        self,
        bundle: str | wire.BundleListing,
        *,
        parameters: Mapping[str, Any],
        inputs: Sequence[InputFile | Path | str],
        units: int,
        version: str | None = None,
        replicas: int | None = None,
    ) -> wire.Quote:
        """A signed price. bundle: its name, or its listing, which is not asked for again. units: what
        preflight counted, in the bundle's unit. replicas: how many providers run it, of the numbers that the
        bundle sells; its usual one when None."""
        return self.run(
            self.operations.quote(
                bundle,
                parameters=parameters,
                inputs=inputs,
                units=units,
                version=version,
                replicas=replicas,
            )
        )

    def quote_wish(self, wish: Wish) -> wire.BidQuote:
        """A signed price for tasks of any image: the most that it costs, and what it would cost now."""
        return self.run(self.operations.quote_wish(wish))

    def submit(self, wish: Wish, *, budget: Money | None = None) -> wire.Job:
        """Order tasks of any image: quote, upload, sign, send. budget: the most for the whole order;
        InsufficientFunds, and nothing is sent, when it is quoted at more."""
        quote = self.quote_wish(wish)
        require_within(budget, quote.total)
        return self.buy(quote)

    def map(
        self,
        wish: Wish,
        rows: Sequence[Mapping[str, Any]],
        folder: Path | str,
        *,
        budget: Money | None = None,
    ) -> tuple[TaskResult, ...]:
        """Run a wish once for each row of parameters, wait, and fetch the outputs into `folder`, a folder a
        task. Tasks that failed are told, and were not paid; the receipt lies beside as `receipt.json`."""
        job = self.submit(replace(wish, matrix=rows), budget=budget)
        self.wait(job)
        receipt = self.receipt(job)
        place = Path(folder)
        self.download(job, place)
        return write_results(receipt, place)

    def again(
        self,
        job: str | wire.Job,
        *,
        price: Money | None = None,
        budget: Money | None = None,
        renumber: bool = False,
    ) -> tuple[wire.Job, tuple[int, ...]]:
        """Order what an ended bid has left undone: the new job, and the old indexes of its tasks. renumber:
        allow it without a matrix, where indexes begin at 0 again. price, budget: as for a wish."""
        rest = self.run(self.operations.quote_rest(id_of(job), price=price, renumber=renumber))
        require_within(budget, rest.quote.total)
        return self.buy(rest.quote), rest.tasks

    def upload(
        self, source: Path, expected: InputFile | None = None, *, progress: Progress | None = None
    ) -> str:
        """Send a file unless the service has it; its SHA-256."""
        return self.run(self.operations.upload(source, expected, progress))

    def order(self, quote: wire.Quote | wire.BidQuote, **where: str | None) -> KeptOrder:
        """Sign the order and keep it on this machine; `buy` sends it."""
        return self.run(self.operations.order(quote, **where))

    def buy(self, order: KeptOrder | wire.Quote | wire.BidQuote) -> wire.Job:
        """Buy. A quote's inputs are sent and it is signed first. A signed order may be sent often: it is one
        job."""
        return self.run(self.operations.buy(order))

    def buy_many(
        self, orders: Sequence[KeptOrder | wire.Quote | wire.BidQuote]
    ) -> tuple[wire.Job | PrixfixeError, ...]:
        """Buy many at once, a hundred a request; each becomes a job or an error of its own, in their order.
        Of quotes inputs are sent and orders signed first. What is sent again is one job, as with `buy`."""
        return self.run(self.operations.buy_many(orders))

    def replace(
        self,
        job: str | wire.Job,
        *,
        price: Money | None = None,
        budget: Money | None = None,
        wait_seconds: int = 600,
        deliver_seconds: int | None = None,
    ) -> wire.Job:
        """Put a new bid for the same tasks in the place of one that waits: the new job. Refused, the old
        one stays; Conflict once it was matched. The old signature ends on the chain only when its lots are
        closed there, or at its time. price, budget: as for a wish."""
        old = id_of(job)
        quote = self.run(
            self.operations.quote_replacement(
                old, price=price, wait_seconds=wait_seconds, deliver_seconds=deliver_seconds
            )
        )
        require_within(budget, quote.total)
        return self.buy(self.order(quote, replaces=old))

    def job(self, job: str | wire.Job) -> wire.Job:
        return self.run(self.operations.job(id_of(job)))

    def jobs(self, limit: int | None = None) -> tuple[wire.Job, ...]:
        """The customer's jobs, newest first."""
        return self.run(self.operations.jobs(limit))

    def log(self, job: str | wire.Job, *, task: int | None = None) -> str:
        """What the job has printed. task: of this one only."""
        return self.run(self.operations.log(id_of(job), task))

    def cancel(self, job: str | wire.Job) -> wire.Job:
        """Take back whatever of a job no worker has started: its money is free at once; what is started goes
        on. Conflict when nothing can be taken back."""
        return self.run(self.operations.cancel(id_of(job)))

    def seals(self, job: str | wire.Job) -> tuple[Seal, ...]:
        """Attempts that run now and to whom the job's secrets are to be sealed: check them first, as
        `prixfixe.client.sealing` does."""
        return self.run(self.operations.seals(id_of(job)))

    def give_seal(self, job: str | wire.Job, attempt: str, sealed: str) -> None:
        """Hand in secrets that were sealed to the worker of an attempt."""
        self.run(self.operations.give_seal(id_of(job), attempt, sealed))

    def receipt(self, job: str | wire.Job) -> Receipt:
        return self.run(self.operations.receipt(id_of(job)))

    def deletions(self, job: str | wire.Job) -> wire.Deletions:
        """What the market deleted of a job by its policy, signed by the operator."""
        return self.run(self.operations.deletions(id_of(job)))

    def forget(self, job: str | wire.Job) -> wire.Forgotten:
        """Have the market delete inputs, outputs and logs of a job that is over, before their time: for good.
        What other orders name stays, and is named. Conflict while its results can be disputed
        (`window-open` says until when in `until`)."""
        return self.run(self.operations.forget(id_of(job)))

    def outputs(self, job: str | wire.Job, *, task: int | None = None) -> tuple[wire.OutputFileInfo, ...]:
        """Every output file; of a job of several tasks as `<index>/<path>`. task: of this one only."""
        return self.run(self.operations.outputs(id_of(job), task))

    def download(
        self,
        job: str | wire.Job,
        folder: Path | str,
        *,
        task: int | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> tuple[Path, ...]:
        """Fetch every output into a folder; each file appears whole and checked, or not at all. What is there
        already is not fetched again. task: only this one's, into a folder named by its index."""
        operation = self.operations.download(
            id_of(job), Path(folder), task=task, overwrite=overwrite, progress=progress
        )
        return self.run(operation)

    def download_file(
        self,
        job: str | wire.Job,
        path: str,
        target: Path | str,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Path:
        """Fetch one output to a file of your choice."""
        operation = self.operations.download_file(
            id_of(job),
            path,
            Path(target),
            known=() if isinstance(job, str) else job.outputs,
            overwrite=overwrite,
            progress=progress,
        )
        return self.run(operation)

    def refund(self, job: str | wire.Job) -> tuple[Returned, ...]:
        """Send back what is late of a job, over the context's chain node, when the service does not."""
        return self.run(self.operations.refund(id_of(job)))

    def challenge(
        self,
        job: str | wire.Job,
        *,
        task: int = 0,
        ground: str = "wrong",
        receipt: Receipt | None = None,
    ) -> Verdict:
        """Dispute a task's result for a bond, and wait for the arbiter. ground: wrong, missing or count."""
        operation = self.operations.challenge(id_of(job), task=task, ground=ground, receipt=receipt)
        return self.run(operation)

    def trades(self, product: Product | str | None = None, limit: int | None = None) -> tuple[Trade, ...]:
        """What providers were paid for settled lots, newest first; of one product, or of all."""
        return self.run(self.operations.trades(product, limit))

    def index(self, product: Product | str) -> PriceIndex:
        """The price index of a product, such as `cpu-2x4/10m`."""
        return self.run(self.operations.index(product))

    def indexes(self) -> tuple[PriceIndex, ...]:
        """The price index of every product."""
        return self.run(self.operations.indexes())

    def reputation(self, provider: str | None = None) -> Reputation:
        """What the deals of the last thirty days say of a provider, or of all, the best first."""
        return self.run(self.operations.reputation(provider))

    def book(self, product: Product | str, levels: int = 50) -> Book:
        """The live order book of a product, best prices first."""
        return self.run(self.operations.book(product, levels))

    def batches(self, product: Product | str | None = None, limit: int = 50) -> tuple[BatchSummary, ...]:
        """The auction's published batches, newest first; of one product, or of all."""
        return self.run(self.operations.batches(product, limit))

    def batch_digest(self, product: Product | str, number: int) -> str:
        """The digest of a product's batch by its number."""
        return self.run(self.operations.numbered(product, number))

    def publication(self, digest: str) -> bytes:
        """The publication of a batch, checked against its digest; `prixfixe.market.batch.Batch` reads it."""
        return self.run(self.operations.publication(digest))

    def own_orders(self) -> tuple[OwnOrder, ...]:
        """The caller's resting bids and asks, and why each waits."""
        return self.run(self.operations.own_orders())

    def cancel_order(self, order: str) -> Cancelled:
        """Take a resting bid or ask off the book, at once."""
        return self.run(self.operations.cancel_order(order))

    def products(self) -> tuple[ProductListing, ...]:
        """Every product of the market, with the terms of its auction."""
        return self.run(self.operations.products())

    def terms(self, product: Product | str) -> AuctionTerms:
        """The terms of a product's auction."""
        return (self.run(self.operations.book(product, 1))).terms

    def change_terms(self, product: Product | str, change: TermsChange) -> ProductListing:
        """Other terms for the auction of a product. For the contract's pricing role."""
        return self.run(self.operations.change_terms(product, change))

    def publish_bundle(self, publication: wire.BundlePublication) -> wire.BundleListing:
        return self.run(self.operations.publish_bundle(publication))

    def retire_bundle(self, name: str, version: str | None = None) -> wire.BundleListing:
        return self.run(self.operations.retire_bundle(name, version))

    def events(self, job: str | wire.Job, after: int = 0) -> Iterator[wire.JobEvent]:
        """The job's events from number `after` + 1 to its end, across lost connections.

        Unavailable when the service stays silent for `SILENCE_SECONDS`.
        """
        parser = EventParser(after)
        heard = time.monotonic()
        while True:
            header = self.run(self.operations.authorization())
            try:
                with self._http.stream(
                    "GET",
                    f"/v1/jobs/{id_of(job)}/events",
                    headers=event_headers(header, parser.last_id),
                    timeout=httpx.Timeout(10.0, read=EVENTS_READ_SECONDS),
                ) as response:
                    if response.status_code >= 400:
                        response.read()
                        self._answer(response).require_success()
                    if response.status_code == 204:  # the job is over, and nothing was missed
                        return
                    for line in response.iter_lines():
                        heard = time.monotonic()
                        event = parser.feed(line)
                        if event is not None:
                            yield event
                            if event.kind == "end":
                                return
            except (httpx.TransportError, Unavailable) as error:
                parser.reset()
                if time.monotonic() - heard > SILENCE_SECONDS:
                    raise lost(self.context, error) from error
            time.sleep(RECONNECT_SECONDS)

    def wait(self, job: str | wire.Job) -> wire.Job:
        """The job once it has ended, settled or refunded."""
        for _ in self.events(job):
            pass
        return self.job(job)

    def close(self) -> None:
        self.operations.close()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, operation: Operation[T]) -> T:
        """Perform an operation's calls one after the other; its value."""
        try:
            call = next(operation)
            while True:
                try:
                    answer = self._perform(call)
                except Exception as error:
                    call = operation.throw(error)
                else:
                    call = operation.send(answer)
        except StopIteration as done:
            value: T = done.value
            return value

    def _perform(self, call: Call) -> Any:
        if isinstance(call, Pause):
            return time.sleep(call.seconds)
        if not isinstance(call, Request | Upload | Part | Download):
            return call.run()
        try:
            if isinstance(call, Download):
                return self._download(call)
            content = None if isinstance(call, Request) else body_of(call)
            return self._answer(self._http.request(**request_options(call, content)))
        except httpx.TransportError as error:
            raise lost(self.context, error) from error

    def _download(self, call: Download) -> Answer:
        with self._http.stream("GET", call.path, headers=dict(call.headers)) as response:
            if response.status_code >= 400:
                response.read()
                return self._answer(response)
            with IncomingFile(call) as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
                file.finish()
            return Answer(response.status_code, response.headers, b"")

    @staticmethod
    def _answer(response: httpx.Response) -> Answer:
        return Answer(response.status_code, response.headers, response.content)
