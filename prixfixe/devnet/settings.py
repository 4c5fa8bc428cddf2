"""The numbers of a devnet: who is who, how long things take, how much play money there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prixfixe.protocol.money import Money

# Accounts of the well-known local mnemonic, by index (`dev:N`).
ADMIN: Final = 0
PRICING: Final = 1
OPERATOR: Final = 2
CUSTOMER: Final = 3
FIRST_PROVIDER: Final = 4
FIRST_WORKER_KEY: Final = 10
MOST_WORKERS: Final = 6  # providers 4..9, worker keys 10..15
ARBITER: Final = 16
INSPECTOR: Final = 17

CONTEXT: Final = "dev"
CUSTOMER_DEPOSIT: Final = Money.parse("1000.00")
PLAY_MONEY: Final = Money.parse("100.00")  # of every account that is opened on its pages or by its API
PROVIDER_DEPOSIT: Final = Money.parse("20.00")

# Short times, so that a dead worker or a refund is seen within seconds.
WINDOW_SECONDS: Final = 600
GRACE_SECONDS: Final = 4
NOTICE_SECONDS: Final = 60
HEARTBEAT_SECONDS: Final = 1.0
COOL_DOWN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class DevnetSettings:
    """What `prixfixe dev` was asked for. Ports of 0 mean: any free one."""

    root: Path
    workers: int = 3
    service_port: int = 8080
    chain_port: int = 8545
    slots: int = 1
    vcpu: float = 2
    memory_mib: int = 8192
    rate: str = "0.05"  # dollars per vCPU-hour that the workers ask
    bundles: tuple[Path, ...] = ()


def provider_key(worker: int) -> str:
    """Key spec of the provider that owns worker `worker` (1, 2, ...)."""
    return f"dev:{FIRST_PROVIDER + worker - 1}"


def worker_key(worker: int) -> str:
    return f"dev:{FIRST_WORKER_KEY + worker - 1}"


def inspector_key() -> str:
    """Key spec of the machine that looks at files which people send from a page."""
    return f"dev:{INSPECTOR}"


def arbiter_key() -> str:
    """Key spec of who judges disputes."""
    return f"dev:{ARBITER}"
