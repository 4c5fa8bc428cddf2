"""Deployment: puts a market on a chain and writes down what was put there.

The manifest, `deployments/<chain id>.json`, is all that a client needs to find and check a market, and all
that an auditor needs to compile it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prixfixe.chain import artefacts, transactions
from prixfixe.chain.client import MarketClient
from prixfixe.chain.parameters import Policy, Roles, check_policy, constructor_arguments
from prixfixe.chain.rpc import Rpc
from prixfixe.development_keys import is_local_chain
from prixfixe.errors import ConfigurationError, InvalidInput, NotFound
from prixfixe.keys import Signer
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.typed_data import Domain, require_fields

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


def deploy(rpc: Rpc, signer: Signer, policy: Policy, roles: Roles, *, token: str | None = None) -> Deployment:
    """Creates the market, and before it a DevDollar when no token is given, which only a local chain allows.

    ConfigurationError for a policy that makes no sense or a missing token, before anything is sent.
    """
    chain_id = int(rpc.call("eth_chainId"), 16)
    if chain_id != signer.chain_id:
        raise ConfigurationError(
            f"the key was opened for chain {signer.chain_id} and {rpc.shown_url} serves chain {chain_id}",
            code="wrong-chain",
        )
    check_policy(policy, roles, chain_id)
    hashes: dict[str, str] = {}
    if token is None:
        if not is_local_chain(chain_id):
            raise ConfigurationError(
                f"chain {chain_id} is not a local one: name the token that the market shall hold",
                code="no-token",
                hint="give the address of a plain ERC-20 dollar with 6 decimals as --token",
            )
        created = _create(rpc, signer, chain_id, "DevDollar", [])
        hashes["DevDollar"], token = created.hash, _address(created)
    else:
        token = parse_address(token, name="token")
        _require_decimals(rpc, token)
    created = _create(rpc, signer, chain_id, "Market", constructor_arguments(token, policy, roles))
    hashes["Market"] = created.hash
    artefact = artefacts.load("Market")
    deployment = Deployment(
        chain_id=chain_id,
        market=_address(created),
        token=token,
        policy=policy,
        roles=roles,
        block=created.block_number,
        transactions=hashes,
        source_hash=artefact.source_hash,
        compiler=artefact.compiler,
    )
    deployment.check(rpc)
    return deployment


def _create(
    rpc: Rpc, signer: Signer, chain_id: int, name: str, arguments: list[Any]
) -> transactions.TransactionReceipt:
    artefact = artefacts.load(name)
    data = (
        artefact.creation_code + artefact.constructor.encode_call(arguments)[4:]
    )  # no selector in a creation
    unsigned = transactions.prepare(
        rpc, chain_id=chain_id, sender=signer.address, to=None, data=data, context=f"deploy {name}"
    )
    signed = unsigned.sign(signer)
    transactions.broadcast(rpc, signed)
    receipt = transactions.wait_for_receipt(rpc, signed.hash)
    transactions.require_success(rpc, signed, receipt, f"deploy {name}")
    return receipt


def _address(receipt: transactions.TransactionReceipt) -> str:
    if receipt.contract is None:
        raise ConfigurationError("the node reports a created contract without an address", code="bad-node")
    return receipt.contract


def _require_decimals(rpc: Rpc, token: str) -> None:
    function = artefacts.load("DevDollar").function("decimals")
    answer = rpc.call("eth_call", {"to": token, "data": "0x" + function.encode_call([]).hex()}, "latest")
    data = bytes.fromhex(answer[2:])
    if len(data) != 32 or function.decode_result(data) != 6:
        raise ConfigurationError(f"{token} is not a token with 6 decimals", code="bad-token")
