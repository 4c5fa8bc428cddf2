"""Where the container engine is, by `DOCKER_HOST`, and whether it may be used from here.

An engine of this machine that runs as root mounts a task's folders by their path. Any other, behind an
address or without root, is far: it sees none of our folders, or as another user, so what a task needs and
leaves is carried (`worker.carrying`).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from prixfixe.errors import ConfigurationError, EngineError

_DEFAULT: Final = "unix:///var/run/docker.sock"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_LIMITS: Final = (("MemoryLimit", "memory"), ("PidsLimit", "processes"), ("CpuCfsQuota", "processor time"))


def address(environment: Mapping[str, str] = os.environ) -> str:
    """Of the engine."""
    return environment.get("DOCKER_HOST") or _DEFAULT


def require_usable(environment: Mapping[str, str] = os.environ) -> None:
    """ConfigurationError for an engine that cannot be used, or not safely: whoever can speak to it, or stands
    between, is root on its machine."""
    where = urlsplit(address(environment))
    if where.scheme == "unix":
        return
    # An address without a scheme is one over plain http to the library that calls the engine.
    if where.scheme not in ("tcp", "https") or where.hostname is None:
        raise ConfigurationError(
            f"a worker does not speak to a container engine at {address(environment)}",
            code="engine-elsewhere",
            hint="DOCKER_HOST=tcp://HOST:2376 with DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or run it there",
            fault="provider",
        )
    if where.hostname not in _LOOPBACK and not environment.get("DOCKER_TLS_VERIFY"):
        raise ConfigurationError(
            f"the container engine at {where.hostname} is on another machine and not asked who it is",
            code="engine-without-tls",
            hint="set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, a folder with ca.pem, cert.pem and key.pem",
            fault="provider",
        )


def require_shared(kind: str, where: str) -> None:
    """ConfigurationError for disks that are mounted by path (`loop`, `watched`) on an engine of another
    machine: it would mount what lies there under that path."""
    host = urlsplit(where).hostname
    if kind in ("loop", "watched") and host is not None and host not in _LOOPBACK:
        raise ConfigurationError(
            f"a {kind} disk is mounted by its path here, and the container engine at {host} is elsewhere",
            code="engine-elsewhere",
            hint="leave --scratch out",
            fault="provider",
        )


def is_far(where: str) -> bool:
    """Whether what a task needs must be carried to the engine at this address."""
    if not where.startswith("unix://"):
        return True
    found = _peer(where)
    return found is not None and found[1] != 0


def shares_our_mounts(where: str) -> bool:
    """Whether the engine is a process in our own mount namespace: what is mounted here, it can hand to a
    task. A far one is not, nor is the host's for a worker that runs in a container."""
    found = _peer(where)
    if found is None or found[0] <= 0 or found[1] != 0:
        return False
    with suppress(OSError):
        return os.readlink(f"/proc/{found[0]}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    return False


def require_limits(info: Mapping[str, Any]) -> None:
    """EngineError unless the engine, by its own description, can limit what a task takes."""
    missing = [what for field, what in _LIMITS if not info.get(field)]
    if not missing:
        return
    options = str(info.get("SecurityOptions") or "")
    if "name=rootless" in options and str(info.get("CgroupVersion")) != "2":
        hint = "a rootless engine limits nothing without control groups of version 2: start this machine with"
        hint += " systemd.unified_cgroup_hierarchy=1"
    elif "name=rootless" in options:
        hint = "let its user's systemd have them: Delegate=cpu cpuset io memory pids for user@.service"
    else:
        hint = "enable its control group"
    raise EngineError(
        f"the engine cannot limit {', '.join(missing)}, so that a task could take all of its machine",
        code="engine-no-limits",
        hint=hint,
    )


def require_keeper(info: Mapping[str, Any]) -> None:
    """EngineError unless the engine can run what keeps a carried task's files (`worker.holder`)."""
    found = str(info.get("Architecture"))
    if found != "x86_64":
        raise EngineError(
            f"files are carried to engines on x86-64 only, and this one's machine is {found}",
            code="engine-architecture",
            hint="run the worker where the engine is",
        )


def require_room(memory_mib: int, disk_mib: int, there_mib: int) -> None:
    """ConfigurationError when what a worker offers is more than the engine's machine has, where the disks of
    tasks are memory too."""
    if memory_mib + disk_mib > there_mib:
        raise ConfigurationError(
            f"{memory_mib} MiB of memory and {disk_mib} MiB of disk are offered, and on an engine elsewhere"
            f" disks are memory: its machine has {there_mib} MiB",
            code="engine-too-small",
            hint="offer less: worker start --memory and --disk",
            fault="provider",
        )


def _peer(where: str) -> tuple[int, int] | None:
    """Process and user ids of who listens on a socket; None when nobody does or it is no socket of this
    machine."""
    if not where.startswith("unix://"):
        return None
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(where.removeprefix("unix://"))
        size = struct.calcsize("3i")
        pid, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return pid, user
    return None
