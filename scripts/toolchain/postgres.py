"""PostgreSQL as it goes into an image of docker-compose.yml: the programs of the host's Debian packages, and
the libraries that they link to."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from toolchain.docker_api import Engine
from toolchain.project import ScriptError

TAG: Final = "prixfixe-postgres:local"
_PROGRAMS: Final = ("postgres", "initdb", "pg_isready", "psql", "pg_dump", "pg_restore")
# Of the C library, which is the base image's own; it must be of the same release.
_OF_THE_BASE: Final = re.compile(r"(ld-linux|libc|libm|libdl|librt|libpthread|libresolv)[.-]")
_RELEASE: Final = "VERSION_CODENAME=bookworm"
# The variables are those of the images that registries have.
_BEGIN: Final = """#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --auth="$POSTGRES_HOST_AUTH_METHOD" \\
    --encoding=UTF8 --locale=C.UTF-8 --no-instructions --no-sync
  echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >> "$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -j postgres > /dev/null
fi
exec "$@"
"""


def missing() -> str | None:
    """Why this host's packages cannot go into an image, or None."""
    release = Path("/etc/os-release")
    if not release.exists() or _RELEASE not in release.read_text().splitlines():
        return "this is no Debian 12"
    return None if _programs() else "PostgreSQL is not installed"


def stage(folder: Path, engine: Engine) -> bool:
    """Fill `folder` with a root file system's part; whether there is something to build. False when the
    engine has an image of that name already, which is used as it is."""
    if why := missing():
        if engine.image(TAG) is not None:
            return False
        raise ScriptError(
            f"no image of PostgreSQL can be made here: {why}",
            ["docker pull postgres:15-bookworm", f"docker tag postgres:15-bookworm {TAG}"],
        )
    programs = _programs()
    assert programs is not None
    home, version = programs.parent, programs.parent.name
    shutil.rmtree(folder, ignore_errors=True)
    inside = folder / "usr/lib/postgresql"
    ours = inside / version
    (ours / "bin").mkdir(parents=True)
    for name in _PROGRAMS:
        shutil.copy2(programs / name, ours / "bin")
    (inside / "bin").symlink_to(f"{version}/bin")
    # Without the just-in-time compiler and its library, which are larger than all the rest.
    shutil.copytree(home / "lib", ours / "lib", ignore=shutil.ignore_patterns("bitcode", "pgxs", "llvmjit*"))
    share = Path("/usr/share/postgresql") / version
    shutil.copytree(share, folder / share.relative_to("/"), ignore=shutil.ignore_patterns("man"))
    zones = folder / "usr/share/zoneinfo"
    zones.mkdir(parents=True)
    shutil.copy2("/usr/share/zoneinfo/UTC", zones)
    (inside / "system").mkdir()
    for library in _libraries([ours / "bin" / name for name in _PROGRAMS]):
        shutil.copy2(library, inside / "system" / library.name)
    begin = inside / "begin"
    begin.write_text(_BEGIN)
    begin.chmod(0o755)
    return True


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    return found[-1].parent if found else None


def _libraries(programs: list[Path]) -> set[Path]:
    """By the names that programs link to; what they point to is copied."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    found = {Path(path) for path in re.findall(r"=> (/\S+)", said)}
    return {path for path in found if not _OF_THE_BASE.match(path.name)}
