"""`scripts/test`: sets up what the tests need, runs them, stops what it started, and says how it went."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from toolchain import analysis, areas, node, setup, signals
from toolchain.areas import Area
from toolchain.beside import Command, Runs
from toolchain.counting import NO_TESTS, Counts, believed, read_closing, read_junit
from toolchain.project import ANALYSIS_VENV, APE_VENV, ROOT, TOOLS, VENV, ScriptError, environment, say

# What set-up calls what an area needs, where that is not the area's own name.
NEEDED = {"slither": "analysis", "halmos": "analysis"}
MOST_TOLD = 5  # failed tests whose last lines are shown once more at the end
ABOUT = "Runs the tests on a real chain and a real container engine, after setting up what they need."


def pytest_command(
    name: str, lane: Sequence[Area], options: Sequence[str], env: dict[str, str], reports: Path
) -> Command:
    """One process for the lane's areas, so that they share one chain."""
    report = reports / f"{name}.xml"
    # Where tests leave their files to be looked at; two that tidy the same folder up trip over each other.
    kept = Path(tempfile.gettempdir()) / f"prixfixe-{os.getuid()}-{name.replace(' ', '-')}"
    kept.mkdir(exist_ok=True)
    env = {**env, "PYTEST_DEBUG_TEMPROOT": str(kept)}
    paths = [path for area in lane for path in area.paths if Path(str(path).partition("::")[0]).exists()]
    words = (str(VENV / "bin" / "python"), "-m", "pytest", f"--junitxml={report}", *options, *map(str, paths))
    return Command(words, env, ROOT, lambda _: read_junit(report), (NO_TESTS,), nice=0)


def run_pytest(chosen: Sequence[Area], options: Sequence[str], env: dict[str, str], reports: Path) -> Counts:
    """The first lane on the terminal, the others beside it, shown when they have ended."""
    lanes = areas.lanes(chosen)
    for name, lane in lanes.items():
        say(f"== {name}: {', '.join(area.name for area in lane)}")
    (first, command), *others = (
        (name, pytest_command(name, lane, options, env, reports)) for name, lane in lanes.items()
    )
    began = time.monotonic()
    with contextlib.ExitStack() as running:
        beside = [running.enter_context(Runs([each], quiet=True)) for each in others]
        status = signals.run(command.words, command.env)
        counts = believed(command.count(""), 0 if status in command.fine else status)
        say(f"== {first}: {counts} in {time.monotonic() - began:.1f} s")
        return sum((count for runs in beside for count in runs.join().values()), counts)


def forge_command(env: dict[str, str], _: Path) -> Command | None:
    if not any((ROOT / "contracts" / "test").rglob("*.t.sol")):
        return None
    words = (str(TOOLS / "bin" / "forge"), "test", "--color", "never")
    # A cost that differs from contracts/snapshots is a failure; plain `forge test` there writes them anew.
    env = {**env, "FORGE_SNAPSHOT_CHECK": "true"}
    return Command(words, env, ROOT / "contracts", read_closing)


def check_command(env: dict[str, str], _: Path) -> Command:
    return Command((sys.executable, str(ROOT / "scripts" / "check")), env, ROOT, read_closing)


def ape_command(env: dict[str, str], reports: Path) -> Command | None:
    """ape's tests stand beside its configuration, and run in its own environment."""
    found = sorted(
        {*ROOT.glob("ape-config.yaml"), *ROOT.glob("*/ape-config.yaml"), *ROOT.glob("*/*/ape-config.yaml")}
    )
    found = [path for path in found if "node_modules" not in path.parts]
    if not found:
        return None
    report = reports / "ape.xml"
    path = f"{APE_VENV / 'bin'}:{env['PATH']}"
    ape_env = {**env, "VIRTUAL_ENV": str(APE_VENV), "PATH": path, "SOLCX_BINARY_PATH": str(node.SOLCX_FOLDER)}
    words = (str(APE_VENV / "bin" / "ape"), "test", f"--junitxml={report}")
    return Command(words, ape_env, found[0].parent, lambda _: read_junit(report), (NO_TESTS,))


def slither_command(env: dict[str, str], _: Path) -> Command:
    return Command(analysis.slither(), env, ROOT / "contracts", analysis.read_slither)


def halmos_command(env: dict[str, str], _: Path) -> Command:
    path = f"{ANALYSIS_VENV / 'bin'}:{env['PATH']}"  # where its solvers are
    proofs = {**env, "PATH": path, "VIRTUAL_ENV": str(ANALYSIS_VENV), "FOUNDRY_PROFILE": "halmos"}
    return Command(analysis.halmos(), proofs, ROOT / "contracts", analysis.read_halmos)


