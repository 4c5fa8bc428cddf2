"""Deployment: puts a market on a chain and says what was put there."""

from __future__ import annotations

from typing import Any

from prixfixe.chain import artefacts, transactions
from prixfixe.chain.manifest import Deployment, manifest_path
from prixfixe.chain.parameters import Policy, Roles, check_policy, constructor_arguments
from prixfixe.chain.rpc import Rpc
from prixfixe.development_keys import is_local_chain
from prixfixe.errors import ConfigurationError
from prixfixe.keys import Signer
from prixfixe.protocol.addresses import parse_address

__all__ = ["Deployment", "deploy", "manifest_path"]


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
