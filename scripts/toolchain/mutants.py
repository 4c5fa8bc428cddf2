"""`scripts/mutants`: the contract's tests tested, by faults that they must notice."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain import node, setup
from toolchain.project import NODE_MODULES, ROOT, TOOLS, ScriptError, environment, say, write_last

CONTRACTS = ROOT / "contracts"
LIST = CONTRACTS / "mutants" / "mutants.toml"
TABLE = CONTRACTS / "mutants" / "README.md"
# What forge says: the suite that follows, and a test of it that failed.
SUITE = re.compile(r"^Ran \d+ tests? for test/(\w+)\.t\.sol:")
FAILED = re.compile(r"^\[FAIL.*\] (\w+)\(")
SHOWN = 2

ABOUT = """\
Puts each fault of contracts/mutants/mutants.toml into the contract and runs the suites that should notice,
then all others. A fault that no test notices is a test that is missing. Writes contracts/mutants/README.md,
which says for each fault the tests that fail. All faults are compiled at once, each behind a switch that the
tests know nothing of: the block's base fee. No part of scripts/test, because tests run again for each fault;
scripts/test only proves that every fault still has its place in the sources.
"""
HEADER = """\
# Faults, and the tests that notice them

Each row is a fault of mutants.toml, switched on alone. Written by `scripts/mutants`; none survived its last
run.

| fault | where | tests that fail |
|---|---|---|
"""


@dataclass(frozen=True)
class Mutant:
    """A fault: `old`, which stands once in `file` below contracts/src, becomes `new`.

    both: the text that is `new` where the base fee is MUTANT and else `old`; made here for statements and
    expressions.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    both: str | None = None

    def switched(self, source: str, number: int) -> str:
        """The source with the fault behind its switch. ScriptError when its place is not found once."""
        times = source.count(self.old)
        if times != 1:
            raise ScriptError(f"{self.name}: its text stands {times} times in {self.file}, not once")
        return source.replace(self.old, self._both().replace("MUTANT", str(number)))

    def _both(self) -> str:
        if self.both is not None:
            return self.both
        if self.old.rstrip().endswith(";"):
            return f"if (block.basefee == MUTANT) {{ {self.new} }} else {{ {self.old} }}\n"
        return f"(block.basefee == MUTANT ? {self.new} : {self.old})"


def load() -> list[Mutant]:
    """The committed faults; ScriptError when two have one name."""
    told = tomllib.loads(LIST.read_text())["mutant"]
    mutants = [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in told]
    if len({mutant.name for mutant in mutants}) != len(mutants):
        raise ScriptError("two faults have one name")
    return mutants


def stale(mutants: Sequence[Mutant]) -> list[str]:
    """What is wrong with the places of the faults; nothing, if all is well."""
    wrong = []
    for mutant in mutants:
        try:
            mutant.switched((CONTRACTS / "src" / mutant.file).read_text(), 1)
        except ScriptError as error:
            wrong.append(error.message)
    return wrong


class Copy:
    """The contracts with all faults in a folder of their own, compiled once."""

    def __init__(self, folder: Path, mutants: Sequence[Mutant]) -> None:
        self.home = folder / "contracts"
        for name in ("src", "test"):
            shutil.copytree(CONTRACTS / name, self.home / name)
        shutil.copy(CONTRACTS / "foundry.toml", self.home)
        (self.home / "node_modules").symlink_to(NODE_MODULES)
        (folder / "tests").symlink_to(ROOT / "tests")
        (folder / "scripts").symlink_to(ROOT / "scripts")
        for number, mutant in enumerate(mutants, 1):
            path = self.home / "src" / mutant.file
            path.write_text(mutant.switched(path.read_text(), number))
        for path in self.home.rglob("*.sol"):
            # What reads the switch is not pure any more, nor is what calls it.
            if "node_modules" not in path.parts:
                path.write_text(re.sub(r"\bpure\b", "view", path.read_text()))
        say("compiling all faults behind their switches ...")
        built = self._forge(0, "build")
        if built.returncode != 0:
            errors = re.findall(r"Error \(\d+\):[^|]*", built.stdout + built.stderr)
            raise ScriptError(f"the faults do not compile\n{''.join(errors) or built.stderr}")
        if wrong := self._failing(0, []):
            raise ScriptError(f"with no fault switched on, these fail: {', '.join(wrong)}")

    def killers(self, number: int, mutant: Mutant) -> list[str]:
        """The tests that fail with the fault; none if it survives."""
        likely = ["--match-path", f"test/{{{','.join(mutant.tests)},None}}.t.sol"]
        return self._failing(number, likely) or self._failing(number, [])

    def _failing(self, number: int, options: Sequence[str]) -> list[str]:
        found, suite = [], ""
        # Gas is another thing with faults or switches in the code.
        done = self._forge(number, "test", "--no-match-contract", "Gas", *options)
        for line in done.stdout.splitlines():
            if line.startswith("Failing tests:"):
                break  # said again from here on
            if told := SUITE.match(line):
                suite = told[1]
            elif told := FAILED.match(line):
                found.append(f"{suite}: `{told[1]}`")
        if done.returncode != 0 and not found:
            raise ScriptError(f"the tests did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return sorted(found)

    def _forge(self, number: int, *words: str) -> subprocess.CompletedProcess[str]:
        env = environment({"FOUNDRY_BLOCK_BASE_FEE_PER_GAS": str(number)})
        command = [str(TOOLS / "bin" / "forge"), words[0], "--color", "never", *words[1:]]
        return subprocess.run(command, cwd=self.home, env=env, capture_output=True, text=True, check=False)


def row(mutant: Mutant, killers: Sequence[str]) -> str:
    more = f", and {len(killers) - SHOWN} more" if len(killers) > SHOWN else ""
    return f"| {mutant.name} | {mutant.file} | {'; '.join(killers[:SHOWN])}{more} |\n"


def run(mutants: Sequence[Mutant], word: str) -> dict[str, list[str]]:
    """The tests that notice each fault whose name has the word, by its name."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="prixfixe-mutants-") as folder:
        copy = Copy(Path(folder), mutants)
        for number, mutant in enumerate(mutants, 1):
            if word not in mutant.name:
                continue
            began = time.monotonic()
            killers = found[mutant.name] = copy.killers(number, mutant)
            verdict = killers[0] if killers else "SURVIVED"
            say(f"{number}/{len(mutants)} {mutant.name}: {verdict} ({time.monotonic() - began:.0f} s)")
    return found


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/mutants", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="WORD", default="", help="only faults whose name has this; writes no table"
    )
    parser.add_argument("--stale", action="store_true", help="only say which faults have lost their place")
    chosen = parser.parse_args(words)
    try:
        mutants = load()
        wrong = stale(mutants)
        for line in wrong:
            say(line)
        if chosen.stale or wrong:
            return 1 if wrong else 0
        if node.packages_missing() or node.chain_missing():
            setup.tools()
        found = run(mutants, chosen.only)
    except ScriptError as error:
        return setup.fail(error)
    survived = [name for name, killers in found.items() if not killers]
    say(f"{len(found) - len(survived)} of {len(found)} faults were noticed")
    if survived or chosen.only:
        return 1 if survived else 0
    write_last(TABLE, HEADER + "".join(row(mutant, found[mutant.name]) for mutant in mutants))
    return 0
