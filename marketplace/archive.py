"""The archive: documents of what the chain knows only the hashes of, in files beside the blobs: orders and
results many in one (`marketplace.packs`), each published bundle in its own.

An order's document has the signed order, whose digest is its id on the chain, and the job, whose digest the
order names. A result's has the leaves under the root that the contract paid. So nobody has to be believed
when tables are made anew from them. The terms beside an order (how many replicas, which providers) are the
service's own word; that is why documents do not lie among the blobs, where customers put what they like.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, select
from sqlalchemy.engine import RowMapping

from marketplace.blob_stores import flush
from marketplace.blobs import clear_when_full
from marketplace.packs import Packs, parsed
from marketplace.store.engines import json_bytes
from marketplace.store.settling import PAID_STATES
from marketplace.store.tables import attempts, blobs, bundles, deals, jobs, offers, quotes
from marketplace.store.upsert import parts

POSITION: Final = "position.json"
_RESULTS_AT_ONCE: Final = 20  # each may name the outputs of thousands of tasks
_JOB: Final = (
    *("id", "number", "customer", "quote", "kind", "order", "signature", "manifest", "image"),
    *("image_archive", "offer_id", "product", "replicas", "whole", "providers", "created_at", "channel"),
)
_ATTEMPT: Final = (
    *("worker", "state", "status", "seconds", "tasks", "result", "signature", "commitment", "reason"),
    *("cage", "created_at", "started_at", "ended_at"),
)


class Archive:
    """The folder. A document is written whole or not at all, and never changed but by its own kind anew."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self._orders: Final = Packs(folder / "orders")
        self._results: Final = Packs(folder / "results")

    def order(self, job: str) -> dict[str, Any] | None:
        """The document of an order; None when there is none, or not a whole one."""
        return self._orders.get(job) or _alone(self._folder / "orders", job)

    def result(self, deal: str, opening: int) -> dict[str, Any] | None:
        """Of a deal that ended."""
        key = f"{deal}-{opening}"
        return self._results.get(key) or _alone(self._folder / "results", key)

    def bundles(self) -> Iterator[dict[str, Any]]:
        """Of all published versions."""
        for path in sorted((self._folder / "bundles").glob("*.json")):
            if (found := _load(path)) is not None:
                yield found

    def put_orders(self, connection: Connection, of: Sequence[str]) -> None:
        self._orders.put(order_documents(connection, of).items())

    def put_results(self, connection: Connection, of: Sequence[str]) -> set[str]:
        """Of these deals what each opening that ended brought; the deals of which somebody was paid who has
        not reported yet."""
        held = set()

        def told() -> Iterator[tuple[str, dict[str, Any]]]:
            for some in parts(of, _RESULTS_AT_ONCE):
                for (deal, opening), found in results_of(connection, some).items():
                    if not found.whole:
                        held.add(deal)
                    if found.told:
                        document = {"deal": deal, "opening": opening, "attempts": found.attempts}
                        yield f"{deal}-{opening}", document

        self._results.put(told())
        return held

    def put_bundle(self, connection: Connection, bundle: str, version: str) -> None:
        path = self._folder / "bundles" / f"{bundle}-{version}.json"
        _put(path, bundle_document(connection, bundle, version))

    def position(self) -> dict[str, int]:
        """Up to where the tables are in it, as `moved` said last."""
        return _load(self._folder / POSITION) or {}

    def moved(self, position: Mapping[str, int]) -> None:
        _put(self._folder / POSITION, dict(position))


def _put(path: Path, document: dict[str, Any]) -> None:
    """When it returns it is on the disk; it is as it was, or whole, at any moment."""
    content = json_bytes(document)
    with suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return
    # A name of its own: two processes may have the folder while a duty changes hands.
    draft = path.with_name(f".{secrets.token_hex(8)}")
    with clear_when_full():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(content)
            flush(draft)
            os.replace(draft, path)
            flush(path.parent)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)


def order_documents(connection: Connection, of: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of each order: job, quote, and the row of its image."""
    rows = connection.execute(select(jobs).where(jobs.c.id.in_(of))).mappings().all()
    named = {row["quote"] for row in rows}
    quoted = {
        row["id"]: dict(row)
        for row in connection.execute(select(quotes).where(quotes.c.id.in_(named))).mappings()
    }
    images = {name: _image(connection, name) for name in {row["image_archive"] for row in rows}}
    return {
        row["id"]: {
            "job": {name: row[name] for name in _JOB},
            "quote": quoted[row["quote"]],
            "image": images[row["image_archive"]],
        }
        for row in rows
    }


@dataclass(frozen=True, slots=True)
class Reported:
    """Of an opening that ended. attempts: what its workers reported. told: it is known what was paid for.
    whole: everybody who signed that has reported."""

    attempts: list[dict[str, Any]]
    told: bool
    whole: bool


def results_of(connection: Connection, of: Sequence[str]) -> dict[tuple[str, int], Reported]:
    """By deal and opening, of those of these deals that have ended."""
    rows: dict[tuple[str, int], list[RowMapping]] = {}
    for each in connection.execute(select(attempts).where(attempts.c.deal.in_(of))).mappings():
        rows.setdefault((each["deal"], each["opening"]), []).append(each)
    columns = (deals.c.id, deals.c.opening, deals.c.state, deals.c.root)
    ended = select(*columns).where(deals.c.id.in_(of), deals.c.state != "open")
    found = {}
    for row in connection.execute(ended).mappings():
        key = row["id"], row["opening"]
        mine = sorted(rows.get(key, ()), key=lambda each: str(each["worker"]))
        told = [each for each in mine if each["tasks"] is not None]
        if row["state"] in PAID_STATES:
            known = any(_says(each, row) for each in told)
            whole = known and not any(_says(each, row) for each in mine if each["tasks"] is None)
        else:
            known = whole = True
        found[key] = Reported([{name: each[name] for name in _ATTEMPT} for each in told], known, whole)
    return found


def bundle_document(connection: Connection, bundle: str, version: str) -> dict[str, Any]:
    """Of a published version: its definition and its offers."""
    row = _row(connection, bundles, id=bundle, version=version)
    sold = connection.execute(
        select(offers)
        .where(offers.c.bundle == bundle, offers.c.version == version)
        .order_by(offers.c.position)
    )
    # Until when an offer lives is on the chain, and whether a version is quoted is the desk's.
    named = [{name: value for name, value in each.items() if name != "until"} for each in sold.mappings()]
    kept = {name: value for name, value in row.items() if name != "retired_at"}
    return {"bundle": kept, "offers": named, "image": _image(connection, row["image_archive"])}


def _row(connection: Connection, table: Table, **key: Any) -> dict[str, Any]:
    where = [table.c[name] == value for name, value in key.items()]
    return dict(connection.execute(select(table).where(*where)).mappings().one())


def _says(attempt: RowMapping, deal: RowMapping) -> bool:
    return attempt["result"] is not None and attempt["result"]["root"] == deal["root"]


def _alone(folder: Path, key: str) -> dict[str, Any] | None:
    """A document as it was written before there were packs: alone in its file."""
    return _load(folder / key[2:4] / f"{key[2:]}.json")


def _load(path: Path) -> dict[str, Any] | None:
    with suppress(FileNotFoundError):
        return parsed(path.read_bytes())
    return None


def _image(connection: Connection, sha256: str | None) -> dict[str, Any] | None:
    """The row of a blob, for who has the document and not the blob."""
    return None if sha256 is None else _row(connection, blobs, sha256=sha256)
