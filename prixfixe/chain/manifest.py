"""The manifest of a deployed market.

The file, `deployments/<chain id>.json`, is all that a client needs to find and check a market, and all
that an auditor needs to compile it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prixfixe.chain import artefacts
from prixfixe.chain.parameters import Policy, Roles
from prixfixe.errors import ConfigurationError, InvalidInput, NotFound
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.typed_data import Domain, require_fields

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.chain.rpc import Rpc

MANIFEST_VERSION: Final = 1
_FIELDS: Final = [
    *("version", "chain_id", "market", "token", "policy"),
    *("roles", "block", "transactions", "source_hash", "compiler"),
]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A market on a chain.

    block: in which it was created; events are read from there. transactions: hash by contract name.
    source_hash, compiler: of the Market artefact.
    """

    chain_id: int
    market: str
    token: str
    policy: Policy
    roles: Roles
    block: int
    transactions: Mapping[str, str]
    source_hash: str
    compiler: str

    @property
    def domain(self) -> Domain:
        return Domain(self.chain_id, self.market)

    def to_json(self) -> dict[str, Any]:
        return {
            "version": MANIFEST_VERSION,
            "chain_id": self.chain_id,
            "market": self.market,
            "token": self.token,
            "policy": self.policy.to_json(),
            "roles": self.roles.to_json(),
            "block": self.block,
            "transactions": dict(self.transactions),
            "source_hash": self.source_hash,
            "compiler": self.compiler,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Deployment:
        require_fields(value, _FIELDS, "deployment manifest")
        if value["version"] != MANIFEST_VERSION:
            raise InvalidInput(f"deployment manifest version {value['version']!r} is not known")
        if type(value["block"]) is not int or value["block"] < 0:
            raise InvalidInput(f"the manifest's block is {value['block']!r}")
        market = parse_address(value["market"], name="market")
        Domain(value["chain_id"], market)  # refuses a chain id that is none
        return Deployment(
            chain_id=value["chain_id"],
            market=market,
            token=parse_address(value["token"], name="token"),
            policy=Policy.from_json(value["policy"]),
            roles=Roles.from_json(value["roles"]),
            block=value["block"],
            transactions=dict(value["transactions"]),
            source_hash=str(value["source_hash"]),
            compiler=str(value["compiler"]),
        )

    def save(self, path: Path) -> None:
        """Writes the manifest, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(path.name + ".part")
        half.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        half.replace(path)

    @staticmethod
    def load(path: Path) -> Deployment:
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise NotFound(
                f"there is no deployment manifest {path}",
                hint="deploy a market: `prixfixe chain deploy`, or start a devnet: `prixfixe dev`",
            ) from error
        try:
            return Deployment.from_json(json.loads(text))
        except ValueError as error:
            raise InvalidInput(f"the deployment manifest {path} is not JSON") from error

    def client(self, rpc: Rpc | str) -> MarketClient:
        """The market's client over a node."""
        # Late: a manifest is also written and read where nothing can sign, as under ape.
        from prixfixe.chain.client import MarketClient

        return MarketClient(rpc, self.market, chain_id=self.chain_id)

    def check(self, rpc: Rpc) -> None:
        """ConfigurationError unless the chain holds this market, by this source, with this token and
        policy."""
        client = self.client(rpc)
        if client.chain_id != self.chain_id:
            raise self._mismatch("chain id")
        code = bytes.fromhex(rpc.call("eth_getCode", self.market, "latest")[2:])
        if not code:
            raise ConfigurationError(
                f"there is no contract at {self.market} on chain {self.chain_id}",
                code="no-market",
                hint="a local chain that was restarted is empty: deploy again",
            )
        if not artefacts.load("Market").is_code(code):
            raise ConfigurationError(
                f"the contract at {self.market} is not the market that this version of prixfixe knows",
                code="wrong-market",
                hint="install the version that the market was deployed with",
            )
        if client.token != self.token:
            raise self._mismatch("token")
        found, wanted = client.policy(), self.policy
        # Only the cap may have changed, and only upwards.
        if found.to_json() | {"depositCap": 0} != wanted.to_json() | {"depositCap": 0}:
            raise self._mismatch("policy")
        if found.deposit_cap < wanted.deposit_cap:
            raise self._mismatch("deposit cap")

    def _mismatch(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"the market at {self.market} has another {what} than its manifest says", code="wrong-market"
        )


def manifest_path(chain_id: int, folder: Path = Path("deployments")) -> Path:
    """Where the manifest of a chain lies in a checkout."""
    return folder / f"{chain_id}.json"
