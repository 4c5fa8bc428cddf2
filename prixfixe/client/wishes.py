"""Any container: what a customer wishes to have run, and its price."""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from prixfixe.client.calls import Operation, Request, Work
from prixfixe.client.files import describe_input, named_input
from prixfixe.client.keeping import write_file
from prixfixe.client.quotes import require_as_asked, require_quote
from prixfixe.client.uploading import Uploading
from prixfixe.errors import InsufficientFunds, InvalidInput
from prixfixe.protocol import wire
from prixfixe.protocol.canonical import canonical_json, sha256_hex
from prixfixe.protocol.egress import parse_host
from prixfixe.protocol.manifest import InputFile, Isolation
from prixfixe.protocol.matrix import MAX_BYTES, Row, filled, read, require_rows, to_lines
from prixfixe.protocol.money import Money
from prixfixe.protocol.outputs import TaskStatus
from prixfixe.protocol.product import Product
from prixfixe.protocol.receipt import Receipt, ReceiptTask

DEFAULT_PRODUCT: Final = "cpu-1x1/10m"
_REGISTRY = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,254}@sha256:[0-9a-f]{64}")
_CONFIG = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?")
_MOST_OF_AN_INDEX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """Tasks of an image. matrix: rows of parameters, one a task (`protocol.matrix`), or a CSV or JSON file of
    them; then `tasks` is the number of its rows.

    image: an archive made by `docker save`, or `NAME@sha256:...` of a registry. command: what runs in it;
    empty: what the image says. inputs: files that every task reads at `/job/inputs/NAME`. kind: flat, the
    best asks at once, or auction, the next batch. price: the most per task, all replicas and the fee
    included. replicas: how many providers run it; a majority must give the same bytes, which `exact`
    promises. lot: tasks that one provider takes together. wait_seconds: how long it may wait for a match;
    deliver_seconds: from now to the result. whole: all tasks at once, or none. providers: whom to admit.
    placement: "vetted" for none but providers whom the operator vouches for.
    isolation: "gvisor" for a worker that runs it in gVisor. hosts: that a task may call, `api.example.com` or
    with a port; none: it has no network. Both flat only. secrets: names of what is sealed to each worker once
    the order is matched (`prixfixe.client.sealing`).
    """

    image: Path | str
    command: Sequence[str] = ()
    product: Product | str = DEFAULT_PRODUCT
    kind: wire.BidKind = "flat"
    tasks: int = 1
    inputs: Sequence[InputFile | Path | str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    price: Money | None = None
    replicas: int = 1
    exact: bool = False
    lot: int | None = None
    wait_seconds: int = 600
    deliver_seconds: int | None = None
    whole: bool = False
    providers: Sequence[str] | None = None
    placement: wire.Placement = "public"
    isolation: Isolation | None = None
    hosts: Sequence[str] = ()
    secrets: Sequence[str] = ()
    matrix: Sequence[Mapping[str, Any]] | Path | None = None


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What became of one task. succeeded: it was done and paid, and not judged wrong. status: as in the leaf,
    None when it never ran to a result. folder: where its outputs are. reason: why it failed, in its worker's
    words."""

    index: int
    succeeded: bool
    status: int | None
    folder: Path
    reason: str | None


Sources: TypeAlias = tuple[tuple[InputFile, Path], ...]


class Wishes(Uploading):
    """Quotes for what is no bundle."""

    # Files that quotes were given as paths, by the quote's id.
    _sources: dict[str, Sources]
    # Where matrices lie until they are sent.
    _scratch: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Forget the matrices that were written to be sent."""
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def quote_wish(self, wish: Wish) -> Operation[wire.BidQuote]:
        """A signed price for tasks of any image, checked: the most that it costs, and what it would cost now.
        Files and the image's archive are remembered, and sent with the order."""
        customer = yield from self.address()
        scratch = self.scratch()
        request, sources = yield Work(lambda: _request(wish, customer, scratch))
        return (yield from self.quote_request(request, sources))

    def quote_request(self, request: wire.BidQuoteRequest, sources: Sources) -> Operation[wire.BidQuote]:
        """A signed price for a request, checked. sources: what is sent with the order."""
        market = yield from self.market()
        quote = yield from self.ask(
            wire.BidQuote, Request("POST", "/v1/quotes", body=request.model_dump(mode="json"))
        )
        require_quote(quote, self.domain, market.operator)
        _require_same_wish(quote, request)
        self._sources[quote.id] = sources
        return quote

    def scratch(self) -> Path:
        """Where matrices lie until `close`."""
        self._scratch = self._scratch or tempfile.TemporaryDirectory(prefix="prixfixe-matrix-")
        return Path(self._scratch.name)


def task_results(receipt: Receipt, folder: Path) -> tuple[TaskResult, ...]:
    """Every task of a finished job, by index. folder: where its outputs were downloaded to."""
    done: dict[int, tuple[bool, ReceiptTask]] = {}
    for lot in receipt.lots:
        paid = lot.outcome == "settled"
        for task in lot.tasks:
            if paid or task.index not in done:
                kept = paid and not lot.overturned
                done[task.index] = (kept and task.status == TaskStatus.SUCCEEDED, task)
    return tuple(
        TaskResult(
            index=index,
            succeeded=index in done and done[index][0],
            status=done[index][1].status if index in done else None,
            folder=folder / str(index) if receipt.order.tasks > 1 else folder,
            reason=_why(done[index][1]) if index in done else None,
        )
        for index in range(receipt.order.tasks)
    )


def write_results(receipt: Receipt, folder: Path) -> tuple[TaskResult, ...]:
    """As `task_results`, with the receipt beside them as `receipt.json`."""
    from prixfixe.client.verification import receipt_bytes  # brings the checks, which nobody needs before

    write_file(folder / "receipt.json", receipt_bytes(receipt))
    return task_results(receipt, folder)


def _why(task: ReceiptTask) -> str | None:
    return None if task.reason is None else task.reason.message


def require_within(budget: Money | None, total: Money) -> None:
    """InsufficientFunds when the order may cost more than the customer wants to spend."""
    if budget is not None and total > budget:
        raise InsufficientFunds(
            f"the order may cost {total}, and the budget is {budget}; nothing was ordered",
            hint="raise the budget, ask for fewer tasks, or name a lower price and let it wait in an auction",
            needed=str(total.units),
            budget=str(budget.units),
        )


def image_id(archive: Path) -> str:
    """The id of the image in an archive; InvalidInput when it is not one that `docker save` made of one
    image."""
    hint = "make it with `docker save IMAGE > image.tar`, or name an image of the local engine"
    try:
        with tarfile.open(archive) as tar:
            index = tar.extractfile("manifest.json")
            listed = [] if index is None else json.loads(index.read(_MOST_OF_AN_INDEX))
        (entry,) = listed
        found = _CONFIG.fullmatch(entry["Config"])
    except (tarfile.TarError, OSError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{archive} is no archive of one image", code="no-image", hint=hint, file=str(archive)
        ) from error
    if found is None:
        raise InvalidInput(f"{archive} names no image", code="no-image", hint=hint, file=str(archive))
    return f"sha256:{found[1]}"


def _request(wish: Wish, customer: str, scratch: Path) -> tuple[wire.BidQuoteRequest, Sources]:
    if wish.replicas > 1 and not wish.exact:
        raise InvalidInput(
            f"{wish.replicas} replicas are compared byte by byte, and nothing says that this image writes "
            "the same bytes each time",
            code="not-exact",
            hint="say so (`--exact`, exact=True) if it does: otherwise no majority agrees and nobody is paid",
        )
    named = [named_input(given) for given in wish.inputs]
    sources = [(file, path) for file, path in named if path is not None]
    archive = None
    if isinstance(wish.image, str) and _REGISTRY.fullmatch(wish.image):
        image = wish.image
    else:
        path = Path(wish.image)
        if not path.is_file():
            raise InvalidInput(
                f"{wish.image} is neither an archive on this machine nor a registry's NAME@sha256:...",
                code="no-image",
                hint="a tag can mean another image tomorrow: name the digest, or make an archive with "
                "`docker save`",
            )
        image = image_id(path)
        described = describe_input(path)
        archive = described.sha256
        sources.append((described, path))
    rows = _rows(wish)
    matrix = None
    if rows is not None:
        matrix = write_matrix(rows, scratch)
        sources.append((matrix, scratch / matrix.sha256))
    product = Product.read(wish.product) if isinstance(wish.product, str) else wish.product
    request = wire.BidQuoteRequest(
        customer=customer,
        kind=wish.kind,
        product=product,
        image=image,
        image_archive=archive,
        command=tuple(wish.command),
        environment=dict(wish.environment),
        parameters=dict(wish.parameters),
        inputs=tuple(file for file, _ in named),
        matrix=matrix,
        tasks=wish.tasks if rows is None else len(rows),
        lot=wish.lot,
        replicas=wish.replicas,
        determinism="exact" if wish.exact else "none",
        price=wish.price,
        wait_seconds=wish.wait_seconds,
        deliver_seconds=wish.deliver_seconds,
        whole=wish.whole,
        providers=None if wish.providers is None else tuple(wish.providers),
        placement=wish.placement,
        isolation=wish.isolation,
        hosts=tuple(str(parse_host(host)) for host in wish.hosts),
        secrets=tuple(wish.secrets),
    )
    return request, tuple(sources)


def _rows(wish: Wish) -> tuple[Row, ...] | None:
    """The matrix, checked: a hole, or a command that names what no row has, is found before anything is
    sent."""
    if wish.matrix is None:
        return None
    if isinstance(wish.matrix, Path):
        try:
            with wish.matrix.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise InvalidInput(
                f"{wish.matrix} cannot be read: {error.strerror}", code="no-input", file=str(wish.matrix)
            ) from error
        rows = read(data, name=wish.matrix.name)
    else:
        rows = require_rows(wish.matrix)
    if wish.tasks not in (1, len(rows)):
        raise InvalidInput(
            f"{wish.tasks} tasks were asked for, and the matrix has {len(rows)} rows",
            code="bad-matrix",
            hint="leave out the number of tasks: each row is one",
        )
    for row in rows:
        filled(wish.command, wish.environment, {**wish.parameters, **row})
    return rows


def write_matrix(rows: Sequence[Row], scratch: Path) -> InputFile:
    """The rows as the file that is sent, in `scratch` under its digest."""
    data = to_lines(rows)
    digest = sha256_hex(data)
    (scratch / digest).write_bytes(data)
    return InputFile(name="matrix.jsonl", sha256=digest, size=len(data))


def _require_same_wish(quote: wire.BidQuote, request: wire.BidQuoteRequest) -> None:
    """VerificationFailed unless the quote is for exactly what was asked."""
    manifest = quote.manifest
    differing = [
        name
        for name, quoted, asked in (
            ("customer", quote.customer, request.customer),
            ("kind", quote.kind, request.kind),
            ("product", quote.product, request.product),
            ("image", (manifest.image, quote.image_archive), (request.image, request.image_archive)),
            ("command", manifest.command, request.command),
            ("environment", manifest.environment, request.environment),
            ("parameters", canonical_json(manifest.parameters), canonical_json(request.parameters)),
            ("inputs", manifest.inputs, request.inputs),
            ("matrix", manifest.matrix, request.matrix),
            ("determinism", manifest.determinism, request.determinism),
            ("tasks", quote.tasks, request.tasks),
            ("lot", quote.lot, request.lot or quote.lot),
            ("replicas", quote.replicas, request.replicas),
            ("whole", quote.whole, request.whole),
            ("providers", _admits(quote, request), True),
            ("isolation", manifest.isolation, request.isolation),
            ("hosts", manifest.hosts, request.hosts),
            ("secrets", manifest.secrets, request.secrets),
        )
        if quoted != asked
    ]
    if request.price is not None and quote.price > request.price:
        differing.append("price")
    require_as_asked(differing)


def _admits(quote: wire.BidQuote, request: wire.BidQuoteRequest) -> bool:
    """Whether the quote admits whom the wish admits: whom it names, or of those the vetted ones."""
    if request.placement == "public":
        return quote.providers == request.providers
    named = quote.providers or ()
    return bool(named) and (request.providers is None or set(named) <= set(request.providers))
