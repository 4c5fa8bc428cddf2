"""The image's command: one table in, the pivot out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pivot.job import run
from prixfixe.errors import InvalidInput
from prixfixe.tables.container import main, say
from prixfixe.tables.reader import Engine


def work(
    files: Sequence[Path], parameters: Mapping[str, Any], outputs: Path, engine: Engine, limit: int | None
) -> Sequence[str]:
    if len(files) != 1:
        raise InvalidInput(f"a pivot takes one table, and {len(files)} were given", hint="give one file")
    return run(files[0], parameters, outputs, engine=engine, limit_units=limit, progress=say).sentences


if __name__ == "__main__":
    sys.exit(main(work))
