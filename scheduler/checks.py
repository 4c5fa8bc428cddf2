"""What must hold before a service starts, each with an error that says what to do."""

from __future__ import annotations

import fcntl
import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from sqlalchemy import make_url

from prixfixe.chain import artefacts
from prixfixe.chain.client import MarketClient
from prixfixe.chain.deployment import Deployment
from prixfixe.chain.rpc import Rpc
from prixfixe.errors import ConfigurationError, Unavailable

log = logging.getLogger(__name__)

_LOW_GAS_WEI: Final = 10**16  # a hundredth of the chain's coin: a few hundred transactions on a cheap chain
_FIRST_PAUSE_SECONDS: Final = 0.05
_LAST_PAUSE_SECONDS: Final = 1.0


def open_market(
    url: str, contract: str | None, manifest: Path | None, seconds: float, closing: ExitStack
) -> tuple[MarketClient, Deployment | None]:
    """The contract at its address or by its manifest, checked; waits up to `seconds` for its node."""
    if (contract is None) == (manifest is None):
        raise ConfigurationError(
            "the service needs the market's address or its manifest, and not both",
            hint="give --contract ADDRESS or --deployment FILE",
        )
    rpc = closing.enter_context(Rpc(url))
    wait_for_chain(rpc, seconds)
    if manifest is not None:
        deployment = Deployment.load(manifest)
        deployment.check(rpc)
        return deployment.client(rpc), deployment
    assert contract is not None
    client = MarketClient(rpc, contract)
    require_market(client)
    return client, None


def wait_for_chain(rpc: Rpc, seconds: float) -> int:
    """The chain's id, as soon as its node answers; Unavailable when it does not within `seconds`.

    A machine that comes up starts everything at once; the chain may be the slower one.
    """
    deadline, pause, said = time.monotonic() + seconds, _FIRST_PAUSE_SECONDS, False
    while True:
        try:
            return int(rpc.call("eth_chainId"), 16)
        except Unavailable as error:
            if time.monotonic() + pause > deadline:
                raise
            if not said:
                log.warning("%s; waiting up to %.0f s for it", error, seconds)
                said = True
        time.sleep(pause)
        pause = min(2 * pause, _LAST_PAUSE_SECONDS)


def require_market(client: MarketClient) -> None:
    """ConfigurationError unless the contract at the address is the market that this version knows."""
    code = bytes.fromhex(client.rpc.call("eth_getCode", client.contract, "latest")[2:])
    if not code:
        raise ConfigurationError(
            f"there is no contract at {client.contract} on chain {client.chain_id}",
            code="no-market",
            hint="check --contract and --rpc; a local chain that was restarted without its state is empty",
        )
    if not artefacts.load("Market").is_code(code):
        raise ConfigurationError(
            f"the contract at {client.contract} is not the market that this version of prixfixe knows",
            code="wrong-market",
            hint="install the version that the market was deployed with",
        )


def require_operator(client: MarketClient, operator: str) -> None:
    """ConfigurationError unless `operator` is the contract's scheduler and can pay for gas."""
    scheduler = client.config().scheduler
    if scheduler != operator:
        raise ConfigurationError(
            f"the key given is {operator}, and the contract's scheduler is {scheduler}",
            code="not-the-scheduler",
            hint="start with the scheduler's key, or let the admin call setScheduler",
        )
    balance = client.gas_balance(operator)
    if balance == 0:
        raise ConfigurationError(
            f"{operator} has no money for gas on chain {client.chain_id}",
            code="no-gas-money",
            hint="send it the chain's own coin",
        )
    if balance < _LOW_GAS_WEI:
        log.warning("%s has only %.6f of the chain's coin for gas", operator, balance / 10**18)


def first_block(client: MarketClient, deployment: Deployment | None) -> int:
    """The block in which the market was created: the manifest's, else found by asking where its code begins.

    0, which reads the whole chain, when the node keeps no old state.
    """
    if deployment is not None:
        return deployment.block
    low, high = 0, client.block().number
    try:
        while low < high:
            middle = (low + high) // 2
            if client.rpc.call("eth_getCode", client.contract, hex(middle)) == "0x":
                low = middle + 1
            else:
                high = middle
    except Exception as error:
        log.warning("where the market begins is not known (%s); reading events from block 0", error)
        return 0
    return low


def lock(data: Path, database: str, closing: ExitStack, *, partly: bool = False) -> None:
    """Keep other services off the folder and a database in a file: two would send twice. Those on PostgreSQL
    know of one another, as do processes that each do a part of what a service does (partly)."""
    url = make_url(database)
    is_file = url.get_backend_name() == "sqlite"
    shared = partly or not is_file
    closing.enter_context(_locked(data, "service.lock", shared=shared))
    if is_file:
        file = Path(str(url.database)).resolve()  # maybe another folder's
        closing.enter_context(_locked(file.parent, f"{file.name}.lock", shared=shared))


def _locked(data: Path, name: str, *, shared: bool) -> IO[str]:
    """A lock in a folder, held while it is open. ConfigurationError when another process has it in a way that
    bars this one."""
    data.mkdir(parents=True, exist_ok=True)
    handle = (data / name).open("w")
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise ConfigurationError(
            f"another service runs on {data}",
            code="already-running",
            hint="stop it first, or give this one its own --data; only --no-api and --no-duties share",
        ) from None
    return handle
