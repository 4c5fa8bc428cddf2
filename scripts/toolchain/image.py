"""The base image, made from Debian packages: no image registry is needed.

Where a registry is at hand, any image with Python 3.11 may carry the name instead; one that is there
already and was not made by this step is used as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

from toolchain import engine, system
from toolchain.docker_api import Engine, EngineError
from toolchain.project import TOOLS, ScriptError, fingerprint, run_logged, write_last

NAME, TAG = "prixfixe-base", "bookworm"
LABEL = "prixfixe.base.recipe"
STAMP = TOOLS / "stamps" / "image"
# All of Python's standard library (python3-minimal lacks json and decimal) and the C++ library that
# the wheels of duckdb and others link to. No apt inside: what an image needs is copied in from the lock.
PACKAGES = "python3,libstdc++6,ca-certificates"
# One date for every file, so that the same packages make the same archive.
EPOCH = "1735689600"
OPTIONS = (
    "--variant=essential",
    f"--include={PACKAGES}",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/*',
)
CHANGES = ("ENV PATH=/usr/local/bin:/usr/bin:/bin", "ENV LANG=C.UTF-8", 'CMD ["python3"]')


def recipe() -> str:
    return fingerprint(*OPTIONS, *CHANGES, EPOCH, TAG)


def missing() -> str | None:
    """Why the image must be made, or None. A stopped engine is not started to ask: its stamp is believed."""
    found = engine.here().engine
    if found.answers():
        return missing_in(found)
    if not STAMP.exists():
        return "not made yet"
    return None if STAMP.read_text() == recipe() else "recipe changed"


def missing_in(found: Engine) -> str | None:
    """The same, asked of a running engine."""
    known = found.image(f"{NAME}:{TAG}")
    if known is None:
        return "the engine has no such image"
    label = ((known.get("Config") or {}).get("Labels") or {}).get(LABEL)
    return None if label in (None, recipe()) else "recipe changed"


def make() -> None:
    """Collect the root file system in a file first: a broken pipe must never become half an image."""
    if not system.on_path("mmdebstrap"):
        raise ScriptError(
            "mmdebstrap, which makes the base image from Debian packages, was not found",
            ["docker pull python:3.11-slim-bookworm", f"docker tag python:3.11-slim-bookworm {NAME}:{TAG}"],
        )
    archive = TOOLS / f"base.{os.getpid()}.tar"
    try:
        with engine.running() as found:
            if missing_in(found) is not None:
                _collect(archive)
                found.import_archive(archive, NAME, TAG, [*CHANGES, f"LABEL {LABEL}={recipe()}"])
    except EngineError as error:
        raise ScriptError(f"the engine did not take the base image: {error}") from error
    finally:
        archive.unlink(missing_ok=True)
    write_last(STAMP, recipe())


def _collect(archive: Path) -> None:
    for left in TOOLS.glob("base.*.tar"):
        left.unlink()  # what a killed run left behind
    env = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    run_logged("image", ["mmdebstrap", *OPTIONS, "bookworm", archive], env)
