"""A bundle's run in one call: file or frame in, checked result out, bought once however often it is tried.

Before an order is sent, this machine remembers which request it is for (bundle, parameters, the digests of
the inputs). Whoever asks for the same again before a result was handed over, in this process or in the next,
goes on with that order. Once a result was handed over, or the order was refused or refunded, it is forgotten:
asking again then buys again.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prixfixe.client.calls import Operation, Progress, Work
from prixfixe.client.endings import require_delivered
from prixfixe.client.files import describe_input
from prixfixe.client.frames import FRAME_NAME, library_of, write_frame
from prixfixe.client.keeping import KeptOrder, forget_run, keep_run, kept_order, kept_run, write_file
from prixfixe.client.preparing import count_units, require_files
from prixfixe.client.progress import Step, Watch, of_bytes, of_events
from prixfixe.client.results import Result, passing_folder
from prixfixe.client.verification import receipt_bytes
from prixfixe.client.wishes import require_within
from prixfixe.errors import (
    AboveTier,
    Conflict,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    PriceChanged,
    QuoteExpired,
    VerificationFailed,
)
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.bundle import parse as parse_definition
from prixfixe.protocol.canonical import canonical_digest_hex
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.money import Money

if TYPE_CHECKING:
    from prixfixe.client.operations import Operations

# The service says by these that it has no such order and takes none for this quote.
_REFUSED: Final = (QuoteExpired, PriceChanged, InsufficientFunds, NotFound, Conflict, AboveTier)
_GONE: Final = (QuoteExpired, PriceChanged, NotFound)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Inputs as they are sent: files on this machine, what they are called and hash to, units counted."""

    inputs: tuple[tuple[InputFile, Path], ...]
    parameters: Mapping[str, Any]
    units: int


