"""Makes the tables anew from the chain and the archive, into a store that has none of it.

The indexer itself reads the chain from the market's first block. Before an event needs an order, a result or
a batch that the chain knows by its hash alone, its document is brought, if it has that very hash; what is
not there, or is something else, is said and left out, never invented.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update

from marketplace import blobs as blob_rights
from marketplace.archive import Archive
from marketplace.batches import row_of
from marketplace.blobs import Blobs
from marketplace.store import states, transitions
from marketplace.store.database import Store
from marketplace.store.openings import attempt_id
from marketplace.store.reports import UNTOLD, lots_ended
from marketplace.store.tables import (
    attempts,
    batches,
    blobs,
    bundles,
    deals,
    jobs,
    lots,
    offers,
    quotes,
    transactions,
)
from marketplace.store.upsert import insert_missing
from prixfixe.chain import events
from prixfixe.chain.client import MarketClient
from prixfixe.chain.events import MarketEvent
from prixfixe.errors import NotFound, PrixfixeError
from prixfixe.market.batch import Batch
from prixfixe.protocol.canonical import canonical_digest
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.orders import order_from_json
from prixfixe.protocol.outputs import lot_root
from prixfixe.protocol.reports import TaskReport
from prixfixe.protocol.typed_data import format_bytes32, parse_bytes32
from prixfixe.protocol.wire import Reason
from scheduler.indexer import Indexer, IndexerSettings, Read

log = logging.getLogger(__name__)

_LOST: Final = Reason(
    code="store-lost",
    message="the service lost its store before a worker was found",
    hint="nothing was charged for it; order again",
    fault="platform",
)


@dataclass(frozen=True, slots=True)
class Missing:
    """What was not found, and of which order, deal or batch."""

    what: str
    of: str


class Rebuilder(Indexer):
    """An indexer of an empty store. up_to: the last block that it reads; None: the newest."""

    def __init__(
        self,
        store: Store,
        market: MarketClient,
        settings: IndexerSettings,
        archive: Archive,
        stored: Blobs,
        up_to: int | None = None,
    ) -> None:
        super().__init__(store, market, settings)
        self._archive: Final = archive
        self._stored: Final = stored
        self._up_to: Final = up_to
        self.missing: list[Missing] = []

    def rebuild(self) -> None:
        """All of it. Unavailable when the chain is out of reach: start over with an empty store then."""
        with self.store.write() as connection:
            self._restore_blobs(connection)
            for document in self._archive.bundles():
                self._restore_bundle(connection, document)
        self.run_once()
        with self.store.write() as connection:
            # What is open is looked at by the duties again; nothing of a wish is known any more.
            connection.execute(delete(transactions))

    def end_waiting(self) -> int:
        """End the lots that nobody has: whether their customer cancelled them is not known any more."""
        with self.store.write() as connection:
            waiting = connection.execute(select(lots.c.job, lots.c.lot).where(lots.c.state == "free")).all()
            for row in waiting:
                transitions.lot_ended(connection, row.job, row.lot, _LOST, states.LOT_GIVEN_UP)
        return len(waiting)

    def _last(self, head: int) -> int:
        last = super()._last(head)
        return last if self._up_to is None else min(last, self._up_to)

    def _prepare(self, connection: Connection, read: Sequence[Read]) -> None:
        for each in read:
            self._restore(connection, each.event)

    def _restore(self, connection: Connection, event: MarketEvent) -> None:
        """What the event needs and only a document has."""
        match event:
            case events.DealOpened():
                self._restore_order(connection, event)
            case events.Settled():
                self._restore_result(connection, format_bytes32(event.deal), format_bytes32(event.root))
            case events.Refused() | events.Expired():
                self._restore_result(connection, format_bytes32(event.deal), None)
            case events.Cleared():
                self._restore_batch(connection, event.batch)
            case _:
                pass

    # --------------------------------------------------------------------------------------------- documents

    def _restore_blobs(self, connection: Connection) -> None:
        """A row for each file that is there."""
        insert_missing(
            connection,
            blobs,
            [
                {"sha256": each.sha256, "size": each.size, "created_at": each.at}
                for each in self._stored.names()
            ],
        )

    def _restore_bundle(self, connection: Connection, document: Mapping[str, Any]) -> None:
        self._restore_image(connection, document["image"])
        insert_missing(connection, bundles, [document["bundle"]])
        # Until when it lives comes with the chain's event.
        insert_missing(connection, offers, [{**offer, "until": 0} for offer in document["offers"]])

    def _restore_image(self, connection: Connection, row: Mapping[str, Any] | None) -> None:
        """The row of an image that is named; the file itself may be gone, which is said."""
        if row is None:
            return
        if self._stored.kept.size(row["sha256"]) is None:
            self._miss("the image", row["sha256"])
        insert_missing(connection, blobs, [dict(row)])

    def _restore_order(self, connection: Connection, event: events.DealOpened) -> None:
        job = format_bytes32(event.order)
        if connection.execute(select(jobs.c.id).where(jobs.c.id == job)).first() is not None:
            return
        document = self._archive.order(job)
        if document is None:
            self._miss("the order", job)
            return
        row, quote = document["job"], document["quote"]
        order = order_from_json(row["order"])
        if order.digest(self._market.domain) != event.order or canonical_digest(row["manifest"]) != order.job:
            self._miss("the order (its document is another one)", job)
            return
        offer = select(offers.c.offer_id).where(offers.c.offer_id == row["offer_id"])
        if row["offer_id"] is not None and connection.execute(offer).first() is None:
            self._miss("the bundle of the order", job)
            return
        self._restore_image(connection, document["image"])
        insert_missing(connection, quotes, [quote])
        transitions.job_placed(
            connection,
            job=job,
            quote=row["quote"],
            order=order,
            signature=row["signature"],
            manifest=row["manifest"],
            terms=transitions.OrderTerms(
                kind=row["kind"],
                product=parse_bytes32(row["product"]),
                replicas=row["replicas"],
                image_archive=row["image_archive"],
                whole=row["whole"],
                providers=None if row["providers"] is None else tuple(row["providers"]),
                channel=row.get("channel"),  # orders of before have none
            ),
        )
        own = {"number": row["number"], "created_at": row["created_at"]}
        connection.execute(update(jobs).where(jobs.c.id == job).values(**own))
        files = [*row["manifest"].get("inputs", ()), *filter(None, [row["manifest"].get("matrix")])]
        self._grant(connection, [file["sha256"] for file in files], row["customer"], "an input of", job)

    def _restore_result(self, connection: Connection, deal: str, root: str | None) -> None:
        """What the workers of a deal reported. root: that was paid."""
        found = select(deals).where(deals.c.id == deal, deals.c.state == "open")
        row = connection.execute(found).mappings().one_or_none()
        if row is None:
            return
        document = self._archive.result(deal, row["opening"])
        told = [] if document is None else document["attempts"]
        paid = [each for each in told if root is not None and _root_of(each) == root]
        if root is not None and not paid:
            self._miss("the leaves under the root that was paid for", deal)
            return
        for each in told:
            if root is not None and each not in paid and each["state"] == "succeeded":
                continue  # says something else than the chain paid for
            key = attempt_id(deal, row["opening"], each["worker"])
            values = dict(each)
            if each["state"] in states.ATTEMPT.reasoned and each["reason"] is None:  # before each had one
                values["reason"] = UNTOLD.model_dump(mode="json")
            connection.execute(update(attempts).where(attempts.c.id == key).values(**values))
        if told:
            lots_ended(connection, {(row["job"], row["lot"]): (paid or told)[-1]["tasks"]})
        customer = connection.execute(select(jobs.c.customer).where(jobs.c.id == row["job"])).scalar_one()
        files = [file for each in paid for task in each["tasks"] for file in task["outputs"]["files"]]
        self._grant(connection, [file["sha256"] for file in files], customer, "an output of", deal)

    def _restore_batch(self, connection: Connection, digest: bytes) -> None:
        name = digest.hex()
        if connection.execute(select(batches.c.digest).where(batches.c.digest == "0x" + name)).first():
            return
        try:
            content = self._stored.find(name).read()
        except NotFound:
            content = b""
        if sha256_hex(content) != name:
            self._miss("the publication of the batch", "0x" + name)
            return
        batch = Batch.from_json(json.loads(content))
        assert batch.cleared.price is not None  # or there was nothing to clear
        newest = select(func.coalesce(func.max(batches.c.position), 0))
        position = int(connection.execute(newest).scalar_one()) + 1
        row = row_of(batch, batch.cleared.price, name)
        connection.execute(insert(batches).values(position=position, **row))

    def _grant(self, connection: Connection, names: list[str], reader: str, what: str, of: str) -> None:
        there = set(blob_rights.known_sizes(connection, names))
        for name in dict.fromkeys(names):
            if name not in there:
                self._miss(f"{what} (blob {name})", of)
        blob_rights.grant(connection, [name for name in names if name in there], reader)

    def _miss(self, what: str, of: str) -> None:
        self.missing.append(Missing(what, of))


def _root_of(attempt: Mapping[str, Any]) -> str | None:
    """The root over the leaves that an attempt's document has; None when they are no leaves."""
    try:
        reports = [TaskReport.model_validate(task) for task in attempt["tasks"]]
        return format_bytes32(lot_root((task.status, task.outputs.digest) for task in reports))
    except (PrixfixeError, ValueError):
        return None
