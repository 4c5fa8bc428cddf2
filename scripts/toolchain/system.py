"""System packages: what is missing, and whether this script may install it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.project import ScriptError, run_logged


@dataclass(frozen=True)
class Package:
    """A Debian package, what for, and whether the machine already has what it brings (from anywhere)."""

    name: str
    purpose: str
    present: Callable[[], bool]


def on_path(program: str) -> bool:
    """Whether a program can be started; /usr/sbin is looked at too, since a user's PATH often lacks it."""
    return find(program) is not None


def find(program: str) -> str | None:
    """Full path of a program, or None."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(program, path=path)


def can_install() -> bool:
    """Only root on Debian (or what is made from it) lets a script install packages."""
    return os.geteuid() == 0 and on_path("apt-get")


def is_debian() -> bool:
    """Whether this is Debian itself: what is made from it lacks some of its packages."""
    with contextlib.suppress(OSError):
        return "ID=debian" in Path("/etc/os-release").read_text().splitlines()
    return False


def has_venv() -> bool:
    """Debian splits the part of Python that makes virtual environments into a package of its own."""
    return importlib.util.find_spec("ensurepip") is not None and importlib.util.find_spec("venv") is not None


def missing_packages(packages: Sequence[Package]) -> list[Package]:
    """The packages whose use the machine does not have yet."""
    return [package for package in packages if not package.present()]


def install(packages: Sequence[Package]) -> None:
    """Install what is missing, or stop with the lines to type when this user may not."""
    names = [package.name for package in missing_packages(packages)]
    if not names:
        return
    if not can_install():
        raise ScriptError(
            "these programs are missing and only root on Debian can install them from here: "
            + "; ".join(f"{p.name} ({p.purpose})" for p in missing_packages(packages)),
            ["sudo apt-get update", f"sudo apt-get install --no-install-recommends {' '.join(names)}"],
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_logged("packages", ["apt-get", "update"], env)
    run_logged("packages", ["apt-get", "install", "-y", "--no-install-recommends", *names], env)
    still = [package.name for package in missing_packages(packages)]
    if still:
        raise ScriptError(f"installed, but not usable: {', '.join(still)}")