@dataclass(frozen=True, slots=True)
class Run:
    """One request for a result; the fields are the arguments of `Client.run`."""

    customer: Operations
    bundle: str | wire.BundleListing
    data: tuple[Any, ...]
    parameters: Mapping[str, Any]
    out: Path | None
    budget: Money | None
    version: str | None
    replicas: int | None
    overwrite: bool
    watch: Watch

    def perform(self) -> Operation[Result]:
        """Check, price, buy or go on, wait, fetch, verify."""
        customer = self.customer
        listing = self.bundle
        if isinstance(listing, str):
            listing = yield from customer.bundle(listing, self.version)
        definition = parse_definition(listing.definition)
        address = yield from customer.address()
        scratch = Path(tempfile.mkdtemp(prefix="prixfixe-run-"))
        try:
            prepared: Prepared = yield Work(lambda: self._prepare(definition, scratch))
            key = self._key(address, listing, prepared)
            job = yield from self._bought(key, listing, prepared)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        ended = yield from customer.wait(job, hear=of_events(self.watch))
        if ended.state != "settled":
            yield Work(lambda: forget_run(key))
        require_delivered(ended)
        result = yield from self._fetched(ended)
        yield Work(lambda: forget_run(key))
        return result

    def _prepare(self, definition: BundleDefinition, scratch: Path) -> Prepared:
        parameters = definition.validate_parameters(self.parameters)
        paths = []
        for at, each in enumerate(self.data):
            if library_of(each) is None:
                paths.append(Path(each))
                continue
            if "parquet" not in definition.inputs.formats:
                formats = ", ".join(definition.inputs.formats)
                raise InvalidInput(
                    f"bundle {definition.id} takes no frames, only files: {formats}", code="bad-frame"
                )
            path = scratch / (FRAME_NAME if at == 0 else f"{at}-{FRAME_NAME}")
            write_frame(each, path)
            paths.append(path)
        require_files(definition, paths)
        units, inputs = 0, []
        for path in paths:
            stage = f"checking {path.name} on this machine"
            self.watch(Step(stage))
            described = describe_input(path)
            units += count_units(definition, path, parameters, partial(self._counted, stage))
            if describe_input(path) != described:
                raise InvalidInput(
                    f"{path} was changed while it was being checked", code="file-changed", file=str(path)
                )
            inputs.append((described, path))
        definition.tier_for(units)
        return Prepared(tuple(inputs), parameters, units)

    def _counted(self, stage: str, share: float) -> None:
        self.watch(Step(stage, share))

    def _require_room(self) -> None:
        """Conflict, before anything is paid, when results would mix with what is in their folder."""
        if self.out is None or self.overwrite or not self.out.exists():
            return
        if not self.out.is_dir() or any(self.out.iterdir()):
            raise Conflict(
                f"{self.out} is there already, and is no empty folder",
                code="output-exists",
                hint="nothing was ordered; name another folder, or say overwrite=True",
            )

    def _key(self, address: str, listing: wire.BundleListing, prepared: Prepared) -> str:
        """The name of this request: two tries have the same, and no other request has it."""
        context = self.customer.context
        return canonical_digest_hex(
            {
                "chain_id": context.chain_id,
                "contract": context.contract,
                "customer": address,
                "definition": listing.definition_digest,
                "inputs": [[file.name, file.sha256, file.size] for file, _ in prepared.inputs],
                "parameters": dict(prepared.parameters),
                "replicas": self.replicas,
            }
        )

    def _bought(self, key: str, listing: wire.BundleListing, prepared: Prepared) -> Operation[wire.Job]:
        """The job of this request: that of an earlier try, or a new one."""
        earlier: KeptOrder | wire.Quote | None = yield Work(lambda: _earlier(key))
        if earlier is not None:
            try:
                return (yield from self._send(earlier, prepared))
            except _GONE:  # it was never taken, and cannot be any more
                yield Work(lambda: forget_run(key))
        yield Work(self._require_room)
        self.watch(Step("asking for the price"))
        customer = self.customer
        quote = yield from customer.quote(
            listing,
            parameters=prepared.parameters,
            inputs=[file for file, _ in prepared.inputs],
            units=prepared.units,
            replicas=self.replicas,
        )
        require_within(self.budget, quote.total)
        yield from self._upload(prepared)
        order: KeptOrder | wire.Quote = quote
        if not customer.managed:
            order = yield from customer.order(quote)
        yield Work(lambda: keep_run(key, order))
        try:
            return (yield from customer.buy(order))
        except _REFUSED:
            yield Work(lambda: forget_run(key))
            raise

    def _send(self, order: KeptOrder | wire.Quote, prepared: Prepared) -> Operation[wire.Job]:
        """An earlier try's order once more: the same job."""
        self.watch(Step("going on with the order of an earlier try"))
        yield from self._upload(prepared)
        return (yield from self.customer.buy(order))

    def _upload(self, prepared: Prepared) -> Operation[None]:
        for file, path in prepared.inputs:
            progress: Progress = of_bytes(self.watch, f"uploading {file.name}")
            yield from self.customer.upload(path, file, progress=progress)

    def _fetched(self, job: wire.Job) -> Operation[Result]:
        """Receipt and outputs, and the proof that they belong together."""
        customer = self.customer
        receipt = yield from customer.receipt(job)
        folder = self.out or passing_folder()
        try:
            yield Work(lambda: write_file(_made(folder) / "receipt.json", receipt_bytes(receipt)))
            self.watch(Step("downloading"))
            files = yield from customer.download(
                job, folder, overwrite=True, progress=of_bytes(self.watch, "downloading")
            )
            self.watch(Step("verifying"))
            verification = yield from customer.verify(receipt, files)
            if not verification.valid:
                fault = verification.faults[0]
                raise VerificationFailed(
                    f"the result came, and its receipt does not hold: {fault.name}: {fault.detail}",
                    hint="do not rely on the result; keep the receipt (`client.receipt(job)`) as evidence",
                    job=job.id,
                    **verification.to_json(),
                )
        except BaseException:
            if self.out is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        result = Result(job, receipt, verification, folder, files)
        if self.out is None:
            result.keep_while_used()
        return result


def as_inputs(data: Any) -> tuple[Any, ...]:
    """One input, or several."""
    alone = isinstance(data, str | Path) or library_of(data) is not None
    if not alone and not isinstance(data, Sequence):
        raise InvalidInput(
            f"{type(data).__name__} is no input",
            code="bad-frame",
            hint="give a file, a frame of pandas, polars or pyarrow, or a list of them",
        )
    return (data,) if alone else tuple(data)


def unwatched(_: Step) -> None:
    """Nobody looks."""


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _earlier(key: str) -> KeptOrder | wire.Quote | None:
    """What an earlier try has ordered, or was about to."""
    known = kept_run(key)
    if isinstance(known, str):
        return kept_order(known)
    return known
