"""Tables with declared types: the one reader of the client's preflight and of the table bundles' images.

Column types come from the form and are never guessed: account `00123` stays `00123`, money stays exact. This
package needs the extra `tables` (DuckDB), and `prixfixe.errors`; an image carries these two and nothing else
of Prixfixe.
"""

from prixfixe.tables.columns import ColumnType, parse_type
from prixfixe.tables.preflight import Preflight, preflight
from prixfixe.tables.reader import CsvTable, Dialect
from prixfixe.tables.request import PivotRequest, ValueRequest

__all__ = [
    "ColumnType",
    "CsvTable",
    "Dialect",
    "PivotRequest",
    "Preflight",
    "ValueRequest",
    "parse_type",
    "preflight",
]
