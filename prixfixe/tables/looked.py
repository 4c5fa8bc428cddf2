"""What `looking` leaves behind, by name: for who runs it in a cage and has no DuckDB."""

from __future__ import annotations

from typing import Final

FOUND: Final = "found.json"
"""Its answer, in the folder of outputs."""

TABLE: Final = "table.parquet"
"""The typed table, where there is one."""

MAX_FOUND_BYTES: Final = 512 << 10
