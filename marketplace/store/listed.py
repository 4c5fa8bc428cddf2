"""Conditions on lists: one parameter however long the list is, so that the statement is the same each time,
and neither the library nor the database makes it anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Integer, bindparam, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import UserDefinedType

from marketplace.store.engines import write_json


def among(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether a column's value is in the list that is given as `name` when the statement is executed: of
    texts, or of whole numbers, as the column is."""
    kind = _Numbers if isinstance(column.type, Integer) else _Texts
    # An operator: SQLite has no truth values, and of a function's it would not look into an index.
    return column.bool_op("IN")(kind(bindparam(name, type_=_List())))


def pair_among(first: ColumnElement[Any], second: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """As `among`, of pairs of a text and a whole number."""
    return tuple_(first, second).bool_op("IN")(_Pairs(bindparam(name, type_=_List())))


class _List(UserDefinedType[Any]):
    """As JSON: both databases read it in one piece."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return write_json


class _Texts(FunctionElement[Any]):
    name = "texts"
    inherit_cache = True


class _Numbers(FunctionElement[Any]):
    name = "numbers"
    inherit_cache = True


class _Pairs(FunctionElement[Any]):
    name = "pairs"
    inherit_cache = True


@compiles(_Texts, "sqlite")
@compiles(_Numbers, "sqlite")
def _sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **how: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **how)}))"


@compiles(_Pairs, "sqlite")
def _sqlite_pairs(element: _Pairs, compiler: SQLCompiler, **how: Any) -> str:
    first, second = (f"json_extract(value, '$[{at}]')" for at in (0, 1))
    return f"(SELECT {first}, {second} FROM json_each({compiler.process(element.clauses, **how)}))"


@compiles(_Texts, "postgresql")
def _texts(element: _Texts, compiler: SQLCompiler, **how: Any) -> str:
    return f"(SELECT jsonb_array_elements_text({compiler.process(element.clauses, **how)}::jsonb))"


@compiles(_Numbers, "postgresql")
def _numbers(element: _Numbers, compiler: SQLCompiler, **how: Any) -> str:
    return f"(SELECT jsonb_array_elements({compiler.process(element.clauses, **how)}::jsonb)::bigint)"


@compiles(_Pairs, "postgresql")
def _pairs(element: _Pairs, compiler: SQLCompiler, **how: Any) -> str:
    listed = compiler.process(element.clauses, **how)
    return f"(SELECT pair ->> 0, (pair ->> 1)::bigint FROM jsonb_array_elements({listed}::jsonb) AS pair)"
