"""What a customer can do: the logic of `Client` and `AsyncClient`, as operations that do no I/O.

Rules that hold in all of them. The service is believed in nothing that can be checked: its chain and
contract must be the context's, a quote must be signed by the market's operator and be for exactly what was
asked. A call is sent again only when sending it twice does what sending it once does; an order qualifies,
because its digest is the job's id.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote as url_quote

from prixfixe.client.again import Again
from prixfixe.client.books import Books
from prixfixe.client.calls import (
    Download,
    Operation,
    Progress,
    Request,
    Work,
)
from prixfixe.client.contexts import Context
from prixfixe.client.conversation import items_of, parsed
from prixfixe.client.dispute import Verdict
from prixfixe.client.files import is_there, named_input, require_free_target
from prixfixe.client.keeping import KeptOrder, SessionFile, keep_order
from prixfixe.client.managed import ManagedAccount
from prixfixe.client.prices import Prices
from prixfixe.client.quotes import require_definition, require_quote, require_same_terms
from prixfixe.client.refund import Returned, expire_late, lot_states
from prixfixe.errors import ConfigurationError, Conflict, PrixfixeError, Unavailable
from prixfixe.keys import Signer, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import parse as parse_definition
from prixfixe.protocol.job_batch import MOST_JOBS, JobAnswers
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.outputs import require_output_path
from prixfixe.protocol.quotes import order_of
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.secrets import Seal, SealedSecrets
from prixfixe.protocol.typed_data import format_bytes32, parse_bytes32


class Operations(Again, Prices, Books, ManagedAccount):
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
        """All published bundles, newest version first as the service lists them."""
        answer = yield from self.send(Request("GET", "/v1/bundles"))
        return tuple(parsed(wire.BundleListing, item) for item in items_of(answer.json()))

    def bundle(self, name: str, version: str | None = None) -> Operation[wire.BundleListing]:
        """A bundle's listing; its newest version when none is named."""
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
        """A signed price for exactly this, checked. Inputs given as paths are remembered, and sent by
        `buy`. bundle: a listing is not asked for again."""
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
        """Sign the order that accepts a quote, and keep it on this machine. Nothing is sent yet. replaces:
        the waiting bid in whose place it is to come."""
        market = yield from self.market()
        require_quote(quote, self.domain, market.operator)
        contract = self.domain.verifying_contract
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
        """Send an order, of a quote once it is signed. The same order is the same job, so it is sent again
        after a lost answer. With an API key the service signs for a quote."""
        if self._api_key is not None and not isinstance(wanted, KeptOrder):
            yield from self.send_inputs(wanted)
            return (yield from self.buy_managed(wanted))
        order = yield from self._signed(wanted)
        self._require_ours(order)
        request = Request("POST", "/v1/jobs", body=_body(order))
        sent = self.ask if order.request.replaces is None else self.ask_signed_in
        job = yield from sent(wire.Job, request)
        _require_named(order.job, job)
        return job

    def buy_many(
        self, wanted: Sequence[KeptOrder | wire.Quote | wire.BidQuote]
    ) -> Operation[tuple[wire.Job | PrixfixeError, ...]]:
        """Send orders, a hundred a request; each has a job or an error of its own, in their order."""
        orders = []
        for each in wanted:
            orders.append((yield from self._signed(each)))
        for order in orders:
            self._require_ours(order)
        found: list[wire.Job | PrixfixeError] = []
        for at in range(0, len(orders), MOST_JOBS):
            part = orders[at : at + MOST_JOBS]
            request = Request("POST", "/v1/jobs/batch", body={"jobs": [_body(order) for order in part]})
            plain = all(order.request.replaces is None for order in part)
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
                    _require_named(order.job, answer.job)
                    found.append(answer.job)
        return tuple(found)

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

    # ------------------------------------------------------------------------------------------------- jobs

    def job(self, job: str) -> Operation[wire.Job]:
        found = yield from self.ask_signed_in(wire.Job, Request("GET", f"/v1/jobs/{job}"))
        _require_named(job, found)
        return found

    def jobs(self, limit: int | None = None) -> Operation[tuple[wire.Job, ...]]:
        """The customer's jobs, newest first. limit: at most so many; all when None."""
        found: list[wire.Job] = []
        cursor: str | None = None
        while True:
            query = {} if cursor is None else {"cursor": cursor}
            page = (yield from self.send_signed_in(Request("GET", "/v1/jobs", query=query))).json()
            found += [parsed(wire.Job, item) for item in items_of(page)]
            cursor = page.get("next") if isinstance(page, dict) else None
            if cursor is None or (limit is not None and len(found) >= limit):
                return tuple(found[:limit])

    def log(self, job: str, task: int | None = None) -> Operation[str]:
        query = {} if task is None else {"task": str(task)}
        answer = yield from self.send_signed_in(Request("GET", f"/v1/jobs/{job}/log", query=query))
        return str(answer.body.decode("utf-8", "replace"))

    def cancel(self, job: str) -> Operation[wire.Job]:
        found = yield from self.ask_signed_in(wire.Job, Request("POST", f"/v1/jobs/{job}/cancel"))
        _require_named(job, found)
        return found

    def seals(self, job: str) -> Operation[tuple[Seal, ...]]:
        """The job's attempts that run now, and to whom its secrets are to be sealed; as the service says,
        which `prixfixe.client.sealing` checks."""
        answer = yield from self.send_signed_in(Request("GET", f"/v1/jobs/{job}/seals"))
        return tuple(parsed(Seal, item) for item in items_of(answer.json()))

    def give_seal(self, job: str, attempt: str, sealed: str) -> Operation[None]:
        """Hand in secrets that were sealed to the worker of an attempt."""
        body = SealedSecrets(sealed=sealed).model_dump(mode="json")
        yield from self.send_signed_in(Request("PUT", f"/v1/jobs/{job}/seals/{attempt}", body=body))

    def receipt(self, job: str) -> Operation[Receipt]:
        """The receipt of a job that has ended."""
        return (yield from self.ask_signed_in(Receipt, Request("GET", f"/v1/jobs/{job}/receipt")))

    def deletions(self, job: str) -> Operation[wire.Deletions]:
        """What was deleted of a job, signed by the operator."""
        return (yield from self.ask_signed_in(wire.Deletions, Request("GET", f"/v1/jobs/{job}/deletions")))

    def forget(self, job: str) -> Operation[wire.Forgotten]:
        """Have what is kept of a job that is over deleted before its time."""
        found = yield from self.ask_signed_in(wire.Forgotten, Request("POST", f"/v1/jobs/{job}/forget"))
        return found

    def outputs(self, job: str, task: int | None = None) -> Operation[tuple[wire.OutputFileInfo, ...]]:
        """All output files, or those of one task."""
        found: list[wire.OutputFileInfo] = []
        query = {} if task is None else {"task": str(task)}
        while True:
            page = (
                yield from self.send_signed_in(Request("GET", f"/v1/jobs/{job}/outputs", query=query))
            ).json()
            found += [parsed(wire.OutputFileInfo, item) for item in items_of(page)]
            cursor = page.get("next") if isinstance(page, dict) else None
            if cursor is None:
                return tuple(found)
            query = {**query, "cursor": cursor}

    def download(
        self,
        job: str,
        folder: Path,
        *,
        task: int | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Operation[tuple[Path, ...]]:
        """Fetch every output into a folder, with the names that the job gave them; of several tasks each has
        a folder named by its index. What is there already, to the byte, is not fetched again."""
        known = yield from self.outputs(job, task)
        targets = [folder.joinpath(*require_output_path(file.path).split("/")) for file in known]
        pairs = list(zip(known, targets, strict=True))
        missing = yield Work(lambda: [pair for pair in pairs if not is_there(*pair)])
        for _, target in missing:
            require_free_target(target, overwrite=overwrite)
        for file, target in missing:
            yield from self._fetch(job, file, target, progress)
        return tuple(targets)

    def download_file(
        self,
        job: str,
        path: str,
        target: Path,
        *,
        known: Sequence[wire.OutputFileInfo] = (),
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Operation[Path]:
        """Fetch one output file: whole and with the digest that the worker signed, or not at all. known:
        files of the job that the service has told already; it is asked for all when this one is not there."""
        require_free_target(target, overwrite=overwrite)
        info = next((file for file in known if file.path == path), None)
        if info is None:
            known = yield from self.outputs(job)
            info = next((file for file in known if file.path == path), None)
        if info is None:
            names = ", ".join(file.path for file in known) or "none"
            raise Conflict(f"job {job} has no output {path!r}", hint=f"its outputs: {names}")
        return (yield from self._fetch(job, info, target, progress))

    def _fetch(
        self, job: str, file: wire.OutputFileInfo, target: Path, progress: Progress | None
    ) -> Operation[Path]:
        url = f"/v1/jobs/{job}/outputs/{url_quote(file.path)}"
        yield from self.send_signed_in(Download(url, target, file.sha256, file.size, progress=progress))
        return target

    def refund(self, job: str) -> Operation[tuple[Returned, ...]]:
        """Send back what is late of a job, over the context's chain node; the service is not asked."""
        url = self._node()
        signer = yield from self.signer()

        def send() -> tuple[Returned, ...]:
            # Late: a client that never needs it does not load the chain's part.
            from prixfixe.client.onchain_reader import NodeEvidence

            chain = NodeEvidence(url, self.context.contract)
            states = lot_states(chain, parse_bytes32(job, name="job"))
            return expire_late(chain.market, signer, states, chain.now())

        returned: tuple[Returned, ...] = yield Work(send)
        return returned

    def challenge(
        self, job: str, *, task: int = 0, ground: str = "wrong", receipt: Receipt | None = None
    ) -> Operation[Verdict]:
        """Challenge a task's result and wait for the judgement. With a receipt the service is not asked."""
        url = self._node()
        if receipt is None:
            receipt = yield from self.receipt(job)
        signer = yield from self.signer()
        known = receipt

        def send() -> Verdict:
            from prixfixe.client import dispute
            from prixfixe.client.onchain_reader import NodeEvidence

            chain = NodeEvidence(url, self.context.contract)
            market = chain.market
            planned = dispute.prepare(market, chain, known, signer.address, task=task, ground=ground)
            return dispute.wait(market, signer, dispute.send(market, signer, planned))

        verdict: Verdict = yield Work(send)
        return verdict

    def _node(self) -> str:
        if self.context.rpc is None:
            raise ConfigurationError(
                f"the context {self.context.name!r} names no chain node",
                code="no-rpc",
                hint="PRIXFIXE_RPC names one",
            )
        return self.context.rpc

    # ---------------------------------------------------------------------------------------------- pricing

    def publish_bundle(self, publication: wire.BundlePublication) -> Operation[wire.BundleListing]:
        """List a bundle whose offers are on chain. Only for the contract's pricing role."""
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


def _body(order: KeptOrder) -> dict[str, Any]:
    return order.request.model_dump(mode="json", exclude_none=True)


def _require_named(wanted: str, job: wire.Job) -> None:
    """An answer is of the job that was asked for, which is called by its order's digest."""
    if job.id != wanted:
        raise Unavailable(
            f"the service calls order {wanted} job {job.id}", code="bad-answer", retryable=False
        )
