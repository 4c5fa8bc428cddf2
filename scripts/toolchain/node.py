"""Development tools from npm: the Solidity compiler, the contract libraries, anvil and forge.

The native programs are named directly in package.json, not through their wrappers: a wrapper names every
platform at once, and a lock with hashes can only hold those that its writer could see. On a platform that
is not named there, anvil and forge on PATH are used.
"""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

from toolchain import system
from toolchain.project import (
    NODE_MODULES,
    ROOT,
    TOOLS,
    VENV,
    ScriptError,
    fingerprint,
    run_logged,
    write_last,
)

STAMP = NODE_MODULES / ".prixfixe-complete"
SOLC_VERSION = "0.8.37"
SOLCX_FOLDER = TOOLS / "solcx"


def _wanted() -> str:
    lock = fingerprint(ROOT / "package.json", ROOT / "package-lock.json", ROOT / ".npmrc")
    return fingerprint(lock, platform.system(), platform.machine())


def packages_missing() -> str | None:
    """Why the npm packages must be installed, or None."""
    if not STAMP.exists():
        return "not finished" if NODE_MODULES.exists() else "no node_modules"
    return None if STAMP.read_text() == _wanted() else "package-lock.json changed"


def install_packages() -> None:
    """Install exactly what package-lock.json names. npm removes the folder first, and our stamp with it."""
    npm = system.find("npm")
    if npm is None:
        raise ScriptError(
            "npm was not found: Node.js 18 or newer is needed", ["sudo apt-get install nodejs npm"]
        )
    STAMP.unlink(missing_ok=True)
    # They are plain dependencies: npm would leave optional ones out under Debian's Node 18, which runs them
    # well. On another platform npm must be told to take programs that cannot run there.
    force = [] if _packaged_platform() == "linux-amd64" else ["--force"]
    run_logged("node", [npm, "ci", *force, "--no-audit", "--no-fund", "--loglevel=error"])
    write_last(STAMP, _wanted())


def _packaged_platform() -> str:
    """This platform as the packages' names spell it."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{platform.system().lower()}-{machine}"


def _packaged(tool: str) -> Path:
    """The native program inside npm's package for this platform (its install script is not needed)."""
    return NODE_MODULES / "@foundry-rs" / f"{tool}-{_packaged_platform()}" / "bin" / tool


def _own(tool: str) -> Path | None:
    """A program of version 1 that the machine has already; what this checkout linked does not count."""
    found = system.find(tool)
    if found is None or Path(found).is_relative_to(TOOLS) or Path(found).is_relative_to(VENV):
        return None
    try:
        told = subprocess.run(
            [found, "--version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(found) if re.search(r"\b1\.\d+\.\d+", told) else None


def _links() -> list[Path]:
    # anvil also stands beside the `prixfixe` command, so that `prixfixe dev` finds it without a PATH.
    return [TOOLS / "bin" / "anvil", TOOLS / "bin" / "forge", VENV / "bin" / "anvil"]


def chain_missing() -> str | None:
    """Why anvil, forge and the compiler must be put in place, or None."""
    compiler = SOLCX_FOLDER / f"solc-v{SOLC_VERSION}"
    for link in [*_links(), compiler]:
        if not link.exists():
            return f"no {link.name}"
    return None


def link_chain() -> None:
    """Put anvil and forge (the machine's own, else npm's) and the compiler where the tools look for them."""
    for link in _links():
        target = _own(link.name) or _packaged(link.name)
        if not target.exists():
            raise ScriptError(
                f"{link.name} is neither on PATH nor in npm's package for this platform, "
                f"{platform.system()} {platform.machine()}"
            )
        _link(link, target)
    # The name under which py-solc-x, and so ape, finds an installed compiler (SOLCX_BINARY_PATH).
    _link(SOLCX_FOLDER / f"solc-v{SOLC_VERSION}", ROOT / "scripts" / "solc")


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
