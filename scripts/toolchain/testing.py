"""`scripts/test`: sets up what the tests need, runs them, stops what it started, and says how it went."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain import areas, node, setup, signals
from toolchain.areas import Area
from toolchain.project import APE_VENV, ROOT, TOOLS, VENV, ScriptError, environment, say

# forge's and scripts/check's closing lines: "12 tests passed, 0 failed, 1 skipped (13 total tests)".
CLOSING = re.compile(r"(\d+) (?:tests )?passed, (\d+) failed, (\d+) skipped")
NO_TESTS = 5  # pytest's status when it collected none

ABOUT = "Runs the tests on a real chain and a real container engine, after setting up what they need."


@dataclass(frozen=True)
class Counts:
    """How many tests ended how. An error in set-up or collection counts as failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    @property
    def total(self) -> int:
        return self.passed + self.failed + self.skipped


def believed(counts: Counts, status: int) -> Counts:
    """A runner that ended badly has at least one failure, even if it died before it could count it."""
    return counts + Counts(failed=1) if status != 0 and counts.failed == 0 else counts


def read_junit(report: Path) -> Counts:
    """Counts from a JUnit report; none at all when it was not written."""
    if not report.exists():
        return Counts()
    total = Counts()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        # A test that passed and then failed in its teardown is one test with one error more.
        total += Counts(max(tests - failed - skipped, 0), failed, skipped)
    return total


def read_closing(text: str) -> Counts:
    """Counts from the last closing line in a runner's output."""
    found = CLOSING.findall(text)
    return Counts(*map(int, found[-1])) if found else Counts()


def run_pytest(chosen: Sequence[Area], options: Sequence[str], env: dict[str, str], reports: Path) -> Counts:
    """All areas in one process, so that they share one chain and one engine."""
    report = reports / "pytest.xml"
    paths = [path for area in chosen for path in area.paths if Path(str(path).partition("::")[0]).exists()]
    command: list[str | Path] = [
        VENV / "bin" / "python",
        "-m",
        "pytest",
        f"--junitxml={report}",
        *options,
        *paths,
    ]
    status = signals.run(command, env)
    return believed(read_junit(report), 0 if status == NO_TESTS else status)


def run_forge(_: Sequence[Area], __: Sequence[str], env: dict[str, str], ___: Path) -> Counts:
    if not any((ROOT / "contracts" / "test").rglob("*.t.sol")):
        return Counts()
    return _run_counted([TOOLS / "bin" / "forge", "test", "--color", "never"], env, ROOT / "contracts")


def run_check(_: Sequence[Area], __: Sequence[str], env: dict[str, str], ___: Path) -> Counts:
    return _run_counted([sys.executable, ROOT / "scripts" / "check"], env, ROOT)


def run_ape(_: Sequence[Area], __: Sequence[str], env: dict[str, str], reports: Path) -> Counts:
    """ape's tests stand beside its configuration, and run in its own environment."""
    found = sorted(
        {*ROOT.glob("ape-config.yaml"), *ROOT.glob("*/ape-config.yaml"), *ROOT.glob("*/*/ape-config.yaml")}
    )
    found = [path for path in found if "node_modules" not in path.parts]
    if not found:
        return Counts()
    report = reports / "ape.xml"
    path = f"{APE_VENV / 'bin'}:{env['PATH']}"
    ape_env = {**env, "VIRTUAL_ENV": str(APE_VENV), "PATH": path, "SOLCX_BINARY_PATH": str(node.SOLCX_FOLDER)}
    status = signals.run(
        [APE_VENV / "bin" / "ape", "test", f"--junitxml={report}"], ape_env, cwd=found[0].parent
    )
    return believed(read_junit(report), 0 if status == NO_TESTS else status)


def _run_counted(command: Sequence[str | Path], env: dict[str, str], cwd: Path) -> Counts:
    """Run a program whose output ends with a closing line; the output is shown as it comes."""
    lines: list[str] = []
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            print(line, end="", flush=True)
        status = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return believed(read_closing("".join(lines)), status)


RUNNERS: dict[str, Callable[[Sequence[Area], Sequence[str], dict[str, str], Path], Counts]] = {
    "check": run_check,
    "pytest": run_pytest,
    "forge": run_forge,
    "ape": run_ape,
}


def run(chosen: Sequence[Area], options: Sequence[str]) -> int:
    """Set up, run each runner once over its areas, and close with one line that is true."""
    began = time.monotonic()
    names = {area.name for area in chosen}
    extras = [name for name in setup.OPTIONAL if name in names]
    results: dict[str, Counts] = {}
    with tempfile.TemporaryDirectory(prefix="prixfixe-test-") as folder:
        # Nobody's own contexts and keystores are read, or written to.
        env = environment({"PRIXFIXE_HOME": str(Path(folder) / "home")})
        wants_engine = any(areas.needs_engine(area) for area in chosen)
        with setup.ready(extras, with_engine=wants_engine):
            say(f"== set-up: {time.monotonic() - began:.1f} s")
            for runner, function in RUNNERS.items():
                own = [area for area in chosen if area.runner == runner]
                if runner == "pytest":
                    empty = [area.name for area in own if not areas.has_tests(area)]
                    own = [area for area in own if areas.has_tests(area)]
                    if empty:
                        say(f"no tests yet: {', '.join(empty)}")
                if own:
                    say(f"== {runner}: {', '.join(area.name for area in own)}")
                    started = time.monotonic()
                    results[runner] = function(own, options, env, Path(folder))
                    say(f"== {runner}: {results[runner]} in {time.monotonic() - started:.1f} s")
    total = sum(results.values(), Counts())
    parts = ", ".join(f"{runner} {counts.total}" for runner, counts in results.items())
    say(f"== {time.monotonic() - began:.0f} s in all ({parts or 'nothing ran'})")
    print(total, flush=True)  # alone on its line, for programs that read the outcome
    return 1 if total.failed or not total.total else 0


def main(words: Sequence[str] | None = None) -> int:
    listed = "\n".join(f"  {area.name:<10} {area.about}" for area in areas.KNOWN)
    parser = argparse.ArgumentParser(
        prog="scripts/test",
        description=ABOUT,
        epilog=f"areas:\n{listed}\nexamples:\n  scripts/test                    everything\n"
        "  scripts/test protocol contract  two areas\n"
        "  scripts/test service -- -x -k quote   options for pytest\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("areas", nargs="*", metavar="AREA", help="areas, or paths of tests; none means all")
    given = list(sys.argv[1:] if words is None else words)
    split = given.index("--") if "--" in given else len(given)
    chosen = parser.parse_args(given[:split])
    try:
        with signals.as_exceptions():
            return run(areas.choose(chosen.areas), given[split + 1 :])
    except ScriptError as error:
        return setup.fail(error)
    except KeyboardInterrupt:
        say("\ninterrupted: no result")
        return 130
