"""A bundle's image: its folder, its locked packages and the table kit, built by the engine without a network.

The engine is driven through the `docker` command, so that the leaf package needs no Docker library.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from prixfixe.errors import ConfigurationError, EngineError

DEFAULT_BASE = "prixfixe-base:bookworm"
LABEL = "prixfixe.bundle.context"
_NOT_IN_IMAGE = shutil.ignore_patterns(
    *("__pycache__", "*.pyc", "tests", ".*", "bundle.toml", "requirements.in", "requirements.txt"),
    *("site", "kit"),
)
_PLATFORM = ("--python-version", "3.11", "--only-binary", ":all:", "--no-deps", "--require-hashes")

Say = Callable[[str], None]


def build_image(folder: Path, *, base: str = DEFAULT_BASE, say: Say = lambda line: None) -> str:
    """Build the image of the bundle in `folder`; returns its id (`sha256:...`).

    An image that the engine already has of exactly these files on exactly this base is used as it is.
    ConfigurationError when the folder holds no Dockerfile, EngineError when the engine cannot build.
    """
    if not (folder / "Dockerfile").is_file():
        raise ConfigurationError(
            f"{folder} has no Dockerfile", hint="name a bundle's folder, such as bundles/pivot"
        )
    base_id = image_id(base)
    if base_id is None:
        raise EngineError(
            f"the engine has no base image {base}",
            hint="make it with scripts/setup, or name another with --base",
        )
    with tempfile.TemporaryDirectory(prefix="prixfixe-build-") as scratch:
        context = Path(scratch)
        _lay_out(folder, context)
        requirements = folder / "requirements.txt"
        mark = _digest(context, base_id.encode(), requirements.read_bytes() if requirements.exists() else b"")
        known = _docker("image", "ls", "--quiet", "--no-trunc", "--filter", f"label={LABEL}={mark}").split()
        if known:
            return known[0]
        if requirements.exists():
            say("fetching the locked packages")
            _install(requirements, context / "site")
        say(f"building on {base}")
        made = context.parent / f"{context.name}.id"
        try:
            _docker(
                *("build", "--network", "none", "--build-arg", f"BASE={base}", "--label", f"{LABEL}={mark}"),
                *(
                    "--iidfile",
                    str(made),
                    "--tag",
                    f"prixfixe-bundle-{folder.resolve().name}:latest",
                    str(context),
                ),
            )
            return made.read_text().strip()
        finally:
            made.unlink(missing_ok=True)


def save_image(image: str, archive: Path) -> None:
    """Write the image as an archive that `docker load` reads: this is how it travels without a registry."""
    part = archive.with_name(archive.name + ".part")
    try:
        _docker("image", "save", "--output", str(part), image)
        os.replace(part, archive)
    finally:
        part.unlink(missing_ok=True)


def _lay_out(folder: Path, context: Path) -> None:
    shutil.copytree(folder, context, ignore=_NOT_IN_IMAGE, dirs_exist_ok=True)
    spec = find_spec("prixfixe")
    assert spec is not None
    assert spec.submodule_search_locations
    home = Path(spec.submodule_search_locations[0])
    kit = context / "kit" / "prixfixe"
    shutil.copytree(home / "tables", kit / "tables", ignore=_NOT_IN_IMAGE)
    shutil.copy(home / "errors.py", kit / "errors.py")
    (kit / "__init__.py").write_text('"""The part of Prixfixe that runs inside a bundle\'s image."""\n')
    for path in (context, *_files(context), *(p for p in context.rglob("*") if p.is_dir())):
        # Readable by the image's user, whatever the umask here; programs stay programs.
        path.chmod(0o755 if path.is_dir() or _is_program(path) else 0o644)


def _install(requirements: Path, target: Path) -> None:
    """Unpack the locked wheels into `target`, hashes checked, with uv where there is one, else with pip."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is not None:
        command = [uv, "pip", "install", "--quiet", "--python-platform", "x86_64-manylinux_2_28", *_PLATFORM]
    else:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--platform"]
        command += ["manylinux_2_28_x86_64", *_PLATFORM]
    command += ["--target", str(target), "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EngineError(
            f"the packages of {requirements} could not be fetched: {_last_line(done.stderr)}",
            hint="check the connection to the package index and run again",
            retryable=True,
        )
    for path in target.rglob("*"):
        if path.name == "RECORD" or path.suffix == ".pyc" or path.name == ".lock":
            path.unlink()  # written by the installer, and different from one to the next


def _digest(context: Path, *more: bytes) -> str:
    files = sorted(_files(context), key=lambda path: path.relative_to(context).as_posix())
    whole = hashlib.sha256(json.dumps([hashlib.sha256(part).hexdigest() for part in more]).encode())
    for path in files:
        name = path.relative_to(context).as_posix()
        entry = [name, hashlib.sha256(path.read_bytes()).hexdigest(), _is_program(path)]
        whole.update(json.dumps(entry).encode())
    return whole.hexdigest()


def _is_program(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def image_id(name: str) -> str | None:
    """The id of the engine's image of this name; None when it has none."""
    found = _docker("image", "ls", "--quiet", "--no-trunc", name).split()
    return found[0] if found else None


def _docker(*arguments: str) -> str:
    # The classic builder: image ids are then config digests on every engine, and no plugin is needed.
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    with _engine_errors():
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, check=False, env=environment
        )
    if done.returncode != 0:
        raise EngineError(
            f"docker {arguments[0]} failed: {_last_line(done.stderr)}",
            hint="`docker info` says whether the engine runs",
        )
    return done.stdout


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise EngineError(
            "there is no `docker` command", hint="install it: apt-get install docker.io"
        ) from error


def _last_line(text: str) -> str:
    lines: Sequence[str] = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