# Every runner but pytest, in the order in which they run.
COMMANDS: dict[str, Callable[[dict[str, str], Path], Command | None]] = {
    "check": check_command,
    "forge": forge_command,
    "ape": ape_command,
    "slither": slither_command,
    "halmos": halmos_command,
}


def run_beside(chosen: Sequence[Area], env: dict[str, str], reports: Path, beside: bool) -> Runs:
    """Start the runners that are not pytest, one after the other; `beside` pytest, they say nothing until
    they are joined and leave the processors to it."""
    wanted = [
        (runner, command)
        for runner, make in COMMANDS.items()
        if any(area.runner == runner for area in chosen) and (command := make(env, reports)) is not None
    ]
    return Runs(wanted, quiet=beside)


def tell_failures(results: Mapping[str, Counts]) -> None:
    """Once more and last, as the lines of many other tests may stand between a failure and the end."""
    for runner, counts in results.items():
        for name, text in counts.failures[:MOST_TOLD]:
            say(f"== failed: {name}\n{text}")
        if counts.failed:
            named = ", ".join(name for name, _ in counts.failures) or "see above"
            say(f"== {counts.failed} of {runner} failed: {named}")


def given(folder: Path, named: bool, screenshots: Path | None) -> dict[str, str]:
    """What the environment says to tests; `folder` is theirs, the rest as for `run`."""
    # Nobody's own contexts and keystores are read, or written to.
    # What set-up was to install and did not is a failure, not a reason to skip.
    found = {"PRIXFIXE_HOME": str(folder / "home"), "PRIXFIXE_TEST_WHOLE": "1"}
    if named:
        # What takes longer than everybody wants to wait for has its full size when it is asked for.
        found["PRIXFIXE_TEST_SIZE"] = "full"
    if screenshots is not None:
        screenshots.mkdir(parents=True, exist_ok=True)
        found["PRIXFIXE_SCREENSHOTS"] = str(screenshots.absolute())
    return found


def run(
    chosen: Sequence[Area], options: Sequence[str], *, named: bool, screenshots: Path | None = None
) -> int:
    """Set up, run each runner once over its areas, and close with one line that is true. named: the areas
    were asked for one by one. screenshots: a folder for those of the pages that tests open."""
    began = time.monotonic()
    names = {NEEDED.get(area.name, area.name) for area in chosen}
    extras = [name for name in setup.OPTIONAL if name in names and (named or name not in setup.ON_REQUEST)]
    results: dict[str, Counts] = {}
    with tempfile.TemporaryDirectory(prefix="prixfixe-test-") as folder:
        env = environment(given(Path(folder), named, screenshots))
        wants_engine = any(areas.needs_engine(area) for area in chosen)
        with setup.ready(extras, with_engine=wants_engine):
            say(f"== set-up: {time.monotonic() - began:.1f} s")
            own = [area for area in chosen if area.runner == "pytest"]
            if empty := [area.name for area in own if not areas.has_tests(area)]:
                say(f"no tests yet: {', '.join(empty)}")
            own = [area for area in own if areas.has_tests(area)]
            with run_beside(chosen, env, Path(folder), bool(own)) as others:
                if own:
                    results["pytest"] = run_pytest(own, options, env, Path(folder))
                results |= others.join()
    total = sum(results.values(), Counts())
    tell_failures(results)
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
        "  scripts/test service -- -x -k quote   options for pytest\n"
        "  scripts/test browser --screenshots /tmp/pages\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("areas", nargs="*", metavar="AREA", help="areas, or paths of tests; none means all")
    parser.add_argument(
        "--screenshots",
        metavar="FOLDER",
        type=Path,
        help="keep pictures of the pages that tests open in Chromium there, WIDTH-NAME.png, to be looked at",
    )
    typed = list(sys.argv[1:] if words is None else words)
    split = typed.index("--") if "--" in typed else len(typed)
    chosen = parser.parse_args(typed[:split])
    try:
        with signals.as_exceptions():
            return run(
                areas.choose(chosen.areas),
                typed[split + 1 :],
                named=bool(chosen.areas),
                screenshots=chosen.screenshots,
            )
    except ScriptError as error:
        return setup.fail(error)
    except KeyboardInterrupt:
        say("\ninterrupted: no result")
        return 130
