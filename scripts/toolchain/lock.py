"""`scripts/lock`: the lock files of the project, of its bundles and of npm, from what each asks for."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

from toolchain import setup, system
from toolchain.project import REQUIREMENTS, ROOT, VENV, ScriptError, environment, say

ABOUT = """\
Writes the lock files again from pyproject.toml, requirements/*.in, bundles/*/requirements.in and
package.json: exact versions, and the hashes of every file that may be installed. Versions that still fit are
kept; --upgrade takes the newest.
"""
COMPILE = (
    *("pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url", "--universal"),
    *("--python-version", "3.11", "--no-header"),
)
# Lock -> the extras that it installs, all at the versions of dev.txt.
LOCKS = {
    "runtime.txt": (),
    "service.txt": ("service",),
    "postgres.txt": ("postgres",),
    "s3.txt": ("s3",),
    "worker.txt": ("worker",),
    "tables.txt": ("tables",),
    # What the images of docker-compose.yml hold.
    "image.txt": ("service", "postgres", "s3", "worker", "tables"),
}
HEADER = "# Written by scripts/lock from {source}. Install with: uv pip install --require-hashes -r {name}\n"


def lock(upgrade: bool) -> None:
    """Write all lock files. dev.txt comes first and rules the versions of the others."""
    newest = ["--upgrade"] if upgrade else []
    _compile(REQUIREMENTS / "uv.txt", "requirements/uv.in", newest)
    _compile(REQUIREMENTS / "dev.txt", "pyproject.toml", ["--all-extras", *newest])
    same = ["--constraints", "requirements/dev.txt"]
    for name, extras in LOCKS.items():
        wanted = [word for extra in extras for word in ("--extra", extra)]
        _compile(REQUIREMENTS / name, "pyproject.toml", wanted + same)
    for source in sorted(ROOT.glob("bundles/*/requirements.in")):
        # A bundle's image holds what its tests ran with.
        _compile(source.with_suffix(".txt"), str(source.relative_to(ROOT)), same)
    _compile(REQUIREMENTS / "ape.txt", "requirements/ape.in", newest)
    _compile(REQUIREMENTS / "analysis.txt", "requirements/analysis.in", newest)
    _compile(REQUIREMENTS / "celery.txt", "requirements/celery.in", newest)
    npm = system.find("npm")
    if npm is None:
        raise ScriptError("npm was not found")
    _run([npm, "install", "--package-lock-only", "--loglevel=error", "--no-audit", "--no-fund"])


def _compile(target: Path, source: str, options: Sequence[str]) -> None:
    name = str(target.relative_to(ROOT))
    say(f"  {name}")
    _run([VENV / "bin" / "uv", *COMPILE, *options, source, "--output-file", name])
    # Where a version was decided is of no use to a reader of the lock of one extra.
    lines = [line for line in target.read_text().splitlines() if "-c requirements/dev.txt" not in line]
    target.write_text(HEADER.format(source=source, name=name) + "\n".join(lines) + "\n")


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, env=environment(), check=False)
    if done.returncode != 0:
        raise ScriptError(f"{command[0]} ended with status {done.returncode}")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/lock", description=ABOUT)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    chosen = parser.parse_args(words)
    try:
        lock(chosen.upgrade)
    except ScriptError as error:
        return setup.fail(error)
    return 0
