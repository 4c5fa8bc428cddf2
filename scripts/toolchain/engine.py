"""The Docker engine: use a running one, start an installed one, and stop what we started.

Several scripts may use one engine at a time. Whoever uses it holds a shared lock on `engine.users`;
whoever leaves last, and only if a script of this checkout started it, stops it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolchain import system
from toolchain.docker_api import Engine, EngineError, address
from toolchain.project import TOOLS, ScriptError, say, write_last

CONFIGURATION = Path("/etc/docker/daemon.json")
START_SECONDS = 60.0
STOP_SECONDS = 30.0

# The engines that this process started, by process id: a child must be waited for, or it stays as a zombie.
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Host:
    """A place where an engine runs or can be started.

    folder: holds locks, process id and log. address: where the engine is asked. options: words for
    dockerd, beside those of its own configuration file. fixed: the user named this address, so that an
    engine started elsewhere would not be the one meant.
    """

    folder: Path
    address: str
    options: tuple[str, ...] = ()
    fixed: bool = False

    @property
    def engine(self) -> Engine:
        return Engine(self.address)

    @property
    def pid_file(self) -> Path:
        return self.folder / "dockerd.pid"

    @property
    def keep_file(self) -> Path:
        return self.folder / "engine.keep"

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "dockerd.log"

    @contextlib.contextmanager
    def gate(self) -> Iterator[None]:
        """One script at a time looks at, starts or stops the engine."""
        with (self.folder / "engine.gate").open("a") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    @property
    def runtimes_file(self) -> Path:
        return self.folder / "engine.json"

    def ours(self) -> int | None:
        """The process id of the engine that a script started here, if it still runs."""
        try:
            pid = int(self.pid_file.read_text())
            # A process id may have been given to another program since.
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            return None
        return pid if name == "dockerd" else None


def here() -> Host:
    """The engine that DOCKER_HOST, or the usual socket, leads to; it need not be running."""
    return Host(TOOLS, address(), fixed="DOCKER_HOST" in os.environ)


def available() -> bool:
    """Whether an engine runs, or could be started here."""
    host = here()
    try:
        host.engine.version()
    except EngineError as error:
        return error.forbidden or host.fixed or system.on_path("dockerd")
    return True


def has_gvisor() -> bool:
    """Whether nothing is to be done for gVisor: it is here, or cannot be had or used and its tests skip."""
    host = here()
    others = host.fixed or (host.engine.answers() and host.ours() is None)
    return system.on_path("runsc") or others or not system.can_install() or not system.is_debian()


def runtimes() -> dict[str, object] | None:
    """What an engine's configuration file says of gVisor; None without it."""
    runsc = system.find("runsc")
    if runsc is None:
        return None
    # ptrace: the platform that needs no device of the host. No network: a job has none, and gVisor refuses to
    # start beside the host's own stack otherwise.
    return {"runtimes": {"runsc": {"path": runsc, "runtimeArgs": ["--network=none", "--platform=ptrace"]}}}


def gvisor_options(host: Host) -> tuple[str, ...]:
    """Words for dockerd that make gVisor one of its runtimes; no words where the machine has a configuration
    of its own, which names the runtimes that its owner wants."""
    told = runtimes()
    named = any(word.startswith("--config-file") for word in host.options)
    if told is None or CONFIGURATION.exists() or named:
        return ()
    write_last(host.runtimes_file, json.dumps(told))
    return ("--config-file", str(host.runtimes_file))


@contextlib.contextmanager
def running(host: Host | None = None, *, keep: bool = False) -> Iterator[Engine]:
    """An engine for the time of the block.

    What this (or another script of the checkout) started is stopped by the last user, also after
    Ctrl-C and SIGTERM (see toolchain.signals). With `keep` it stays, until `stop`.
    Raises ScriptError with the lines to type when there is no engine and none may be started.
    """
    host = host or here()
    host.folder.mkdir(parents=True, exist_ok=True)
    with (host.folder / "engine.users").open("a") as users:
        with host.gate():
            fcntl.flock(users, fcntl.LOCK_SH)
            _start_if_needed(host)
            if keep and host.ours() is not None:
                write_last(host.keep_file, "stays until scripts/setup --stop-engine\n")
        try:
            yield host.engine
        finally:
            with host.gate():
                fcntl.flock(users, fcntl.LOCK_UN)
                if _alone(users.fileno()) and not host.keep_file.exists():
                    stop(host)


def _alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_if_needed(host: Host) -> None:
    try:
        host.engine.version()
        return
    except EngineError as error:
        if error.forbidden:
            raise ScriptError(
                f"a Docker engine runs, but this user may not use it ({error})",
                ['sudo usermod -aG docker "$USER"', "newgrp docker"],
            ) from error
    if host.fixed:
        raise ScriptError(f"DOCKER_HOST names {host.address}, where no engine answers", ["unset DOCKER_HOST"])
    dockerd = system.find("dockerd")
    if dockerd is None or os.geteuid() != 0:
        raise ScriptError("no Docker engine runs", lines_to_type(dockerd is not None))
    _start(dockerd, host)


def lines_to_type(installed: bool) -> list[str]:
    """What a user who is not root types to get an engine: two lines."""
    start = "sudo systemctl start docker" if Path("/run/systemd/system").exists() else "sudo dockerd &"
    if installed:
        return [start, 'sudo usermod -aG docker "$USER" && newgrp docker']
    install = "sudo apt-get update && sudo apt-get install --no-install-recommends docker.io mmdebstrap"
    return [install, start]


def _start(dockerd: str, host: Host) -> None:
    began = time.monotonic()
    host.log.parent.mkdir(parents=True, exist_ok=True)
    with host.log.open("ab") as log:
        # A session of its own: Ctrl-C in the terminal reaches the script, which stops the engine in order.
        process = subprocess.Popen(
            [dockerd, *gvisor_options(host), *host.options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _CHILDREN[process.pid] = process
    try:
        write_last(host.pid_file, str(process.pid))
        while not host.engine.answers():
            if process.poll() is not None:
                raise ScriptError(f"dockerd ended with status {process.returncode}:\n{_tail(host.log)}")
            if time.monotonic() - began > START_SECONDS:
                raise ScriptError(f"dockerd does not answer after {START_SECONDS:.0f} s:\n{_tail(host.log)}")
            time.sleep(0.1)
    except BaseException:
        stop(host)
        raise
    say(f"  engine    Docker {host.engine.version()} started in {time.monotonic() - began:.1f} s")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:])


def stop(host: Host | None = None) -> None:
    """Stop the engine that a script of this checkout started, and only that one."""
    host = host or here()
    pid = host.ours()
    if pid is not None:
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        while _alive(pid):
            if time.monotonic() - began > STOP_SECONDS:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        say(f"  engine    the one that was started here is stopped ({time.monotonic() - began:.1f} s)")
    host.pid_file.unlink(missing_ok=True)
    host.keep_file.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    child = _CHILDREN.get(pid)
    if child is not None:
        if child.poll() is None:
            return True
        del _CHILDREN[pid]
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False
