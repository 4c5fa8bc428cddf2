"""A systemd unit for a worker: as much of the host taken from it as its way of bounding disks allows.

A worker that bounds disks by file systems of their own must be root and share the host's mounts with the
engine: what it mounts in a namespace of its own the engine never sees. So that unit lacks every directive
that makes one. The other runs as a user of its own that may only talk to the engine, and sees next to nothing
of the machine; disks are then watched, not bounded.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prixfixe.errors import InvalidInput

_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)

# None makes a mount namespace.
_EVERYWHERE: Final = """\
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces={namespaces}
LockPersonality=yes
SystemCallArchitectures=native
UMask=0077
LimitCORE=0
OOMScoreAdjust=-500
"""
_BOUNDED: Final = """\
# Disks of tasks are file systems of their own: root, and the host's mounts.
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH
CapabilityBoundingSet=CAP_FOWNER CAP_KILL CAP_MKNOD
SystemCallFilter=@system-service @mount
"""
# A job's proxy listens in the job's network namespace, which is another user's process's.
_EGRESS: Final = """\
CapabilityBoundingSet=CAP_SYS_PTRACE
"""
_WATCHED: Final = """\
User={user}
SupplementaryGroups=docker
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ReadWritePaths={data}
"""


def unit(data: Path, program: Sequence[str], *, user: str | None, drain: float) -> str:
    """The text of a unit. data: the worker's folder, absolute. program: command line of `worker start`. user:
    of a worker without root, None for root. drain: seconds that it gives running tasks at a stop."""
    if user is not None and not _USER.fullmatch(user):
        raise InvalidInput(f"{user!r} is no user's name", code="bad-user", fault="provider")
    for text in (*program, str(data)):
        if any(char in text for char in "\n\r%$"):
            raise InvalidInput(f"{text!r} cannot be in a unit", code="bad-unit", fault="provider")
    own = _BOUNDED if user is None else _WATCHED.format(user=user, data=data)
    calls_hosts = user is None and "--egress" in program
    own += _EGRESS if calls_hosts else ""
    everywhere = _EVERYWHERE.format(namespaces="net" if calls_hosts else "yes")
    return f"""\
[Unit]
Description=Prixfixe worker ({data})
Wants=network-online.target
After=network-online.target docker.service
Requires=docker.service

[Service]
Type=exec
ExecStart={shlex.join(program)}
WorkingDirectory={data}
# SIGTERM to the worker alone: it lets running tasks end, or refuses them, and ends its runner itself.
KillMode=mixed
TimeoutStopSec={int(drain) + 30}
Restart=on-failure
RestartSec=5
{everywhere}{own}
[Install]
WantedBy=multi-user.target
"""
