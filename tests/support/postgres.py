"""A PostgreSQL server for the length of a test session, and empty tables of the service for each test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from marketplace.store.database import Store
from marketplace.store.tables import metadata
from tests.support.missing import absent

_TEMPLATE: Final = "tables"
_START_SECONDS: Final = 30.0
# What a test needs nothing of is left out; words are compared as people do, not as bytes, so that nothing
# rests on the order of bytes unsaid.
_INITDB: Final = (
    *("--username=prixfixe", "--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions"),
    *("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"),
)
_SETTINGS: Final = (
    *("-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off"),
    *("-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "autovacuum=off"),
    *("-c", "wal_level=minimal", "-c", "max_wal_senders=0", "-c", "log_min_messages=fatal"),
)


def find_programs() -> Path | None:
    """The folder of PostgreSQL's programs: Debian's newest, or the one on PATH; None without any."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


def require_programs() -> Path:
    """As `find_programs`; a test that needs them is skipped without, and fails where set-up was to install
    them."""
    programs = find_programs()
    if programs is None:
        absent("PostgreSQL's programs are not installed: scripts/setup installs them")
    return programs


class PostgresServer:
    """A running server; it listens on a socket in its folder only."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._user = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._copies = 0
        self._taken: dict[str, str] = {}  # database by the name for which it was asked
        self._clean: list[str] = []

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://prixfixe@/{name}?host={self.folder}"

    def start(self) -> None:
        """Run it, and wait until it answers. It may have been stopped before: its databases are there."""
        data = self.folder / "data"
        if not data.exists():
            self._run("initdb", "--pgdata", str(data), *_INITDB)
        command = [str(self._programs / "postgres"), "-D", str(data), "-k", str(self.folder), *_SETTINGS]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, user=self._user, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends sessions and says so; SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=30)
            self._process = None

    def database(self, name: str) -> str:
        """The address of a database with the service's tables, empty, which stays this name's until
        `clean`."""
        if name not in self._taken:
            self._taken[name] = self._clean.pop() if self._clean else self._copy()
        return self.url(self._taken[name])

    def empty_database(self, name: str) -> str:
        """The address of a new database without any table."""
        self._create(name, "template0")
        return self.url(name)

    def dump(self, name: str) -> Path:
        """What pg_dump makes of the database that is this name's."""
        file = self.folder / f"{self._taken[name]}.dump"
        self._run("pg_dump", "--format=custom", *self._where, f"--file={file}", self._taken[name])
        return file

    def restore(self, file: Path, name: str) -> None:
        """A new database by pg_restore, which is this name's from now on."""
        database = f"restored_{file.stem}"
        self._create(database, "template0")
        self._run("pg_restore", "--exit-on-error", *self._where, f"--dbname={database}", str(file))
        self._taken[name] = database

    @property
    def _where(self) -> tuple[str, ...]:
        return (f"--host={self.folder}", "--username=prixfixe")

    def drop(self, name: str) -> None:
        """Take away what `empty_database` made."""
        with self._connect() as connection:
            connection.execute(f"DROP DATABASE {name}".encode())

    def clean(self) -> None:
        """Empty the tables of all databases that were taken: faster than to make others."""
        emptying = "; ".join(
            ["SET session_replication_role = replica"]  # no foreign keys, no triggers
            + [f'DELETE FROM "{table.name}"' for table in metadata.tables.values()]
            + ["ALTER SEQUENCE transactions_id_seq RESTART"]
        )
        for database in self._taken.values():
            with self._connect(database) as connection:
                connection.execute(emptying.encode())
        self._clean += self._taken.values()
        self._taken.clear()

    def _copy(self) -> str:
        if not self._copies:
            self._create(_TEMPLATE, "template0")
            store = Store(self.url(_TEMPLATE))
            store.migrate()
            store.close()
        self._copies += 1
        name = f"copy_{self._copies}"
        self._create(name, _TEMPLATE)
        return name

    def _create(self, name: str, template: str) -> None:
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())

    def _connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.folder), user="prixfixe", dbname=database, autocommit=True, connect_timeout=5
        )

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), *words]
        done = subprocess.run(
            command, cwd=self.folder, user=self._user, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def running_postgres(programs: Path) -> Iterator[PostgresServer]:
    """A server in a new folder, which goes with it."""
    # Not under pytest's own folders: those are closed to the user that the server must run as.
    folder = Path(tempfile.mkdtemp(prefix="prixfixe-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    server = PostgresServer(folder, programs)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


_chosen: PostgresServer | None = None


@contextmanager
def choosing(server: PostgresServer) -> Iterator[None]:
    """While it lasts, `tests.support.stores` puts stores on this server."""
    global _chosen
    before, _chosen = _chosen, server
    try:
        yield
    finally:
        _chosen = before
        server.clean()


def chosen() -> PostgresServer | None:
    """On which server the present test puts its stores; None: in files."""
    return _chosen
