"""The tables about the contract's tests name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from toolchain import mutants

TESTS = Path(__file__).parents[2] / "contracts" / "test"
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
