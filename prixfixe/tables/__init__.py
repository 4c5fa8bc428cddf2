"""Tables with declared types: the one reader of the client's preflight and of the table bundles' images.

Column types come from the form and are never guessed: account `00123` stays `00123`, money stays exact.
Reading needs the extra `tables` (DuckDB, imported when first used); declaring types and parsing a form
needs nothing. An image carries this package and `prixfixe.errors`, and nothing else of Prixfixe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prixfixe.tables.columns import ColumnType, parse_type
    from prixfixe.tables.reader import CsvTable, Dialect, Engine
    from prixfixe.tables.request import PivotRequest, ValueRequest
    from prixfixe.tables.source import Source, open_table
    from prixfixe.tables.survey import Preflight, preflight
    from prixfixe.tables.table import Table

_HOME = {
    "ColumnType": "columns",
    "parse_type": "columns",
    "Preflight": "survey",
    "preflight": "survey",
    "CsvTable": "reader",
    "Dialect": "reader",
    "Engine": "reader",
    "PivotRequest": "request",
    "ValueRequest": "request",
    "Source": "source",
    "open_table": "source",
    "Table": "table",
}

__all__ = [
    "ColumnType",
    "CsvTable",
    "Dialect",
    "Engine",
    "PivotRequest",
    "Preflight",
    "Source",
    "Table",
    "ValueRequest",
    "open_table",
    "parse_type",
    "preflight",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
