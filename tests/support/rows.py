"""Rows that the tables take, made from what the tables say of themselves."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import JSON, Boolean, CheckConstraint, Column, String, Table


def least(table: Table) -> dict[str, Any]:
    """What a row needs that is where a row begins: a value for each column that may not be NULL, the same in
    all tables, so that one row refers to another."""
    words = {
        column: re.findall(r"'(\w+)'", listed)
        for each in table.constraints
        if isinstance(each, CheckConstraint)
        for column, listed in re.findall(r"^(\w+) IN \((.+)\)$", str(each.sqltext))
    }
    return {
        # A row begins in the first state; the last of other words asks for nothing beside it.
        column.name: words[column.name][0 if column.name == "state" else -1]
        if column.name in words
        else _anything(column)
        for column in table.columns
        if not column.nullable
    }


def _anything(column: Column[Any]) -> Any:
    if isinstance(column.type, JSON):
        return {}
    if isinstance(column.type, Boolean):
        return False
    return "x" if isinstance(column.type, String) else 1
