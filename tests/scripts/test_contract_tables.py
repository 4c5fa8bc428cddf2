"""The tables about the contract's tests name tests that exist, and no entry point is left out of them."""

from __future__ import annotations

import json
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest
from toolchain import contracts, mutants
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


def test_what_was_proven_is_compiled_again_once_anything_of_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, settings = tmp_path / "artefacts", contracts.settings()
    compiled: list[object] = []
    shutil.copytree(ARTEFACTS, kept)
    committed = {path.name: path.read_text() for path in kept.glob("*.json")}

    def compile_all(given: object) -> dict[str, str]:
        compiled.append(given)
        return committed

    monkeypatch.setattr(contracts, "ARTEFACTS", kept)
    monkeypatch.setattr(contracts, "PROVEN", tmp_path / "proven")
    monkeypatch.setattr(contracts, "compile_all", compile_all)
    assert [contracts.main(["--check"]) for _ in range(3)] == [0, 0, 0]
    assert len(compiled) == 1

    (kept / "Market.json").write_text(committed["Market.json"].replace("0x6", "0x7", 1))
    assert [contracts.main(["--check"]) for _ in range(2)] == [1, 1]
    assert len(compiled) == 3, "what differs is never taken for proven"

    (kept / "Market.json").write_text(committed["Market.json"])
    (kept / "Market.json").rename(kept / "Markets.json")
    assert contracts.main(["--check"]) == 1
    (kept / "Markets.json").rename(kept / "Market.json")
    monkeypatch.setattr(contracts, "settings", lambda: ({"optimizer": {"runs": 1}}, settings[1]))
    assert contracts.main(["--check"]) == 0
    assert len(compiled) == 5, "other settings are compiled"
