"""Who a worker is and whom it works for: written once by `prixfixe worker init` into the data folder, and
taken by every other command that is told of the folder only.

It names keys and holds none. The node's URL may carry a token, so only this user may read the file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from prixfixe.client.keeping import write_private
from prixfixe.errors import ConfigurationError, InvalidInput
from prixfixe.protocol.addresses import parse_address

PROFILE_FILE: Final = "worker.json"


@dataclass(frozen=True, slots=True)
class Profile:
    """service, rpc: URLs of the market and of a node that the provider trusts. contract, chain_id: the market
    that is meant. provider: account that is paid. key: spec of the worker's key. provider_key: spec of the
    provider's own key when it lies on this machine too, else None. payout: wallet that withdrawals go to."""

    service: str
    rpc: str
    contract: str
    chain_id: int
    provider: str
    key: str
    payout: str
    provider_key: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "service", self.service.rstrip("/"))
        for name in ("contract", "provider", "payout"):
            object.__setattr__(self, name, parse_address(getattr(self, name), name=name))

    def save(self, data: Path) -> None:
        write_private(data / PROFILE_FILE, json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def find(data: Path) -> Profile | None:
        """Of a data folder; None when none was set up there. ConfigurationError when it cannot be read."""
        place = data / PROFILE_FILE
        try:
            return Profile(**json.loads(place.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, InvalidInput) as error:
            raise ConfigurationError(
                f"{place} cannot be read: {error}",
                code="bad-worker-profile",
                hint="set the worker up anew: prixfixe worker init",
                fault="provider",
            ) from error

    @staticmethod
    def of(data: Path) -> Profile:
        """As `find`; ConfigurationError when there is none."""
        found = Profile.find(data)
        if found is None:
            raise ConfigurationError(
                f"no worker was set up in {data}",
                code="no-worker",
                hint="set one up: `prixfixe worker init`; or name its folder with --data",
                fault="provider",
            )
        return found
