"""The image's command: tables in, parts out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prixfixe.errors import InvalidInput
from prixfixe.tables.container import main, say
from prixfixe.tables.reader import Engine
from split.job import run


def work(
    files: Sequence[Path], parameters: Mapping[str, Any], outputs: Path, engine: Engine, limit: int | None
) -> Sequence[str]:
    if not files:
        raise InvalidInput("no table was given", hint="give one file or more")
    return run(files, parameters, outputs, engine=engine, limit_units=limit, progress=say).sentences


if __name__ == "__main__":
    sys.exit(main(work))
