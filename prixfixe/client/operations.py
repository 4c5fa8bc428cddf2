"""What a customer can do: the logic of `Client` and `AsyncClient`, as operations that do no I/O.

Rules that hold in all of them. The service is believed in nothing that can be checked: its chain and
contract must be the context's, a quote must be signed by the market's operator and be for exactly what was
asked. A call is sent again only when sending it twice does what sending it once does; an order qualifies,
because its digest is the job's id.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote as url_quote

from prixfixe.client.again import Again
from prixfixe.client.books import Books
from prixfixe.client.calls import Operation, Request, Work
from prixfixe.client.contexts import Context
from prixfixe.client.files import named_input
from prixfixe.client.jobs import Jobs, id_of, require_named
from prixfixe.client.keeping import KeptOrder, SessionFile, keep_order
from prixfixe.client.managed import ManagedAccount
from prixfixe.client.prices import Prices
from prixfixe.client.quotes import require_definition, require_quote, require_same_terms
from prixfixe.client.wishes import TaskResult, Wish, require_within, write_results
from prixfixe.errors import ConfigurationError, PrixfixeError, Unavailable
from prixfixe.keys import Signer, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import parse as parse_definition
from prixfixe.protocol.job_batch import MOST_JOBS, JobAnswers
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.money import Money
from prixfixe.protocol.quotes import order_of
from prixfixe.protocol.typed_data import format_bytes32

if TYPE_CHECKING:
    from prixfixe.client.progress import Watch
    from prixfixe.client.results import Result


class Operations(Again, Jobs, Prices, Books, ManagedAccount):
    """All operations of one customer on one market."""

    def __init__(
        self,
        context: Context,
        signer: Callable[[], Signer] | None,
        address: str | None = None,
        sessions: SessionFile | None = None,
        api_key: str | None = None,
    ) -> None:
        super().__init__(context, signer, address, sessions, api_key)
        # Files that quotes were given as paths, by the quote's id.
        self._sources: dict[str, tuple[tuple[InputFile, Path], ...]] = {}

    def health(self) -> Operation[dict[str, Any]]:
        """What the service says of its own state; it says so also when it is not well."""
        answer = yield from self.exchange(Request("GET", "/v1/health"), give_up_on=frozenset({503}))
        health = answer.json()
        return health if isinstance(health, dict) else {}

    def bundles(self) -> Operation[tuple[wire.BundleListing, ...]]:
        """Everything on offer, newest version first as the service lists it."""
        return (yield from self.every(wire.BundleListing, "/v1/bundles", {"limit": "200"}, anyone=True))

    def bundle(self, name: str, version: str | None = None) -> Operation[wire.BundleListing]:
        """One bundle; its newest version when none is named."""
        query = {} if version is None else {"version": version}
        return (
            yield from self.ask(
                wire.BundleListing, Request("GET", f"/v1/bundles/{url_quote(name, safe='')}", query=query)
            )
        )

    # ------------------------------------------------------------------------------------------ price, order

    def quote(
        self,
        bundle: str | wire.BundleListing,
        *,
        parameters: Mapping[str, Any],
        inputs: Sequence[InputFile | Path | str],
        units: int,
        version: str | None = None,
        replicas: int | None = None,
    ) -> Operation[wire.Quote]:
        """A signed price for exactly this, checked. Inputs given as paths are remembered, and sent by `buy`.
        bundle: its name, or its listing, which is not asked for again. units: what preflight counted, in the
        bundle's unit. replicas: how many providers run it, of the numbers that the bundle sells; its usual
        one when None."""
        market = yield from self.market()
        listing = (yield from self.bundle(bundle, version)) if isinstance(bundle, str) else bundle
        definition = parse_definition(listing.definition)
        named = yield Work(lambda: [named_input(given) for given in inputs])
        customer = yield from self.address()
        request = wire.QuoteRequest(
            customer=customer,
            bundle=listing.id,
            version=listing.version,
            parameters=definition.validate_parameters(parameters),
            inputs=tuple(file for file, _ in named),
            units=units,
            replicas=definition.require_replicas(replicas),
        )
        quote = yield from self.ask(
            wire.Quote, Request("POST", "/v1/quotes", body=request.model_dump(mode="json"))
        )
        require_quote(quote, self.domain, market.operator)
        require_same_terms(quote, request)
        require_definition(quote, definition)
        self._sources[quote.id] = tuple((file, path) for file, path in named if path is not None)
        return quote

    def sources(self, quote: wire.Quote | wire.BidQuote) -> tuple[tuple[InputFile, Path], ...]:
        """The files on this machine that a quote was given as paths, an image's archive too."""
        return self._sources.get(quote.id, ())

    def send_inputs(self, quote: wire.Quote | wire.BidQuote) -> Operation[None]:
        """Upload what a quote was given as paths."""
        for file, path in self.sources(quote):
            yield from self.upload(path, file)

    def order(
        self,
        quote: wire.Quote | wire.BidQuote,
        *,
        result: str | None = None,
        receipt: str | None = None,
        replaces: str | None = None,
    ) -> Operation[KeptOrder]:
        """Sign the order that accepts a quote, and keep it on this machine; `buy` sends it. With an API key
        it is kept as the service is to sign it. result, receipt: where its owner wants them, remembered with
        it. replaces: the waiting bid in whose place it is to come."""
        market = yield from self.market()
        require_quote(quote, self.domain, market.operator)
        contract = self.domain.verifying_contract
        if self.is_managed:
            order = self.managed_order(quote, result=result, receipt=receipt, replaces=replaces)
            yield Work(lambda: keep_order(order))
            return order
        signed = order_of(quote, contract, expiry=quote.order_expiry, nonce=secrets.randbits(64))
        signer = yield from self.signer()
        if signer.address != quote.customer:
            raise ConfigurationError(
                f"the quote is for {quote.customer}, and the key is {signer.address}", code="wrong-key"
            )
        signature: bytes = yield Work(lambda: sign_typed(signer, signed, self.domain))
        order = KeptOrder(
            job=format_bytes32(signed.digest(self.domain)),
            context=self.context.name,
            chain_id=self.domain.chain_id,
            contract=contract,
            quote=quote,
            request=wire.JobRequest(
                quote=quote.id, order=signed, signature="0x" + signature.hex(), replaces=replaces
            ),
            result=result,
            receipt=receipt,
        )
        yield Work(lambda: keep_order(order))
        return order

    def buy(self, wanted: KeptOrder | wire.Quote | wire.BidQuote) -> Operation[wire.Job]:
        """Buy. A quote's inputs are sent and it is signed first; with an API key the service signs. The same
        order is the same job, so it is sent again after a lost answer, and may be sent often."""
        order = yield from self._signed(wanted)
        self._require_ours(order)
        if order.request is None:
            return (yield from self.buy_managed(order))
        request = Request("POST", "/v1/jobs", body=_body(order.request))
        sent = self.ask if order.request.replaces is None else self.ask_signed_in
        job = yield from sent(wire.Job, request)
        require_named(order.job, job)
        return job

    def buy_many(
        self, wanted: Sequence[KeptOrder | wire.Quote | wire.BidQuote]
    ) -> Operation[tuple[wire.Job | PrixfixeError, ...]]:
        """Buy many at once, a hundred a request; each becomes a job or an error of its own, in their order.
        Of quotes inputs are sent and orders signed first. What is sent again is one job, as with `buy`. With
        an API key each is a request."""
        orders = []
        for each in wanted:
            orders.append((yield from self._signed(each)))
        for order in orders:
            self._require_ours(order)
        found: list[wire.Job | PrixfixeError] = []
        if self.is_managed:
            for order in orders:
                try:
                    found.append((yield from self.buy(order)))
                except PrixfixeError as refused:
                    found.append(refused)
            return tuple(found)
        for at in range(0, len(orders), MOST_JOBS):
            part = orders[at : at + MOST_JOBS]
            requests = [order.request for order in part if order.request is not None]
            if len(requests) < len(part):
                raise ConfigurationError(
                    "an order is of a managed account, and no API key is set", code="no-api-key"
                )
            request = Request("POST", "/v1/jobs/batch", body={"jobs": [_body(each) for each in requests]})
            plain = all(each.replaces is None for each in requests)
            sent = self.ask if plain else self.ask_signed_in
            answers: JobAnswers = yield from sent(JobAnswers, request)
            if len(answers.items) != len(part):
                raise Unavailable(
                    f"the service answered {len(answers.items)} of {len(part)} orders",
                    code="bad-answer",
                    retryable=False,
                )
            for order, answer in zip(part, answers.items, strict=True):
                if answer.job is None:
                    found.append(PrixfixeError.from_problem(answer.problem or {}))
                else:
                    require_named(order.job, answer.job)
                    found.append(answer.job)
        return tuple(found)

    def run(
        self,
        bundle: str | wire.BundleListing,
        data: Any,
        *,
        parameters: Mapping[str, Any],
        out: Path | str | None = None,
        budget: Money | None = None,
        version: str | None = None,
        replicas: int | None = None,
        overwrite: bool = False,
        progress: Watch | None = None,
    ) -> Operation[Result]:
        """Run a bundle: a file, or a frame of pandas, polars or pyarrow in, the checked result out.

        The data are checked and counted on this machine, priced, uploaded, bought, waited for, fetched and
        verified. data: one, or a list of them; of a frame every column keeps its type, and floats are refused
        (`float-column`). out: the folder for outputs and receipt.json; None: they live as long as the Result.
        budget: InsufficientFunds, and nothing is sent, when it is quoted at more. overwrite: files that are
        in `out` may be replaced. progress: told each `prixfixe.client.progress.Step`.

        However often it is tried, it is bought once: after an error or a crash the same call goes on with the
        order of the last one until a result was handed over or the money came back. NotDelivered or
        BadInputFound when it ended without a result, which costs nothing."""
        from prixfixe.client.runs import Run, as_inputs, unwatched

        place = None if out is None else Path(out)
        run = Run(
            self, bundle, as_inputs(data), parameters, place, budget, version, replicas, overwrite,
            progress or unwatched,
        )  # fmt: skip
        return (yield from run.perform())

    def submit(self, wish: Wish, *, budget: Money | None = None) -> Operation[wire.Job]:
        """Order tasks of any image: quote, upload, sign, send. budget: the most for the whole order;
        InsufficientFunds, and nothing is sent, when it is quoted at more."""
        quote = yield from self.quote_wish(wish)
        require_within(budget, quote.total)
        return (yield from self.buy(quote))

    def map(
        self,
        wish: Wish,
        rows: Sequence[Mapping[str, Any]],
        folder: Path | str,
        *,
        budget: Money | None = None,
    ) -> Operation[tuple[TaskResult, ...]]:
        """Run a wish once for each row of parameters, wait, and fetch the outputs into `folder`, a folder a
        task. Tasks that failed are told, and were not paid; the receipt lies beside as `receipt.json`."""
        place = Path(folder)
        job = yield from self.submit(replace(wish, matrix=rows), budget=budget)
        yield from self.wait(job)
        receipt = yield from self.receipt(job)
        yield from self.download(job, place)
        results: tuple[TaskResult, ...] = yield Work(lambda: write_results(receipt, place))
        return results

    def again(
        self,
        job: str | wire.Job,
        *,
        price: Money | None = None,
        budget: Money | None = None,
        renumber: bool = False,
    ) -> Operation[tuple[wire.Job, tuple[int, ...]]]:
        """Order what an ended bid has left undone: the new job, and the old indexes of its tasks. renumber:
        allow it without a matrix, where indexes begin at 0 again. price, budget: as for a wish."""
        rest = yield from self.quote_rest(id_of(job), price=price, renumber=renumber)
        require_within(budget, rest.quote.total)
        return (yield from self.buy(rest.quote)), rest.tasks

    def replace(
        self,
        job: str | wire.Job,
        *,
        price: Money | None = None,
        budget: Money | None = None,
        wait_seconds: int = 600,
        deliver_seconds: int | None = None,
    ) -> Operation[wire.Job]:
        """Put a new bid for the same tasks in the place of one that waits: the new job. Refused, the old
        one stays; Conflict once it was matched. The old signature ends on the chain only when its lots are
        closed there, or at its time. price, budget: as for a wish."""
        old = id_of(job)
        quote = yield from self.quote_replacement(
            old, price=price, wait_seconds=wait_seconds, deliver_seconds=deliver_seconds
        )
        require_within(budget, quote.total)
        return (yield from self.buy((yield from self.order(quote, replaces=old))))

    def _signed(self, wanted: KeptOrder | wire.Quote | wire.BidQuote) -> Operation[KeptOrder]:
        """The order; of a quote, its inputs are sent and it is signed."""
        if isinstance(wanted, KeptOrder):
            return wanted
        yield from self.send_inputs(wanted)
        return (yield from self.order(wanted))

    def _require_ours(self, order: KeptOrder) -> None:
        if (order.chain_id, order.contract) != (self.domain.chain_id, self.domain.verifying_contract):
            raise ConfigurationError(
                f"order {order.job} is for contract {order.contract} on chain {order.chain_id}",
                code="wrong-market",
            )

    # ---------------------------------------------------------------------------------------------- pricing

    def publish_bundle(self, publication: wire.BundlePublication) -> Operation[wire.BundleListing]:
        """List a bundle whose offers are on chain. For the contract's pricing role."""
        return (
            yield from self.ask_signed_in(
                wire.BundleListing, Request("POST", "/v1/bundles", body=publication.model_dump(mode="json"))
            )
        )

    def retire_bundle(
        self, name: str, version: str | None = None, note: str = ""
    ) -> Operation[wire.BundleListing]:
        """Take a listing off the shelf; what was quoted is honoured until the chain's `until`."""
        path = f"/v1/bundles/{url_quote(name, safe='')}/retire"
        query = {} if version is None else {"version": version}
        request = Request("POST", path, query=query, body={"note": note})
        return (yield from self.ask_signed_in(wire.BundleListing, request))


def _body(request: wire.JobRequest) -> dict[str, Any]:
    return request.model_dump(mode="json", exclude_none=True)
