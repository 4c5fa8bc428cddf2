"""An object store for the length of a test session: s3rver, a process of its own that speaks S3 over HTTP."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from marketplace.blob_stores import BlobStore, open_blob_store
from tests.support.missing import absent
from tests.support.ports import lasting_port

_PROGRAM: Final = Path(__file__).parents[2] / "node_modules" / "s3rver" / "bin" / "s3rver.js"
_HOST: Final = "127.0.0.1"
_BUCKET: Final = "blobs"
KEY: Final = "S3RVER"  # both halves of the only one that it knows
_START_SECONDS: Final = 60.0
_LISTENS: Final = re.compile(r"listening on [\d.]+:\d+")


def require_program() -> Path:
    """s3rver's program; a test that needs it is skipped without, and fails where set-up was to install it."""
    if not _PROGRAM.exists() or shutil.which("node") is None:
        absent("s3rver is not installed: scripts/setup installs it")
    return _PROGRAM


class S3Server:
    """A running server with one bucket. It may be killed and started again: what it had is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = lasting_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._prefixes = 0

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Run it with what it had, and wait until it listens."""
        program = require_program()
        log = self._folder / "log"
        command = ["node", str(program), "--directory", str(self._folder / "data"), "--silent"]
        command += ["--address", _HOST, "--port", str(self._port), "--configure-bucket", _BUCKET]
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _START_SECONDS
        while not _LISTENS.search(log.read_text()):
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """At once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def revive(self) -> None:
        """Start it unless it runs."""
        if self._process is None:
            self.start()

    def address(self) -> str:
        """A place of its own for a test."""
        self._prefixes += 1
        return f"s3://{_BUCKET}/test/{self._prefixes}"


@dataclass(frozen=True)
class Bucket:
    """A test's place in the server's bucket. address: as a service is told it."""

    server: S3Server
    address: str

    def store(self) -> BlobStore:
        return open_blob_store(self.address, Path("unused"))

    def fill(self, folder: BlobStore) -> None:
        """Copy what a folder has, file by file under the same name."""
        there = self.store()
        for each in folder.names():
            path = folder.path(each.sha256)
            assert path is not None
            there.put(path, each.sha256, each.size)


@contextmanager
def running_s3() -> Iterator[S3Server]:
    with TemporaryDirectory(prefix="prixfixe-s3-") as folder:
        server = S3Server(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()


def configure(patch: pytest.MonkeyPatch, url: str) -> None:
    """Name the server in this process's environment, as AWS' programs want it, and nothing of the user's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    patch.setenv("AWS_ENDPOINT_URL_S3", url)
    patch.setenv("AWS_ACCESS_KEY_ID", KEY)
    patch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        patch.setenv(name, os.devnull)
