"""`prixfixe admin rebuild`: proves a store by making its tables anew beside it, or fills an empty one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from marketplace.archive import Archive
from marketplace.store.database import Store
from marketplace.store.tables import chain_events, cursor, jobs
from prixfixe.chain.client import MarketClient
from prixfixe.errors import Conflict, NotFound
from scheduler import checks
from scheduler.comparing import Difference, differences, facts
from scheduler.indexer import CURSOR, IndexerSettings
from scheduler.rebuild import Missing, Rebuilder
from scheduler.status import open_blobs

_MOST_SHOWN: Final = 80  # characters of a value that differs


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """block: up to which the chain was read. facts: how many it gave. differences: from the present store,
    none when there was none. missing: what the archive or the blobs do not have. ended: lots that waited for
    a worker and do not any more, since the store was lost."""

    block: int
    facts: int
    differences: tuple[Difference, ...]
    missing: tuple[Missing, ...]
    ended: int = 0

    @property
    def is_whole(self) -> bool:
        return not self.differences and not self.missing

    def to_text(self) -> str:
        """For people: a line for each thing that is wrong, then the sum."""
        lines = [
            f"{each.table}: {each.what}: here {_shown(each.present)}, rebuilt {_shown(each.rebuilt)}"
            for each in self.differences
        ]
        lines += [f"missing: {each.what} {each.of}" for each in self.missing]
        if self.ended:
            lines.append(f"{self.ended} lots that waited for a worker were ended: order them again")
        wrong = f"{len(self.differences)} differences, {len(self.missing)} documents or blobs missing"
        outcome = "all equal, nothing missing" if self.is_whole else wrong
        lines.append(f"read up to block {self.block}: {self.facts} facts, {outcome}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "block": self.block,
            "facts": self.facts,
            "differences": [
                {"table": each.table, "what": each.what, "present": each.present, "rebuilt": each.rebuilt}
                for each in self.differences
            ],
            "missing": [{"what": each.what, "of": each.of} for each in self.missing],
            "ended": self.ended,
        }


def run(
    data: Path,
    database: str | None,
    blobs: str | None,
    rpc: str,
    contract: str | None,
    deployment: Path | None,
    *,
    write: bool,
) -> Rebuilt:
    """What the command does. blobs: address of the store of files; None: they are in `data`. NotFound without
    a store to compare, Conflict with one that is not empty."""
    file = data / "prixfixe.db"
    if database is None and not write and not file.exists():
        raise NotFound(
            f"there is no service's store in {data}",
            hint="name the service's folder with --data; a store that was lost is filled with --write",
        )
    with ExitStack() as closing:
        client, manifest = checks.open_market(rpc, contract, deployment, 0.0, closing)
        start = checks.first_block(client, manifest)
        address = database or f"sqlite:///{file.absolute()}"
        if write:
            checks.lock(data, address, closing)
        store = Store(address)
        closing.callback(store.close)
        return (restore if write else prove)(store, client, start, data, blobs)


def prove(
    store: Store,
    market: MarketClient,
    start_block: int,
    data: Path,
    blobs: str | None = None,
    fresh_at: Callable[[Path], Store] = Store.at,
) -> Rebuilt:
    """Make all that can be made from chain and archive in a store of its own, and compare it with this one,
    as of the block that this one has read. NotFound when it has read none. fresh_at: makes that store."""
    with store.read() as connection:
        position = connection.execute(
            select(cursor.c.block).where(cursor.c.name == CURSOR)
        ).scalar_one_or_none()
        present = facts(connection)
        known = set(connection.execute(select(jobs.c.id)).scalars())
    if position is None:
        raise NotFound(
            "this store has not read the chain yet: there is nothing to compare",
            hint="fill a store that was lost with --write",
        )
    with tempfile.TemporaryDirectory(prefix="prixfixe-rebuild-") as folder:
        fresh = fresh_at(Path(folder) / "rebuilt.db")
        try:
            fresh.migrate()
            rebuilder = _rebuilder(fresh, market, start_block, data, blobs, position)
            rebuilder.rebuild()
            with fresh.read() as connection:
                rebuilt = facts(connection)
        finally:
            fresh.close()
    # Orders of somebody else's market on the same contract are no loss of this store.
    missing = [each for each in rebuilder.missing if each.what != "the order" or each.of in known]
    return Rebuilt(position, len(rebuilt), tuple(differences(present, rebuilt)), tuple(missing))


def restore(
    store: Store, market: MarketClient, start_block: int, data: Path, blobs: str | None = None
) -> Rebuilt:
    """Fill a store that was lost. Conflict when it holds anything of a market."""
    store.migrate()
    with store.read() as connection:
        for table in (jobs, chain_events):
            if connection.execute(select(table).limit(1)).first() is not None:
                raise Conflict(
                    f"this store is not empty: it has {table.name.replace('_', ' ')}",
                    code="store-not-empty",
                    hint="move it away first (`prixfixe.db` in the data folder), or name an empty --database",
                )
    rebuilder = _rebuilder(store, market, start_block, data, blobs, None)
    rebuilder.rebuild()
    ended = rebuilder.end_waiting()
    with store.read() as connection:
        position = connection.execute(select(cursor.c.block)).scalar_one()
        found = len(facts(connection))
    return Rebuilt(position, found, (), tuple(rebuilder.missing), ended)


def _rebuilder(
    store: Store, market: MarketClient, start_block: int, data: Path, blobs: str | None, up_to: int | None
) -> Rebuilder:
    stored = open_blobs(data, store, blobs)
    return Rebuilder(store, market, IndexerSettings(start_block), Archive(data / "archive"), stored, up_to)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."
