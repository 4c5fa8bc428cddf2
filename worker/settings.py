"""What a worker is started with, checked once."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from prixfixe.errors import ConfigurationError
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.money import Money
from worker.gpus import Gpu

Sells = Literal["both", "bundles", "bids"]
ScratchKind = Literal["auto", "loop", "watched", "carried"]
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that are the worker's own, whatever the product says.

    log_bytes: text of a job that reaches its customer. log_flood_bytes: what a job may print before it is
    stopped. line_bytes: longest line of a log, the rest of it is dropped. output_files: most files a task
    may leave. processes, open_files: of one container. input_cache_mib: what the input cache may keep
    between jobs. image_quota_mib: what images may take that the worker brought.
    """

    log_bytes: int = 1 << 20
    log_flood_bytes: int = 64 << 20
    line_bytes: int = 8192
    output_files: int = 4096
    processes: int = 256
    open_files: int = 4096
    input_cache_mib: int = 8192
    image_quota_mib: int = 20 << 10


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """One worker.

    service: base URL of the market's API. rpc: URL of a chain node that the worker trusts. provider: account
    that is paid. contract: the market that is meant, None: whichever the service names. key: key
    specification of the worker key (`dev:N`, keystore file, `exec:COMMAND`). slots: tasks at once;
    milli_vcpu, memory_mib and disk_mib are shared out evenly among them. rate: dollars for an hour of one
    vCPU. minimum: least price of a task. sells: to whom; pay for bundles waits one dispute window and can be
    disputed, pay for bids is there at once. ask_seconds: how long a signed ask lives. drain_seconds: how
    long a stop waits for running tasks. settle_after_seconds: how long the operator has to settle a result
    before the worker does. metrics: HOST:PORT where they are served, None: nowhere. egress: jobs may call
    the hosts that they name, from this machine's address. gpus: what tasks of GPU products get, each one
    task at a time. runtime: OCI runtime of the engine (`runc`, `runsc`), or `auto` (see `worker.isolation`).
    scratch: how the disk of a task is bounded (see `worker.scratch`).
    """

    service: str
    rpc: str
    provider: str
    key: str
    data: Path
    contract: str | None = None
    name: str = "w1"
    slots: int = 1
    milli_vcpu: int = 1000
    memory_mib: int = 1024
    disk_mib: int = 4096
    rate: Decimal = Decimal("0.05")
    minimum: Money = field(default_factory=lambda: Money(1000))
    sells: Sells = "both"
    ask_seconds: int = 300
    drain_seconds: float = 120.0
    settle_after_seconds: float = 60.0
    metrics: str | None = None
    gpus: tuple[Gpu, ...] = ()
    runtime: str = "auto"
    egress: bool = False
    scratch: ScratchKind = "auto"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "provider", parse_address(self.provider, name="provider"))
        if self.contract is not None:
            object.__setattr__(self, "contract", parse_address(self.contract, name="contract"))
        for name in ("service", "rpc"):
            url = getattr(self, name)
            if not url.startswith(("http://", "https://")):
                raise _wrong(f"{name} is {url!r}, not an http or https URL")
            object.__setattr__(self, name, url.rstrip("/"))
        if not _NAME.fullmatch(self.name):
            raise _wrong(f"the worker's name is {self.name!r}: letters, digits, '.', '_', '-', at most 64")
        if not 1 <= self.slots <= 256:
            raise _wrong(f"slots is {self.slots}, not 1 to 256")
        for name in ("milli_vcpu", "memory_mib", "disk_mib", "ask_seconds"):
            if getattr(self, name) < 1:
                raise _wrong(f"{name} is {getattr(self, name)}, not at least 1")
        cores = os.cpu_count() or 1
        if self.milli_vcpu > cores * 1000:
            raise _wrong(f"{self.milli_vcpu / 1000:g} vCPU offered, and this machine has {cores}")
        if len({gpu.device for gpu in self.gpus}) < len(self.gpus):
            raise _wrong("a GPU is named twice")
        if not self.rate.is_finite() or self.rate < 0:
            raise _wrong(f"the rate is {self.rate}, not dollars an hour for one vCPU")


def free_disk_mib(folder: Path) -> int:
    """MiB that a worker may offer: half of what is free where its data lies, so that the host keeps room."""
    place = folder
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free // 2 >> 20


def _wrong(message: str) -> ConfigurationError:
    return ConfigurationError(message, fault="provider", hint="see `prixfixe worker start --help`")
