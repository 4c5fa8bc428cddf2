"""The virtual environments: `.venv` for the project, others for programs that need an older web3."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from toolchain.project import (
    ANALYSIS_VENV,
    APE_VENV,
    CELERY_VENV,
    REQUIREMENTS,
    ROOT,
    VENV,
    ScriptError,
    fingerprint,
    run_logged,
    write_last,
)

STAMP = ".prixfixe-complete"
OLDEST = (3, 11)


def _wanted(lock: Path) -> str:
    """What a finished environment is remembered by: its locks, its Python and where it stands."""
    return fingerprint(
        REQUIREMENTS / "uv.txt", lock, ROOT / "pyproject.toml", platform.python_version(), str(ROOT)
    )


def missing(venv: Path, lock: Path) -> str | None:
    """Why the environment must be made or brought up to date, or None."""
    if not (venv / "bin" / "python").exists():
        return f"no {venv.name}"
    stamp = venv / STAMP
    if not stamp.exists():
        return "not finished"
    return None if stamp.read_text() == _wanted(lock) else "locks, Python or place changed"


def make(venv: Path, lock: Path, *, project: bool) -> None:
    """Make the environment from its lock, every file checked against its hash; then the project itself."""
    if sys.version_info < OLDEST:
        raise ScriptError(f"Python {platform.python_version()} is too old: 3.11 or newer is needed")
    (venv / STAMP).unlink(missing_ok=True)
    name = venv.name.lstrip(".")
    python = venv / "bin" / "python"
    if not _usable(python):
        shutil.rmtree(venv, ignore_errors=True)
        run_logged(name, [sys.executable, "-m", "venv", venv])
    quietly = ("--quiet", "--disable-pip-version-check", "--require-hashes")
    run_logged(name, [python, "-m", "pip", "install", *quietly, "-r", REQUIREMENTS / "uv.txt"])
    install: list[str | Path] = [venv / "bin" / "uv", "pip", "install", "--python", python]
    run_logged(name, [*install, "--compile-bytecode", "--require-hashes", "-r", lock])
    if project:
        # Its build back end is in the lock, so that nothing unlocked is fetched to build it.
        run_logged(name, [*install, "--no-deps", "--no-build-isolation", "--editable", ROOT])
    write_last(venv / STAMP, _wanted(lock))


def _usable(python: Path) -> bool:
    """Whether an interpreter that an earlier run left behind still starts, is this Python and has pip."""
    if not python.exists():
        return False
    probe = (
        "import sys, pip\n"
        f"assert sys.prefix == {str(python.parents[1])!r}\n"
        f"assert sys.version_info[:2] == {sys.version_info[:2]!r}"
    )
    try:
        run_logged("venv-probe", [python, "-c", probe])
    except (ScriptError, OSError):
        return False
    return True


def main_missing() -> str | None:
    return missing(VENV, REQUIREMENTS / "dev.txt")


def make_main() -> None:
    make(VENV, REQUIREMENTS / "dev.txt", project=True)


def ape_missing() -> str | None:
    return missing(APE_VENV, REQUIREMENTS / "ape.txt")


def make_ape() -> None:
    make(APE_VENV, REQUIREMENTS / "ape.txt", project=False)


def analysis_missing() -> str | None:
    return missing(ANALYSIS_VENV, REQUIREMENTS / "analysis.txt")


def make_analysis() -> None:
    make(ANALYSIS_VENV, REQUIREMENTS / "analysis.txt", project=False)


def celery_missing() -> str | None:
    return missing(CELERY_VENV, REQUIREMENTS / "celery.txt")


def make_celery() -> None:
    make(CELERY_VENV, REQUIREMENTS / "celery.txt", project=False)
