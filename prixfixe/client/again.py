"""A bid ordered anew: what it has left undone, since a lot that is done in part is final; or all of it, at
other terms, while it waits."""

from __future__ import annotations

from dataclasses import dataclass

from prixfixe.client.calls import Download, Operation, Request, Work
from prixfixe.client.keeping import KeptOrder, kept_order
from prixfixe.client.wishes import Sources, Wishes, write_matrix
from prixfixe.errors import ConfigurationError, Conflict
from prixfixe.protocol import wire
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.matrix import from_lines
from prixfixe.protocol.money import Money
from prixfixe.protocol.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Rest:
    """A quote for what a job has left undone. tasks: their indexes in that job, ascending; task i of the new
    order is `tasks[i]` of it."""

    quote: wire.BidQuote
    tasks: tuple[int, ...]


class Again(Wishes):
    """Quotes for a bid that there is already."""

    def quote_replacement(
        self,
        job: str,
        *,
        price: Money | None = None,
        wait_seconds: int = 600,
        deliver_seconds: int | None = None,
    ) -> Operation[wire.BidQuote]:
        """A signed price for the same as a bid that was ordered from this machine and waits. price: the most
        per task; None: flat, what the asks say, and in an auction what it offers. ConfigurationError when its
        order is not kept here, Conflict for a bundle."""
        kept: KeptOrder | None = yield Work(lambda: kept_order(job))
        if kept is None:
            raise ConfigurationError(
                f"job {job} was not bought from this machine, so that what it runs is not known here",
                code="order-not-here",
                hint="replace it where it was bought, or cancel it and submit anew",
            )
        if not isinstance(kept.quote, wire.BidQuote):
            raise Conflict(
                f"job {job} is of a bundle",
                code="bundle-price",
                hint="its price is the bundle's, not the order's",
            )
        request = _same(kept.quote, price=price, wait_seconds=wait_seconds, deliver_seconds=deliver_seconds)
        return (yield from self.quote_request(request, ()))

    def quote_rest(
        self,
        job: str,
        *,
        price: Money | None = None,
        wait_seconds: int = 600,
        deliver_seconds: int | None = None,
        renumber: bool = False,
    ) -> Operation[Rest]:
        """A signed price for the tasks of an ended bid that were not done. With a matrix they are its rows;
        without one their indexes begin at 0 again, which `renumber` allows. price: the most per task; None:
        flat, what the asks say, and in an auction what the job offered. Conflict when nothing is left, or
        for a bundle."""
        receipt = yield from self.ask_signed_in(Receipt, Request("GET", f"/v1/jobs/{job}/receipt"))
        before = receipt.quote
        if not isinstance(before, wire.BidQuote):
            raise Conflict(
                f"job {job} is of a bundle", code="not-a-bid", hint="run the bundle again (`prixfixe run`)"
            )
        tasks = undone(receipt)
        if not tasks:
            raise Conflict(f"every task of job {job} was done", code="nothing-left")
        manifest = before.manifest
        some = len(tasks) < manifest.tasks
        if some and manifest.matrix is None and not renumber:
            raise Conflict(
                f"{len(tasks)} of {manifest.tasks} tasks are left, and in an order of their own their "
                f"indexes begin at 0 again: task 0 would be what task {tasks[0]} was",
                code="indexes-restart",
                hint="say that the program does not mind (`--renumber`, renumber=True); a matrix keeps rows "
                "with their tasks",
                tasks=list(tasks),
            )
        matrix = manifest.matrix
        sources: Sources = ()
        if matrix is not None and some:
            matrix, sources = yield from self._rows_of(matrix, manifest.tasks, tasks)
        request = _same(
            before, price=price, wait_seconds=wait_seconds, deliver_seconds=deliver_seconds
        ).model_copy(update={"matrix": matrix, "tasks": len(tasks), "lot": None})
        return Rest((yield from self.quote_request(request, sources)), tasks)

    def _rows_of(
        self, matrix: InputFile, count: int, tasks: tuple[int, ...]
    ) -> Operation[tuple[InputFile, Sources]]:
        """The matrix of these tasks alone, as the service has kept it."""
        scratch = self.scratch()
        whole = scratch / f"whole-{matrix.sha256}"
        yield from self.send_signed_in(
            Download(f"/v1/blobs/{matrix.sha256}", whole, matrix.sha256, matrix.size)
        )

        def write() -> InputFile:
            rows = from_lines(whole.read_bytes(), count)
            return write_matrix([rows[task] for task in tasks], scratch)

        fewer: InputFile = yield Work(write)
        return fewer, ((fewer, scratch / fewer.sha256),)


def _same(
    before: wire.BidQuote, *, price: Money | None, wait_seconds: int, deliver_seconds: int | None
) -> wire.BidQuoteRequest:
    """What asks for the same tasks again. price: None means what the bid offered in an auction."""
    manifest = before.manifest
    return wire.BidQuoteRequest(
        customer=before.customer,
        kind=before.kind,
        product=before.product,
        image=manifest.image,
        image_archive=before.image_archive,
        command=manifest.command,
        environment=manifest.environment,
        parameters=manifest.parameters,
        inputs=manifest.inputs,
        matrix=manifest.matrix,
        tasks=before.tasks,
        lot=before.lot,
        replicas=before.replicas,
        determinism="exact" if manifest.determinism == "exact" else "none",
        price=before.price if price is None and before.kind == "auction" else price,
        wait_seconds=wait_seconds,
        deliver_seconds=deliver_seconds,
        whole=before.whole,
        providers=before.providers,
        isolation=manifest.isolation,
        hosts=manifest.hosts,
        secrets=manifest.secrets,
    )


def undone(receipt: Receipt) -> tuple[int, ...]:
    """Indexes of the tasks that nobody was paid for."""
    done = {
        task.index
        for lot in receipt.lots
        if lot.outcome == "settled"
        for task in lot.tasks
        if lot.deal.pays_for(task.status)
    }
    return tuple(index for index in range(receipt.order.tasks) if index not in done)
