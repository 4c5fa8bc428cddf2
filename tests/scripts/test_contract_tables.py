"""The tables about the contract's tests name tests that exist, and no entry point is left out of them."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress

from toolchain import mutants
from toolchain.contracts import CONTRACTS
from toolchain.project import ARTEFACTS

TESTS = CONTRACTS / "test"
CASE = re.compile(r"(\w+): ((?:`test\w+`(?:, )?)+)")


def test_every_hostile_case_is_played_by_a_test_that_exists() -> None:
    rows = [line for line in (TESTS / "README.md").read_text().splitlines() if "`test" in line]
    assert len(rows) >= 45
    for row in rows:
        answers = CASE.findall(row.split(" | ")[1])
        assert sum(names.count("`") for _, names in answers) == row.count("`test") * 2, row
        for file, names in answers:
            source = (TESTS / f"{file}.t.sol").read_text()
            for name in re.findall(r"\w+", names):
                assert f"function {name}(" in source, f"{file}.t.sol has no {name}"


def test_every_fault_still_has_its_place_in_the_sources() -> None:
    faults = mutants.load()
    assert len(faults) >= 40
    assert mutants.stale(faults) == []


def test_every_function_that_changes_something_has_its_gas_in_the_snapshots() -> None:
    interface = json.loads((ARTEFACTS / "Market.json").read_text())["abi"]
    changing = {
        entry["name"]
        for entry in interface
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    names: set[str] = set()
    until = time.monotonic() + 120
    # forge, which may run beside, writes the file anew, a function after the other.
    while changing - names and time.monotonic() < until:
        with suppress(OSError, ValueError):
            measured = json.loads((CONTRACTS / "snapshots" / "Market.json").read_text())
            # A snapshot is called as its function, with a scenario behind a comma.
            names = {name.partition(", ")[0] for name in measured}
    assert changing - names == set()
    assert names - changing == {"bytes of code", "order to paid"}
