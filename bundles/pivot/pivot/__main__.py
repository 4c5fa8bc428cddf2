"""The image's command: read /job, write /job/outputs, end with the exit code that says whose fault it was."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import duckdb

from pivot.controls import ControlMismatch
from pivot.job import refusal, run, say
from prixfixe.errors import InvalidInput
from prixfixe.tables.reader import Engine
from prixfixe.tables.request import BadParameters
from prixfixe.tables.table import NoRoom

WRONG_PARAMETERS, WRONG_DATA, OUR_FAULT = 64, 65, 70


def main(job: Path = Path("/job")) -> int:
    """Run the job in the folder `job`; returns the exit code."""
    try:
        parameters = json.loads((job / "parameters.json").read_bytes())
        task = json.loads((job / "task.json").read_bytes())
        files = sorted(path for path in (job / "inputs").iterdir() if path.is_file())
        if len(files) != 1:
            raise InvalidInput(f"a pivot takes one table, and {len(files)} were given", hint="give one file")
        outcome = run(
            files[0],
            parameters,
            job / "outputs",
            engine=_engine(),
            limit_units=task.get("limit_units"),
            progress=say,
        )
    except BadParameters as error:
        print(refusal(error), file=sys.stderr)
        return WRONG_PARAMETERS
    except InvalidInput as error:
        _clear(job / "outputs")
        print(refusal(error), file=sys.stderr)
        return WRONG_DATA
    except ControlMismatch as error:
        _clear(job / "outputs")
        print(f"control totals differ, nothing is delivered: {error}", file=sys.stderr)
        return OUR_FAULT
    except NoRoom as error:
        _clear(job / "outputs")
        print(f"the run needs more disk than its limit, nothing is delivered: {error}", file=sys.stderr)
        return OUR_FAULT
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        _clear(job / "outputs")
        first = (str(error).splitlines() or ["out of memory"])[0]
        print(f"the run needs more memory than its limit, nothing is delivered: {first}", file=sys.stderr)
        return OUR_FAULT
    for sentence in outcome.sentences:
        print(sentence)
    return 0


def _engine() -> Engine:
    """Half of the container's memory for DuckDB: the rest is Python's, and /tmp, where it spills, is memory
    too."""
    memory = int(os.environ.get("PRIXFIXE_MEMORY_MIB", "2048"))
    threads = max(1, int(float(os.environ.get("PRIXFIXE_CPUS", "1"))))
    return Engine(threads=threads, memory_mib=max(128, memory // 2), spill=Path("/tmp"))


def _clear(outputs: Path) -> None:
    for path in outputs.iterdir():
        path.unlink()


if __name__ == "__main__":
    sys.exit(main())
