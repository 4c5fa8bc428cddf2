"""The Docker engine: use a running one, start an installed one, and stop what we started.

Several scripts may use one engine at a time. Whoever uses it holds a shared lock on `.tools/engine.users`;
whoever leaves last, and only if a script of this checkout started it, stops it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from toolchain import system
from toolchain.docker_api import Engine, EngineError, address
from toolchain.project import LOGS, TOOLS, ScriptError, say, write_last

PID_FILE = TOOLS / "dockerd.pid"
KEEP = TOOLS / "engine.keep"
USERS = TOOLS / "engine.users"
GATE = TOOLS / "engine.gate"
LOG = LOGS / "dockerd.log"
START_SECONDS = 60.0
STOP_SECONDS = 30.0


def engine() -> Engine:
    """The engine that DOCKER_HOST, or the usual socket, leads to; it need not be running."""
    return Engine(address())


def available() -> bool:
    """Whether an engine runs, or could be started here."""
    return engine().answers() or system.on_path("dockerd")


@contextlib.contextmanager
def running(*, keep: bool = False) -> Iterator[Engine]:
    """An engine for the time of the block.

    What this (or another script of the checkout) started is stopped by the last user, also after
    Ctrl-C and SIGTERM (see toolchain.signals). With `keep` it stays, until `scripts/setup --stop-engine`.
    Raises ScriptError with the lines to type when there is no engine and none may be started.
    """
    TOOLS.mkdir(parents=True, exist_ok=True)
    with USERS.open("a") as users:
        with _gate():
            fcntl.flock(users, fcntl.LOCK_SH)
            found = _start_if_needed()
            if keep and ours() is not None:
                write_last(KEEP, "stays until scripts/setup --stop-engine\n")
        try:
            yield found
        finally:
            with _gate():
                fcntl.flock(users, fcntl.LOCK_UN)
                if _alone(users.fileno()) and not KEEP.exists():
                    stop_ours()


@contextlib.contextmanager
def _gate() -> Iterator[None]:
    """One script at a time looks at, starts or stops the engine."""
    with GATE.open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def _alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_if_needed() -> Engine:
    found = engine()
    try:
        found.version()
        return found
    except EngineError as error:
        if error.forbidden:
            raise ScriptError(
                f"a Docker engine runs, but this user may not use it ({error})",
                ['sudo usermod -aG docker "$USER"', "newgrp docker"],
            ) from error
    if "DOCKER_HOST" in os.environ:
        raise ScriptError(f"DOCKER_HOST names {found.address}, where no engine answers", ["unset DOCKER_HOST"])
    dockerd = system.find("dockerd")
    if dockerd is None or os.geteuid() != 0:
        raise ScriptError("no Docker engine runs", _lines(dockerd))
    _start(dockerd, found)
    return found


def _lines(dockerd: str | None) -> list[str]:
    """What a user who is not root types to get an engine."""
    start = "sudo systemctl start docker" if Path("/run/systemd/system").exists() else "sudo dockerd &"
    if dockerd is not None:
        return [start, 'sudo usermod -aG docker "$USER" && newgrp docker']
    return ["sudo apt-get update && sudo apt-get install --no-install-recommends docker.io", start]


def _start(dockerd: str, found: Engine) -> None:
    began = time.monotonic()
    LOGS.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        # A session of its own: Ctrl-C in the terminal reaches the script, which stops the engine in order.
        process = subprocess.Popen(
            [dockerd], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    write_last(PID_FILE, str(process.pid))
    try:
        while not found.answers():
            if process.poll() is not None:
                raise ScriptError(f"dockerd ended with status {process.returncode}:\n{_tail()}")
            if time.monotonic() - began > START_SECONDS:
                raise ScriptError(f"dockerd does not answer after {START_SECONDS:.0f} s:\n{_tail()}")
            time.sleep(0.1)
    except BaseException:
        stop_ours()
        raise
    say(f"  engine    Docker {found.version()} started in {time.monotonic() - began:.1f} s")


def _tail() -> str:
    return "\n".join(LOG.read_text(errors="replace").splitlines()[-8:])


def ours() -> int | None:
    """The process id of the engine that a script of this checkout started, if it still runs."""
    try:
        pid = int(PID_FILE.read_text())
        # A process id may have been given to another program since.
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return None
    return pid if name == "dockerd" else None


def stop_ours() -> None:
    """Stop the engine that a script of this checkout started, and only that one."""
    pid = ours()
    if pid is not None:
        say("  engine    stopping the engine that was started here")
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _alive(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline += STOP_SECONDS
            time.sleep(0.05)
    PID_FILE.unlink(missing_ok=True)
    KEEP.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        # Ours may be a child of this process: without being waited for it would stay, as a zombie.
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False
