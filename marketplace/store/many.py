"""One statement for many rows: how their values are bound is found out once, not of each value of each row,
which takes longer than the database does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Connection, Dialect, Insert, Update

_REMEMBERED: Final = 512


class _Bind(NamedTuple):
    """A parameter. process: makes the driver's value of ours; None: it is the same. standing: the statement's
    own value gives it, in every row."""

    name: str
    process: Callable[[Any], Any] | None
    standing: Callable[[], Any] | None


class _Made(NamedTuple):
    text: str
    binds: tuple[_Bind, ...]
    positional: bool


def execute_each(
    connection: Connection, statement: Insert | Update, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Execute a statement with each of `rows`, which have the same names; how many it wrote or changed in
    all. statement: one that was made once (it is remembered) and whose parameters are single values."""
    if not rows:
        return 0
    made = _make(statement, connection.dialect, tuple(rows[0]))
    values = zip(*(_column(bind, rows) for bind in made.binds), strict=False)
    if made.positional:
        return connection.exec_driver_sql(made.text, list(values)).rowcount
    names = [bind.name for bind in made.binds]
    return connection.exec_driver_sql(
        made.text, [dict(zip(names, row, strict=True)) for row in values]
    ).rowcount


def _column(bind: _Bind, rows: Sequence[Mapping[str, Any]]) -> Iterable[Any]:
    name, process, standing = bind
    if standing is not None:
        value = standing()
        return repeat(value if process is None else process(value), len(rows))
    if process is None:
        return [row[name] for row in rows]
    return [process(row[name]) for row in rows]


@lru_cache(maxsize=_REMEMBERED)
def _make(statement: Insert | Update, dialect: Dialect, names: tuple[str, ...]) -> _Made:
    compiled = statement.compile(dialect=dialect, column_keys=list(names), for_executemany=True)
    if compiled.post_compile_params:
        raise TypeError(f"a parameter of this statement is not a single value: {compiled.string}")
    if compiled.update_prefetch:
        raise TypeError(f"a column of this statement is set with every update: {compiled.string}")
    defaults = {column.key: column for column in compiled.insert_prefetch}
    order = compiled.positiontup if compiled.positional else list(compiled.binds)
    binds = []
    for name in order or ():
        bind = compiled.binds[name]
        standing = None
        if name in defaults:
            standing = _default(defaults[name])
        elif name not in names:
            if bind.required:
                raise TypeError(f"no value for {name} in {compiled.string}")
            standing = lambda bind=bind: bind.effective_value  # noqa: E731
        process = bind.type.dialect_impl(dialect).bind_processor(dialect)
        binds.append(_Bind(name, process, standing))
    return _Made(compiled.string, tuple(binds), compiled.positional)


def _default(column: Column[Any]) -> Callable[[], Any]:
    """The same in every row: nothing that counts, or tells the time."""
    default: Any = column.default
    return (lambda: default.arg(None)) if default.is_callable else (lambda: default.arg)
