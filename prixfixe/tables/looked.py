"""Names that readers of tables share with who has no DuckDB: what `looking` takes and leaves behind."""

from __future__ import annotations

from typing import Final

FOUND: Final = "found.json"
"""Its answer, in the folder of outputs."""

TABLE: Final = "table.parquet"
"""The typed table, where there is one."""

MAX_FOUND_BYTES: Final = 512 << 10

SOURCE_PARAMETERS: Final = frozenset(
    (
        *("delimiter", "quote", "encoding", "decimal", "thousands", "date_format"),
        *("sheet", "header_row", "header_rows"),
    )
)
"""Those of a bundle's parameters that say how a table is written."""
