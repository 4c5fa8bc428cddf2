"""`scripts/check`: format, lint, strict types, import arrows, artefacts, generated pages, words. Runs in
.venv."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from toolchain import words
from toolchain.project import ROOT

PACKAGES = ("prixfixe", "marketplace", "scheduler", "worker")
ABOUT = (
    "Checks format, lint, strict types, import arrows, committed artefacts, and words that must not be there."
)


def scripts() -> list[str]:
    """The scripts that are Python: without an ending, the tools must be told of them."""
    found = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix)
    return [str(path.relative_to(ROOT)) for path in found if "python3" in path.read_text().splitlines()[0]]


def run(*command: str | Path, **env: str) -> bool:
    """Run one tool, its output shown."""
    words_ = [str(word) for word in command]
    return subprocess.run(words_, cwd=ROOT, env={**os.environ, **env}, check=False).returncode == 0


def form(fix: bool) -> bool:
    options = [] if fix else ["--check"]
    return run(
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--quiet",
        "--output-format=concise",
        *options,
        ".",
        *scripts(),
    )


def lint(fix: bool) -> bool:
    options = ["--fix"] if fix else []
    return run(
        sys.executable, "-m", "ruff", "check", "--quiet", "--output-format=concise", *options, ".", *scripts()
    )


def types(_: bool) -> bool:
    present = [name for name in PACKAGES if (ROOT / name / "__init__.py").exists()]
    return run(sys.executable, "-m", "mypy", *(word for name in present for word in ("-p", name)))


def script_types(_: bool) -> bool:
    return run(sys.executable, "-m", "mypy", "-p", "toolchain", MYPYPATH="scripts")


def benchmark_types(_: bool) -> bool:
    """They are run by hand, and seldom: else a changed signature is found by who needs a figure."""
    loose = ("--explicit-package-bases", "--follow-imports=silent", "--exclude", "celery")
    return run(sys.executable, "-m", "mypy", *loose, "benchmarks")


def arrows(_: bool) -> bool:
    quiet = ("--no-header", "-o", "addopts=--import-mode=importlib -p no:schemathesis")
    return run(sys.executable, "-m", "pytest", "-q", *quiet, "tests/test_arrows.py")


def artefacts(_: bool) -> bool:
    return run(sys.executable, "-m", "toolchain.contracts", "--check")


def generated(fix: bool) -> bool:
    """The pages that are made from the code."""
    return run(sys.executable, "-m", "toolchain.docs", *([] if fix else ["--check"]))


def spelled(_: bool) -> bool:
    """No registry's host and no path of this machine in any file."""
    found = words.offences(words.tracked(), [*words.REGISTRIES, *words.private_paths()])
    for line in found:
        print(line)
    return not found


CHECKS: dict[str, Callable[[bool], bool]] = {
    "format": form,
    "lint": lint,
    "types": types,
    "script-types": script_types,
    "benchmark-types": benchmark_types,
    "arrows": arrows,
    "artefacts": artefacts,
    "docs": generated,
    "words": spelled,
}


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/check", description=ABOUT)
    parser.add_argument("--fix", action="store_true", help="format, and mend what lint can mend")
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"only these: {', '.join(CHECKS)}")
    chosen = parser.parse_args(given)
    unknown = [name for name in chosen.checks if name not in CHECKS]
    if unknown:
        parser.error(f"no check is called {unknown[0]}; there are {', '.join(CHECKS)}")
    failed = []
    names = chosen.checks or list(CHECKS)
    for name in names:
        began = time.monotonic()
        passed = CHECKS[name](chosen.fix)
        print(f"{name:<15} {'ok' if passed else 'FAILED'} in {time.monotonic() - began:.1f} s", flush=True)
        if not passed:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
