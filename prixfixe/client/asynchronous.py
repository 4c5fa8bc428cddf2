"""`AsyncClient`: the market from asyncio (or any loop that anyio and httpx know)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
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


class AsyncClient:
    """`prixfixe.Client` with `await`: the same operations, the same checks, the same errors."""

    def __init__(
        self,
        context: Context | str | None = None,
        *,
        signer: Signer | Callable[[], Signer] | None = None,
        api_key: str | None = None,
        keep_sessions: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.operations = make_operations(context, signer, keep_sessions=keep_sessions, api_key=api_key)
        self._http = httpx.AsyncClient(transport=transport, **http_options(self.context))

    @classmethod
    def from_context(cls, name: str | None = None) -> Self:
        """A client of a named context, or of the current one."""
        return cls(name)

    @property
    def context(self) -> Context:
        return self.operations.context

    async def address(self) -> str:
        """The customer's address; opens the key when the context does not tell it."""
        return await self.run(self.operations.address())

    async def market(self) -> wire.Market:
        """The market's numbers and addresses; refused when they are not the context's."""
        return await self.run(self.operations.market())

    async def health(self) -> dict[str, Any]:
        """What the service says of its own state."""
        return await self.run(self.operations.health())

    async def bundles(self) -> tuple[wire.BundleListing, ...]:
        """Everything on offer."""
        return await self.run(self.operations.bundles())

    async def bundle(self, name: str, version: str | None = None) -> wire.BundleListing:
        """One bundle; its newest version when none is named."""
        return await self.run(self.operations.bundle(name, version))

    async def account(self) -> accounts.Account:
        """As `Client.account`."""
        return await self.run(self.operations.account())

    async def statement(self, since: int | None = None, until: int | None = None) -> accounts.Statement:
        """As `Client.statement`."""
        return await self.run(self.operations.statement(since, until))

    async def quote(
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
        return await self.run(
            self.operations.quote(
                bundle,
                parameters=parameters,
                inputs=inputs,
                units=units,
                version=version,
                replicas=replicas,
            )
        )

    async def quote_wish(self, wish: Wish) -> wire.BidQuote:
        """A signed price for tasks of any image: the most that it costs, and what it would cost now."""
        return await self.run(self.operations.quote_wish(wish))

    async def submit(self, wish: Wish, *, budget: Money | None = None) -> wire.Job:
        """Order tasks of any image: quote, upload, sign, send. budget: the most for the whole order;
        InsufficientFunds, and nothing is sent, when it is quoted at more."""
        quote = await self.quote_wish(wish)
        require_within(budget, quote.total)
        return await self.buy(quote)

    async def map(
        self,
        wish: Wish,
        rows: Sequence[Mapping[str, Any]],
        folder: Path | str,
        *,
        budget: Money | None = None,
    ) -> tuple[TaskResult, ...]:
        """Run a wish once for each row of parameters, wait, and fetch the outputs into `folder`, a folder a
        task. Tasks that failed are told, and were not paid; the receipt lies beside as `receipt.json`."""
        job = await self.submit(replace(wish, matrix=rows), budget=budget)
        await self.wait(job)
        receipt = await self.receipt(job)
        place = Path(folder)
        await self.download(job, place)
        return write_results(receipt, place)

    async def again(
        self,
        job: str | wire.Job,
        *,
        price: Money | None = None,
        budget: Money | None = None,
        renumber: bool = False,
    ) -> tuple[wire.Job, tuple[int, ...]]:
        """Order what an ended bid has left undone: the new job, and the old indexes of its tasks. renumber:
        allow it without a matrix, where indexes begin at 0 again. price, budget: as for a wish."""
        rest = await self.run(self.operations.quote_rest(id_of(job), price=price, renumber=renumber))
        require_within(budget, rest.quote.total)
        return await self.buy(rest.quote), rest.tasks

    async def upload(
        self, source: Path, expected: InputFile | None = None, *, progress: Progress | None = None
    ) -> str:
        """Send a file unless the service has it; its SHA-256."""
        return await self.run(self.operations.upload(source, expected, progress))

    async def order(self, quote: wire.Quote | wire.BidQuote, **where: str | None) -> KeptOrder:
        """Sign the order and keep it on this machine; `buy` sends it."""
        return await self.run(self.operations.order(quote, **where))

    async def buy(self, order: KeptOrder | wire.Quote | wire.BidQuote) -> wire.Job:
        """Buy. A quote's inputs are sent and it is signed first. A signed order may be sent often: it is one
        job."""
        return await self.run(self.operations.buy(order))

    async def buy_many(
        self, orders: Sequence[KeptOrder | wire.Quote | wire.BidQuote]
    ) -> tuple[wire.Job | PrixfixeError, ...]:
        """Buy many at once, a hundred a request; each becomes a job or an error of its own, in their order.
        Of quotes inputs are sent and orders signed first. What is sent again is one job, as with `buy`."""
        return await self.run(self.operations.buy_many(orders))

    async def replace(
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
        quote = await self.run(
            self.operations.quote_replacement(
                old, price=price, wait_seconds=wait_seconds, deliver_seconds=deliver_seconds
            )
        )
        require_within(budget, quote.total)
        return await self.buy(await self.order(quote, replaces=old))

    async def job(self, job: str | wire.Job) -> wire.Job:
        return await self.run(self.operations.job(id_of(job)))

    async def jobs(self, limit: int | None = None) -> tuple[wire.Job, ...]:
        """The customer's jobs, newest first."""
        return await self.run(self.operations.jobs(limit))

    async def log(self, job: str | wire.Job, *, task: int | None = None) -> str:
        """What the job has printed. task: of this one only."""
        return await self.run(self.operations.log(id_of(job), task))

    async def cancel(self, job: str | wire.Job) -> wire.Job:
        """Take back whatever of a job no worker has started: its money is free at once; what is started goes
        on. Conflict when nothing can be taken back."""
        return await self.run(self.operations.cancel(id_of(job)))

    async def seals(self, job: str | wire.Job) -> tuple[Seal, ...]:
        """Attempts that run now and to whom the job's secrets are to be sealed: check them first, as
        `prixfixe.client.sealing` does."""
        return await self.run(self.operations.seals(id_of(job)))

    async def give_seal(self, job: str | wire.Job, attempt: str, sealed: str) -> None:
        """Hand in secrets that were sealed to the worker of an attempt."""
        await self.run(self.operations.give_seal(id_of(job), attempt, sealed))

    async def receipt(self, job: str | wire.Job) -> Receipt:
        return await self.run(self.operations.receipt(id_of(job)))

    async def deletions(self, job: str | wire.Job) -> wire.Deletions:
        return await self.run(self.operations.deletions(id_of(job)))

    async def forget(self, job: str | wire.Job) -> wire.Forgotten:
        return await self.run(self.operations.forget(id_of(job)))

    async def outputs(
        self, job: str | wire.Job, *, task: int | None = None
    ) -> tuple[wire.OutputFileInfo, ...]:
        """Every output file; of a job of several tasks as `<index>/<path>`. task: of this one only."""
        return await self.run(self.operations.outputs(id_of(job), task))

    async def download(
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
        return await self.run(operation)

    async def download_file(
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
        return await self.run(operation)

    async def refund(self, job: str | wire.Job) -> tuple[Returned, ...]:
        """Send back what is late of a job, over the context's chain node, when the service does not."""
        return await self.run(self.operations.refund(id_of(job)))

    async def challenge(
        self,
        job: str | wire.Job,
        *,
        task: int = 0,
        ground: str = "wrong",
        receipt: Receipt | None = None,
    ) -> Verdict:
        """Dispute a task's result for a bond, and wait for the arbiter. ground: wrong, missing or count."""
        operation = self.operations.challenge(id_of(job), task=task, ground=ground, receipt=receipt)
        return await self.run(operation)

    async def trades(
        self, product: Product | str | None = None, limit: int | None = None
    ) -> tuple[Trade, ...]:
        """What providers were paid for settled lots, newest first; of one product, or of all."""
        return await self.run(self.operations.trades(product, limit))

    async def index(self, product: Product | str) -> PriceIndex:
        """The price index of a product, such as `cpu-2x4/10m`."""
        return await self.run(self.operations.index(product))

    async def indexes(self) -> tuple[PriceIndex, ...]:
        """The price index of every product."""
        return await self.run(self.operations.indexes())

    async def reputation(self, provider: str | None = None) -> Reputation:
        """What the deals of the last thirty days say of a provider, or of all, the best first."""
        return await self.run(self.operations.reputation(provider))

    async def book(self, product: Product | str, levels: int = 50) -> Book:
        """The live order book of a product, best prices first."""
        return await self.run(self.operations.book(product, levels))

    async def batches(
        self, product: Product | str | None = None, limit: int = 50
    ) -> tuple[BatchSummary, ...]:
        """The auction's published batches, newest first; of one product, or of all."""
        return await self.run(self.operations.batches(product, limit))

    async def batch_digest(self, product: Product | str, number: int) -> str:
        """The digest of a product's batch by its number."""
        return await self.run(self.operations.numbered(product, number))

    async def publication(self, digest: str) -> bytes:
        """The publication of a batch, checked against its digest; `prixfixe.market.batch.Batch` reads it."""
        return await self.run(self.operations.publication(digest))

    async def own_orders(self) -> tuple[OwnOrder, ...]:
        """The caller's resting bids and asks, and why each waits."""
        return await self.run(self.operations.own_orders())

    async def cancel_order(self, order: str) -> Cancelled:
        """Take a resting bid or ask off the book, at once."""
        return await self.run(self.operations.cancel_order(order))

    async def products(self) -> tuple[ProductListing, ...]:
        """Every product of the market, with the terms of its auction."""
        return await self.run(self.operations.products())

    async def terms(self, product: Product | str) -> AuctionTerms:
        """The terms of a product's auction."""
        return (await self.run(self.operations.book(product, 1))).terms

    async def change_terms(self, product: Product | str, change: TermsChange) -> ProductListing:
        """Other terms for the auction of a product. For the contract's pricing role."""
        return await self.run(self.operations.change_terms(product, change))

    async def publish_bundle(self, publication: wire.BundlePublication) -> wire.BundleListing:
        return await self.run(self.operations.publish_bundle(publication))

    async def retire_bundle(self, name: str, version: str | None = None) -> wire.BundleListing:
        return await self.run(self.operations.retire_bundle(name, version))

    async def events(self, job: str | wire.Job, after: int = 0) -> AsyncIterator[wire.JobEvent]:
        """The job's events from number `after` + 1 to its end, across lost connections.

        Unavailable when the service stays silent for `SILENCE_SECONDS`.
        """
        parser = EventParser(after)
        heard = time.monotonic()
        while True:
            header = await self.run(self.operations.authorization())
            try:
                async with self._http.stream(
                    "GET",
                    f"/v1/jobs/{id_of(job)}/events",
                    headers=event_headers(header, parser.last_id),
                    timeout=httpx.Timeout(10.0, read=EVENTS_READ_SECONDS),
                ) as response:
                    if response.status_code >= 400:
                        await response.aread()
                        self._answer(response).require_success()
                    if response.status_code == 204:  # the job is over, and nothing was missed
                        return
                    async for line in response.aiter_lines():
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
            await asyncio.sleep(RECONNECT_SECONDS)

    async def wait(self, job: str | wire.Job) -> wire.Job:
        """The job once it has ended, settled or refunded."""
        async for _ in self.events(job):
            pass
        return await self.job(job)

    async def close(self) -> None:
        self.operations.close()
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, operation: Operation[T]) -> T:
        """Perform an operation's calls one after the other; its value."""
        try:
            call = next(operation)
            while True:
                try:
                    answer = await self._perform(call)
                except Exception as error:
                    call = operation.throw(error)
                else:
                    call = operation.send(answer)
        except StopIteration as done:
            value: T = done.value
            return value

    async def _perform(self, call: Call) -> Any:
        if isinstance(call, Pause):
            return await asyncio.sleep(call.seconds)
        if not isinstance(call, Request | Upload | Part | Download):
            return await asyncio.to_thread(call.run)
        try:
            if isinstance(call, Download):
                return await self._download(call)
            content = None if isinstance(call, Request) else _awaited(body_of(call))
            return self._answer(await self._http.request(**request_options(call, content)))
        except httpx.TransportError as error:
            raise lost(self.context, error) from error

    async def _download(self, call: Download) -> Answer:
        async with self._http.stream("GET", call.path, headers=dict(call.headers)) as response:
            if response.status_code >= 400:
                await response.aread()
                return self._answer(response)
            with IncomingFile(call) as file:
                async for chunk in response.aiter_bytes():
                    file.write(chunk)
                file.finish()
            return Answer(response.status_code, response.headers, b"")

    @staticmethod
    def _answer(response: httpx.Response) -> Answer:
        return Answer(response.status_code, response.headers, response.content)


async def _awaited(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """An iterator over a file, read in a thread so that a slow disk does not hold up the loop."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
