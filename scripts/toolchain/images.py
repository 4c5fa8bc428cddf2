"""`scripts/images`: the images that docker-compose.yml runs, built from the project's own Dockerfile.

The build itself fetches nothing: the locked wheels are installed on the host into build/image, each file
checked against its hash, and copied in.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Mapping, Sequence

from toolchain import engine, image, postgres, setup, signals
from toolchain.project import (
    REQUIREMENTS,
    ROOT,
    TOOLS,
    VENV,
    ScriptError,
    fingerprint,
    run_logged,
    say,
    write_last,
)

STAGE = ROOT / "build" / "image"
SITE = STAGE / "site"
LOCK = REQUIREMENTS / "image.txt"
PACKAGES = ("prixfixe", "marketplace", "scheduler", "worker")
TARGETS = {
    "postgres": postgres.TAG,
    "chain": "prixfixe-chain:local",
    "prixfixe": "prixfixe:local",
    "worker": "prixfixe-worker:local",
}


def stage() -> None:
    """Fill build/image: site-packages from the lock (kept while the lock is the same), our code, anvil."""
    stamp = TOOLS / "stamps" / "image-site"
    wanted = fingerprint(LOCK)
    if not SITE.exists() or not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(SITE, ignore_errors=True)
        # The base image is Debian's Python 3.11 whatever Python the host has.
        target = ("--target", SITE, "--python-version", "3.11", "--only-binary", ":all:")
        run_logged("images", [VENV / "bin" / "uv", "pip", "install", "--require-hashes", *target, "-r", LOCK])
        write_last(stamp, wanted)
    for package in PACKAGES:
        shutil.rmtree(SITE / package, ignore_errors=True)
        shutil.copytree(ROOT / package, SITE / package, ignore=shutil.ignore_patterns("__pycache__"))
    # As pyproject.toml's force-include puts them into the wheel.
    shutil.copy2(ROOT / "CHANGELOG.md", SITE / "worker")
    shutil.copytree(ROOT / "docs", SITE / "marketplace" / "console" / "docs")
    _entry_points()
    shutil.copy2(os.path.realpath(TOOLS / "bin" / "anvil"), STAGE / "anvil")


def _entry_points() -> None:
    """The metadata of the project itself: its commands are found through it."""
    for old in SITE.glob("prixfixe-*.dist-info"):
        shutil.rmtree(old)
    run_logged(
        "images",
        [
            *(
                VENV / "bin" / "uv",
                "pip",
                "install",
                "--no-deps",
                "--no-build-isolation",
                "--python",
                VENV / "bin" / "python",
            ),
            *("--target", STAGE / "own", ROOT),
        ],
    )
    for made in (STAGE / "own").glob("prixfixe-*.dist-info"):
        shutil.copytree(made, SITE / made.name)
    shutil.rmtree(STAGE / "own")


def build(base: str, targets: Mapping[str, str]) -> None:
    """Every image, by the engine's classic builder, which every engine has."""
    for target, tag in targets.items():
        began = time.monotonic()
        # Without a network: nothing is fetched, and nothing could be.
        words = ["--network", "none", "--target", target, "--build-arg", f"BASE={base}", "--tag", tag, "."]
        command = ["docker", "build", *words]
        run_logged("images", command, {**os.environ, "DOCKER_BUILDKIT": "0"})
        say(f"  {tag} built in {time.monotonic() - began:.1f} s")


def ready(base: str) -> None:
    """Stage and build; the engine must run."""
    say("staging build/image from requirements/image.txt ...")
    stage()
    targets = dict(TARGETS)
    if not postgres.stage(STAGE / "postgres", engine.here().engine):
        del targets["postgres"]
    build(base, targets)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/images", description=(__doc__ or "").split("\n\n", 1)[1])
    parser.add_argument(
        "--base", default=f"{image.NAME}:{image.TAG}", help="base image (default: %(default)s)"
    )
    chosen = parser.parse_args(words)
    try:
        with signals.as_exceptions(), setup.ready(with_engine=True):
            ready(chosen.base)
    except ScriptError as error:
        return setup.fail(error)
    except KeyboardInterrupt:
        say("\ninterrupted; run it again to go on")
        return 130
    return 0
