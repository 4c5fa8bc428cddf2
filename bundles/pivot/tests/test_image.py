"""The image, run as a worker runs it: no network, read-only, no privileges."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter  # type: ignore[import-untyped]  # ships no types

from prixfixe.cli.bundle_image import build_image
from prixfixe.protocol.bundle import load
from prixfixe.testing.determinism import MASKED_PROCESSOR

pytestmark = pytest.mark.engine

FOLDER = Path(__file__).parents[1]
HEADER = b"account,year,amount\n"
PARAMETERS: dict[str, Any] = {
    "rows": ["account"],
    "columns": ["year"],
    "values": [{"column": "amount", "aggregates": ["sum"]}],
}


@pytest.fixture(scope="module")
def image() -> str:
    return build_image(FOLDER)


class Run:
    """One container that has ended."""

    def __init__(
        self,
        image: str,
        job: Path,
        *,
        cpus: str = "2",
        memory: int = 1024,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        words = ["docker", "run", "--rm", "--network", "none", "--read-only", "--user", "65532:65532"]
        words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "128"]
        words += ["--memory", f"{memory}m", "--memory-swap", f"{memory}m", "--cpus", cpus]
        words += ["--tmpfs", "/tmp:rw,size=256m", "--env", f"PRIXFIXE_CPUS={cpus}", "--env", "HOME=/tmp"]
        words += ["--env", f"PRIXFIXE_MEMORY_MIB={memory}"]
        for name, value in (environment or {}).items():
            words += ["--env", f"{name}={value}"]
        for name in ("inputs", "parameters.json", "task.json"):
            words += ["--volume", f"{job / name}:/job/{name}:ro"]
        words += ["--volume", f"{job / 'outputs'}:/job/outputs", image, *load(FOLDER).command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.files = {path.name: path.read_bytes() for path in sorted((job / "outputs").iterdir())}

    @property
    def refusal(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.err.strip().splitlines()[-1])
        return document


@pytest.fixture
def start(image: str, tmp_path: Path) -> Callable[..., Run]:
    def run(
        table: bytes,
        parameters: dict[str, Any] = PARAMETERS,
        limit: int | None = None,
        name: str = "table.csv",
        **how: Any,
    ) -> Run:
        job = tmp_path / f"job{len(list(tmp_path.iterdir()))}"
        for folder in (job, job / "inputs", job / "outputs"):
            folder.mkdir()
        (job / "inputs" / name).write_bytes(table)
        (job / "parameters.json").write_text(json.dumps(parameters))
        (job / "task.json").write_text(json.dumps({"index": 0, "count": 1, "limit_units": limit}))
        os.chmod(job / "outputs", 0o777)
        for path in (tmp_path, job, job / "inputs"):
            os.chmod(path, 0o755)
        return Run(image, job, **how)

    return run


def test_a_table_becomes_a_workbook_a_csv_and_totals(start: Callable[..., Run]) -> None:
    run = start(HEADER + b"a,2023,1.50\na,2024,2\nb,2024,-1\n")
    assert (run.code, sorted(run.files)) == (0, ["control.json", "pivot.csv", "pivot.parquet", "pivot.xlsx"])
    assert run.files["pivot.csv"] == (
        b"account,2023 / sum(amount),2024 / sum(amount)\r\na,1.50,2.00\r\nb,,-1.00\r\n"
    )
    assert "Sum of amount over the table: 2.50 = sum over the cells: 2.50." in run.out
    shares = [float(share) for share in re.findall(r"^progress: (\d\.\d\d) ", run.err, re.M)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_cpus_memory_and_an_older_processor_change_no_byte(start: Callable[..., Run]) -> None:
    table = HEADER + b"".join(
        b"%05d,%d,%d.%02d\n" % (n % 977, 2000 + n % 20, n, n % 100) for n in range(200_000)
    )
    small = start(table, cpus="1", memory=512)
    large = start(table, cpus="2", memory=2048, environment=MASKED_PROCESSOR)
    assert small.code == 0, small.err
    assert small.files == large.files


def test_wrong_data_ends_with_65_and_one_json_line_with_the_place(start: Callable[..., Run]) -> None:
    run = start(HEADER + b"a,2023,1.50\na,2024,abc\n")
    assert (run.code, run.files) == (65, {})
    assert run.refusal == {
        "code": "invalid-input",
        "message": (
            "row 2 of table.csv (line 3): amount is 'abc', and decimal is a number with a point, "
            "at most 18 digits before it and 10 after it"
        ),
        "hint": (
            "if 'abc' means \"no value\", declare it as a null value (--null-values abc); "
            "else correct the cell"
        ),
        "file": "table.csv",
        "row": 2,
        "column": "amount",
        "value": "abc",
    }


def workbook(path: Path, cells: int, length: int) -> bytes:
    """A workbook with so many cells that point at one text of so many letters."""
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ("account", "year", "amount"))
    for row in range(1, cells + 1):
        sheet.write_row(row, 0, ("x" * length, 2024, 1))
    book.close()
    return path.read_bytes()


def test_a_workbook_is_loaded_by_a_process_of_its_own_and_one_made_to_do_harm_ends_only_that(
    start: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("books") / "table.xlsx"
    good = start(workbook(path, 20_000, 2_000), name=path.name)
    assert good.code == 0, good.err
    assert good.files["pivot.csv"].endswith(b",20000\r\n")
    bad = start(workbook(path, 60_000, 32_000), name=path.name, memory=512)
    assert (bad.code, bad.files) == (70, {})
    assert "needs more memory than its limit" in bad.err


def test_a_missing_column_ends_with_65(start: Callable[..., Run]) -> None:
    run = start(b"account,year\na,2023\n")
    assert (run.code, run.refusal["column"]) == (65, "amount")


def test_more_rows_than_were_paid_for_end_with_65(start: Callable[..., Run]) -> None:
    run = start(HEADER + b"a,2023,1\n" * 3, limit=2)
    assert (run.code, run.refusal["code"]) == (65, "above-tier")


def test_wrong_parameters_end_with_64(start: Callable[..., Run]) -> None:
    run = start(HEADER + b"a,2023,1\n", {**PARAMETERS, "rows": []})
    assert (run.code, run.refusal["code"]) == (64, "invalid-parameters")


def test_the_image_is_not_built_twice_from_the_same_files(image: str) -> None:
    assert build_image(FOLDER, say=lambda line: pytest.fail(f"it said: {line}")) == image
