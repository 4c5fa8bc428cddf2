"""Deployment: puts a market on a chain and says what was put there."""

from __future__ import annotations

from typing import Any

from prixfixe.chain import artefacts, placing, transactions
from prixfixe.chain.manifest import Deployment, manifest_path
from prixfixe.chain.parameters import Policy, Roles, check_policy, constructor_arguments
from prixfixe.chain.rpc import Rpc
from prixfixe.development_keys import is_local_chain
from prixfixe.errors import ConfigurationError
from prixfixe.keys import Signer
from prixfixe.protocol.addresses import parse_address

__all__ = ["Deployment", "deploy", "manifest_path"]


def deploy(
    rpc: Rpc, signer: Signer, policy: Policy, roles: Roles, *, token: str | None = None, salt: int = 0
) -> Deployment:
    """Creates the market, and before it a DevDollar when no token is given, which only a local chain allows.

    Where the chain has the deterministic deployment proxy, the market's address follows from its code, token,
    policy, roles and the salt alone; elsewhere from the signer and its nonce.

    ConfigurationError for a policy that makes no sense, a missing token, or an address that is taken, before
    the market is sent.
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
        created = _send(rpc, signer, "DevDollar", None, _creation("DevDollar", []))
        hashes["DevDollar"], token = created.hash, _address(created)
    else:
        token = parse_address(token, name="token")
        _require_decimals(rpc, token)
    market, created = _place(rpc, signer, constructor_arguments(token, policy, roles), salt)
    hashes["Market"] = created.hash
    artefact = artefacts.load("Market")
    deployment = Deployment(
        chain_id=chain_id,
        market=market,
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


def _place(
    rpc: Rpc, signer: Signer, arguments: list[Any], salt: int
) -> tuple[str, transactions.TransactionReceipt]:
    """The market's address and the transaction that created it."""
    creation = _creation("Market", arguments)
    if not placing.proxy_there(rpc):
        created = _send(rpc, signer, "Market", None, creation)
        return _address(created), created
    address = placing.proxied_address(creation, salt)
    if rpc.call("eth_getCode", address, "latest") != "0x":
        raise ConfigurationError(
            f"this very market exists already, at {address}",
            code="market-exists",
            hint="use that one, or give another --salt to have a second one like it",
        )
    return address, _send(rpc, signer, "Market", placing.PROXY, placing.proxy_call(creation, salt))


def _creation(name: str, arguments: list[Any]) -> bytes:
    """Creation code with its arguments; a creation has no selector."""
    artefact = artefacts.load(name)
    return artefact.creation_code + artefact.constructor.encode_call(arguments)[4:]


def _send(
    rpc: Rpc, signer: Signer, name: str, to: str | None, data: bytes
) -> transactions.TransactionReceipt:
    unsigned = transactions.prepare(
        rpc, chain_id=signer.chain_id, sender=signer.address, to=to, data=data, context=f"deploy {name}"
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
