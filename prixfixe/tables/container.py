"""The frame of a table bundle's image: read /job, write /job/outputs, end with the code for whose fault
it was."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from prixfixe.errors import InvalidInput
from prixfixe.tables.reader import Engine
from prixfixe.tables.source import BadParameters
from prixfixe.tables.table import NoRoom, ReaderKilled, disk_errors

WRONG_PARAMETERS, WRONG_DATA, OUR_FAULT = 64, 65, 70

Work = Callable[[Sequence[Path], Mapping[str, Any], Path, Engine, int | None], Sequence[str]]
"""(input files, parameters, folder for outputs, engine, units that were paid for) -> sentences to print."""


class ControlMismatch(Exception):
    """What came out is not what went in: our bug, and nothing is delivered. Carries what failed."""


def main(work: Work, job: Path = Path("/job")) -> int:
    """Run `work` in the folder `job`; returns the exit code. Without 0 no output is left."""
    try:
        parameters = json.loads((job / "parameters.json").read_bytes())
        task = json.loads((job / "task.json").read_bytes())
        files = sorted(path for path in (job / "inputs").iterdir() if path.is_file())
        with disk_errors():
            sentences = work(files, parameters, job / "outputs", engine_here(), task.get("limit_units"))
    except BadParameters as error:
        return _ended(job, WRONG_PARAMETERS, refusal(error))
    except InvalidInput as error:
        return _ended(job, WRONG_DATA, refusal(error))
    except ControlMismatch as error:
        return _ended(job, OUR_FAULT, f"control totals differ, nothing is delivered: {error}")
    except NoRoom as error:
        return _ended(
            job, OUR_FAULT, f"the run needs more disk than its limit, nothing is delivered: {error}"
        )
    except (duckdb.OutOfMemoryException, MemoryError, ReaderKilled) as error:
        first = (str(error).splitlines() or ["out of memory"])[0]
        return _ended(
            job, OUR_FAULT, f"the run needs more memory than its limit, nothing is delivered: {first}"
        )
    for sentence in sentences:
        print(sentence)
    return 0


def engine_here() -> Engine:
    """Half of the container's memory for DuckDB: the rest is Python's, and /tmp, where it spills, is memory
    too."""
    memory = int(os.environ.get("PRIXFIXE_MEMORY_MIB", "2048"))
    threads = max(1, int(float(os.environ.get("PRIXFIXE_CPUS", "1"))))
    return Engine(threads=threads, memory_mib=max(128, memory // 2), spill=Path("/tmp"))


def refusal(error: InvalidInput) -> str:
    """The last line of stderr when the customer's input is refused."""
    fields = {"code": error.code, "message": error.message, "hint": error.hint}
    fields |= {name: error.values.get(name) for name in ("file", "row", "column", "value")}
    return json.dumps(fields, ensure_ascii=False)


def say(share: float, text: str) -> None:
    """A progress line for the market to read."""
    print(f"progress: {share:.2f} {text}", file=sys.stderr, flush=True)


def _ended(job: Path, code: int, text: str) -> int:
    for path in (job / "outputs").iterdir():
        path.unlink()
    print(text, file=sys.stderr)
    return code
