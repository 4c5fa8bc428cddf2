"""The market under ape: its contracts from the committed artefacts, and its deployment.

What is deployed with which arguments is decided in `prixfixe.chain.parameters`, and written down as
`prixfixe.chain.manifest` says; only the sending is ape's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

# At the end: the folder above holds a folder called ape, which must not hide the library.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from ape.api import AccountAPI
from ape.contracts import ContractContainer, ContractInstance
from ape.types import AddressType
from ethpm_types import ContractType

from prixfixe.chain import artefacts, placing
from prixfixe.chain.manifest import Deployment
from prixfixe.chain.parameters import Policy, Roles, check_policy, constructor_arguments
from prixfixe.development_keys import is_local_chain
from prixfixe.errors import ConfigurationError


def container(name: str) -> ContractContainer:
    """A contract, ready to deploy or to look at: `container("Market").at(address)`."""
    artefact = artefacts.load(name)
    fields: dict[str, Any] = {
        "contractName": artefact.name,
        "abi": [dict(entry) for entry in artefact.abi],
        "deploymentBytecode": {"bytecode": "0x" + artefact.creation_code.hex()},
        "runtimeBytecode": {"bytecode": "0x" + artefact.runtime_code.hex()},
    }
    return ContractContainer(ContractType.model_validate(fields))


def deploy(
    sender: AccountAPI, policy: Policy, roles: Roles, chain_id: int, token: str | None = None, salt: int = 0
) -> tuple[ContractInstance, Deployment]:
    """The market and its manifest. Without a token a DevDollar is made first, on a local chain only.

    Where the chain has the deterministic deployment proxy, the address is the one that `prixfixe chain
    deploy` gives to the same token, policy, roles and salt.
    """
    check_policy(policy, roles, chain_id)
    hashes = {}
    if token is None:
        if not is_local_chain(chain_id):
            raise ConfigurationError(f"chain {chain_id} is not a local one: name the token", code="no-token")
        dollar = sender.deploy(container("DevDollar"))
        token, hashes["DevDollar"] = str(dollar.address), _hash(dollar)
    market = _place(sender, constructor_arguments(token, policy, roles), salt)
    hashes["Market"] = _hash(market)
    artefact = artefacts.load("Market")
    deployment = Deployment(
        chain_id=chain_id,
        market=str(market.address),
        token=token,
        policy=policy,
        roles=roles,
        block=int(market.creation_metadata.block),
        transactions=hashes,
        source_hash=artefact.source_hash,
        compiler=artefact.compiler,
    )
    return market, deployment


def _place(sender: AccountAPI, arguments: list[Any], salt: int) -> ContractInstance:
    code = sender.provider.get_code(cast(AddressType, placing.PROXY))
    if not placing.has_proxy(bytes(code)):
        return sender.deploy(container("Market"), *arguments)
    artefact = artefacts.load("Market")
    creation = artefact.creation_code + artefact.constructor.encode_call(arguments)[4:]
    address = placing.proxied_address(creation, salt)
    if sender.provider.get_code(cast(AddressType, address)):
        raise ConfigurationError(f"this very market exists already, at {address}", code="market-exists")
    receipt = sender.transfer(placing.PROXY, value=0, data=placing.proxy_call(creation, salt))
    return container("Market").at(address, txn_hash=receipt.txn_hash)


def _hash(instance: ContractInstance) -> str:
    text = str(instance.creation_metadata.txn_hash)
    return text if text.startswith("0x") else "0x" + text
