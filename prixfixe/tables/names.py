"""The names of a table's columns."""

from __future__ import annotations

from collections.abc import Sequence

from prixfixe.errors import InvalidInput

MAX_COLUMNS = 16_384
"""Columns of a table: as many as a sheet has."""


def check_names(file: str, names: Sequence[str]) -> tuple[str, ...]:
    """InvalidInput for a header with a name twice or with more names than a sheet has columns."""
    if len(names) > MAX_COLUMNS:
        raise InvalidInput(
            f"the header of {file} has {len(names):,} columns, and a table may have {MAX_COLUMNS:,}",
            hint="leave out columns that are not used",
            file=file,
            row=0,
            column=names[MAX_COLUMNS],
            value=len(names),
        )
    seen: dict[str, int] = {}
    for position, column in enumerate(names, start=1):
        if column and column in seen:
            raise InvalidInput(
                f"the header of {file} has {column!r} twice, as column {seen[column]} and column {position}",
                hint="rename one of them",
                file=file,
                row=0,
                column=column,
                value=column,
            )
        seen[column] = position
    return tuple(names)
