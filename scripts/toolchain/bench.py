"""`scripts/bench NAME`: one measurement, as a ratio in one run; its last line is one JSON object."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from toolchain import setup, signals
from toolchain.project import ROOT, VENV, ScriptError, environment, say

BENCHMARKS = ROOT / "benchmarks"


def names() -> list[str]:
    return sorted(file.stem for file in BENCHMARKS.glob("*.py"))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Runs one benchmark from benchmarks/. What it prints last on standard output is one JSON"
        " object with name, value, goal and ok. Results are recorded in docs/benchmarks.md.",
        epilog="further options go to the benchmark: scripts/bench latency --help",
        add_help=len(sys.argv) < 2 or sys.argv[1].startswith("-"),
    )
    parser.add_argument("name", choices=names(), help="what to measure")
    chosen, options = parser.parse_known_args(words)
    try:
        with signals.as_exceptions(), setup.ready(with_engine=True):
            env = environment({"PYTHONPATH": str(ROOT)})
            # -P: a benchmark may be called what a package is called.
            return signals.run(
                [VENV / "bin" / "python", "-P", BENCHMARKS / f"{chosen.name}.py", *options], env
            )
    except ScriptError as error:
        return setup.fail(error)
    except KeyboardInterrupt:
        say("\ninterrupted: no result")
        return 130
