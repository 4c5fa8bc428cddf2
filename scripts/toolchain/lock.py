"""`scripts/lock`: the lock files in requirements/ and package-lock.json, from what the project asks for."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

from toolchain import setup, system
from toolchain.project import REQUIREMENTS, ROOT, VENV, ScriptError, environment, say

ABOUT = """\
Writes the lock files again from pyproject.toml, requirements/*.in and package.json: exact versions, and the
hashes of every file that may be installed. Versions that still fit are kept; --upgrade takes the newest.
"""
COMPILE = (
    *("pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url", "--universal"),
    *("--python-version", "3.11", "--no-header"),
)
# Lock -> the extras that it installs, all at the versions of dev.txt.
LOCKS = {
    "runtime.txt": (),
    "service.txt": ("service",),
    "worker.txt": ("worker",),
    "tables.txt": ("tables",),
    "image.txt": ("service", "worker", "tables"),  # what the images of docker-compose.yml hold
}
HEADER = "# Written by scripts/lock from {source}. Install with: uv pip install --require-hashes -r {name}\n"


def lock(upgrade: bool) -> None:
    """Write all lock files. dev.txt comes first and rules the versions of the others."""
    newest = ["--upgrade"] if upgrade else []
    _compile("uv.txt", "requirements/uv.in", newest)
    _compile("dev.txt", "pyproject.toml", ["--all-extras", *newest])
    same = ["--constraints", "requirements/dev.txt"]
    for name, extras in LOCKS.items():
        _compile(name, "pyproject.toml", [word for extra in extras for word in ("--extra", extra)] + same)
    _compile("ape.txt", "requirements/ape.in", newest)
    npm = system.find("npm")
    if npm is None:
        raise ScriptError("npm was not found")
    _run([npm, "install", "--package-lock-only", "--loglevel=error", "--no-audit", "--no-fund"])


def _compile(name: str, source: str, options: Sequence[str]) -> None:
    say(f"  requirements/{name}")
    target = REQUIREMENTS / name
    _run([VENV / "bin" / "uv", *COMPILE, *options, source, "--output-file", f"requirements/{name}"])
    # Where a version was decided is of no use to a reader of the lock of one extra.
    lines = [line for line in target.read_text().splitlines() if "-c requirements/dev.txt" not in line]
    shown = HEADER.format(source=source, name=f"requirements/{name}")
    target.write_text(shown + "\n".join(lines) + "\n")


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
