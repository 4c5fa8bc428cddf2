"""Canaries: tasks of a bundle version whose answer the operator knows. The only module that writes `canaries`
and `canary_files`. Nothing of them is told over HTTP, before or after."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store.tables import canaries, canary_files, checks
from prixfixe.errors import NotFound
from prixfixe.protocol.manifest import InputFile


@dataclass(frozen=True, slots=True)
class Canary:
    """number: 1, 2, ... units: as a customer's preflight would count them. expected: SHA-256 by the path of
    an output file; what it does not name may be anything. removed_at: when the operator took it off, service
    clock; None: it is used."""

    number: int
    bundle: str
    version: str
    parameters: Mapping[str, Any]
    inputs: tuple[InputFile, ...]
    units: int
    expected: Mapping[str, str]
    note: str
    added_at: int
    removed_at: int | None


def canary_added(
    connection: Connection,
    *,
    bundle: str,
    version: str,
    parameters: Mapping[str, Any],
    inputs: Sequence[InputFile],
    units: int,
    expected: Mapping[str, str],
    note: str,
) -> int:
    """One more canary; its number. Its files are kept from now on."""
    newest = select(func.coalesce(func.max(canaries.c.number), 0))
    number = int(connection.execute(newest).scalar_one()) + 1
    connection.execute(
        insert(canaries).values(
            number=number,
            bundle=bundle,
            version=version,
            parameters=dict(parameters),
            units=units,
            expected=dict(expected),
            note=note,
            added_at=int(time.time()),
        )
    )
    connection.execute(
        insert(canary_files),
        [
            {
                "canary": number,
                "position": position,
                "name": each.name,
                "sha256": each.sha256,
                "size": each.size,
            }
            for position, each in enumerate(inputs)
        ],
    )
    return number


def canary_removed(connection: Connection, number: int) -> None:
    """It is bought no more, and its files may go; what it said stays. NotFound when it is not in use."""
    used = canaries.c.number == number, canaries.c.removed_at.is_(None)
    if connection.execute(update(canaries).where(*used).values(removed_at=int(time.time()))).rowcount != 1:
        raise NotFound(f"there is no canary {number}", hint="see `prixfixe admin canary list`")


def canary_of(connection: Connection, number: int) -> Canary:
    """A canary, also one that was removed."""
    row = connection.execute(select(canaries).where(canaries.c.number == number)).mappings().one()
    return _canary(connection, row)


def all_canaries(connection: Connection) -> tuple[Canary, ...]:
    """Those in use and those that were removed, oldest first."""
    rows = connection.execute(select(canaries).order_by(canaries.c.number)).mappings().all()
    return tuple(_canary(connection, row) for row in rows)


def chosen_for(connection: Connection, bundle: str, version: str, provider: str) -> int | None:
    """A canary of a bundle version for a provider: one of those that it was given least often, by chance.
    None when there is none."""
    used = select(canaries.c.number).where(
        canaries.c.bundle == bundle, canaries.c.version == version, canaries.c.removed_at.is_(None)
    )
    numbers = connection.execute(used).scalars().all()
    counted = connection.execute(
        select(checks.c.canary, func.count())
        .where(checks.c.provider == provider, checks.c.drawn, checks.c.canary.in_(numbers))
        .group_by(checks.c.canary)
    ).all()
    given = {row[0]: row[1] for row in counted}
    least = min((given.get(number, 0) for number in numbers), default=0)
    fewest = [number for number in numbers if given.get(number, 0) == least]
    return secrets.choice(fewest) if fewest else None


def _canary(connection: Connection, row: RowMapping) -> Canary:
    files = connection.execute(
        select(canary_files.c.name, canary_files.c.sha256, canary_files.c.size)
        .where(canary_files.c.canary == row["number"])
        .order_by(canary_files.c.position)
    )
    inputs = tuple(InputFile(**each) for each in files.mappings())
    return Canary(**{**row, "inputs": inputs})
