"""The application is imported as it is in the image: from its own folder."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from pivot.job import Outcome, run

from prixfixe.tables import Engine


@dataclass(frozen=True)
class Result:
    """A finished run: its folder and its outcome."""

    folder: Path
    outcome: Outcome

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    @property
    def table(self) -> list[list[str]]:
        with (self.folder / "pivot.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file, strict=True))

    @property
    def control(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "control.json").read_bytes())
        return document


Pivot = Callable[..., Result]


@pytest.fixture
def pivot(tmp_path_factory: pytest.TempPathFactory) -> Pivot:
    """Runs the application on a table given as bytes, as rows of cells, or as a path."""

    def start(
        table: bytes | Path | Sequence[Sequence[str]],
        *,
        threads: int = 2,
        limit: int | None = None,
        **parameters: Any,
    ) -> Result:
        folder = tmp_path_factory.mktemp("job")
        path = folder / "table.csv"
        if isinstance(table, Path):
            path = table
        elif isinstance(table, bytes):
            path.write_bytes(table)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(table)
        outputs, spill = folder / "outputs", folder / "spill"
        outputs.mkdir()
        spill.mkdir()
        engine = Engine(threads=threads, memory_mib=512, spill=spill)
        outcome = run(path, parameters, outputs, engine=engine, limit_units=limit)
        assert list(spill.iterdir()) == [], "nothing is left in the scratch folder"
        return Result(outputs, outcome)

    return start
