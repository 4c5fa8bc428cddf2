"""The chain as the worker reads it: a lot's word, an account, a key's authorisation and the time; and the one
transaction that it sends, when nobody else settles its deal.

The node is the provider's choice: what it says decides whether a strange program is worth running.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from prixfixe.chain.client import Account, MarketClient
from prixfixe.chain.events import MarketEvent
from prixfixe.chain.transactions import broadcast, prepare, require_success, wait_for_receipt
from prixfixe.errors import ChainError, ConfigurationError, Forbidden, InsufficientFunds, Unavailable
from prixfixe.keys import Signer
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.orders import Result

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
_MINED_SECONDS: Final = 30.0  # for one price of gas


def _coins(wei: int) -> str:
    return f"{wei / 10**18:.6f} coins"


class ChainReader:
    """One market behind one node. Safe for many threads."""

    def __init__(self, rpc: str, contract: str, chain_id: int) -> None:
        self._client = MarketClient(rpc, contract, chain_id=chain_id)

    def close(self) -> None:
        self._client.rpc.close()

    def check(self) -> None:
        """ConfigurationError unless the node serves the market's chain and the market is on it."""
        _ = self._client.chain_id
        if not self._client.is_deployed():
            raise ConfigurationError(
                f"there is no contract at {self._client.contract} behind {self._client.rpc.shown_url}",
                code="no-contract",
                hint="--rpc and --service must be of the same market",
                fault="provider",
            )

    def lot_word(self, order: bytes, lot: int) -> bytes:
        """The word of a lot: zero, one, or the hash that is its state."""
        return self._client.lot(order, lot)

    def account(self, owner: str) -> Account:
        return self._client.account(owner)

    def require_authorised(self, provider: str, key: str) -> None:
        """Forbidden unless this key may sign for the provider now."""
        if key == provider:
            return
        until, now = self._client.worker_until(provider, key), self.now()
        if until < now:
            state = "was never authorised" if until == 0 else f"was authorised until {until}, and it is {now}"
            raise Forbidden(
                f"worker key {key} {state} by provider {provider}",
                code="key-not-authorised",
                hint="run `prixfixe worker init` once with the provider's key, on any machine",
                fault="provider",
            )

    def block(self) -> int:
        """Number of the newest block."""
        return self._client.block().number

    def gas_balance(self, key: str) -> int:
        """Wei that a key has for transactions."""
        return self._client.gas_balance(key)

    def gas_price(self) -> int:
        """Wei that a unit of gas costs now."""
        return self._client.gas_price()

    def deal_events(self, deal: bytes, since: int, wanted: Sequence[type[MarketEvent]]) -> list[MarketEvent]:
        """What the contract said of a deal, from block `since` on, oldest first."""
        return self._client.events(since, of=wanted, id=deal)

    def settle(
        self,
        signer: Signer,
        deal: Deal,
        due: int,
        result: Result,
        signatures: Sequence[bytes],
        keep: Callable[[str], None],
        *,
        until: float,
    ) -> None:
        """Send a result to the contract with the signer's own gas money, and again with higher fees when it
        is not mined, until `until` (monotonic seconds). keep: given each hash before it is sent.

        InsufficientFunds when the key cannot pay the gas. ChainError when the contract refuses.
        """
        client, rpc = self._client, self._client.rpc
        call = client.encode_call("settle", deal, due, result.root, result.done, list(signatures))
        transaction = prepare(
            rpc,
            chain_id=client.chain_id,
            sender=signer.address,
            to=client.contract,
            data=call,
            context="settle",
        )
        while True:
            cost, has = transaction.gas * transaction.max_fee, self.gas_balance(signer.address)
            if has < cost:
                raise InsufficientFunds(
                    f"the worker key {signer.address} has {_coins(has)} for gas and settling a deal may take"
                    f" {_coins(cost)}: it cannot settle what the operator leaves open",
                    hint=f"send a little of the chain's own coin to {signer.address}",
                    fault="provider",
                )
            signed = transaction.sign(signer)
            keep(signed.hash)
            broadcast(rpc, signed)
            left = until - time.monotonic()
            try:
                receipt = wait_for_receipt(
                    rpc, signed.hash, timeout_seconds=max(0.1, min(_MINED_SECONDS, left))
                )
            except Unavailable:
                if left <= _MINED_SECONDS:
                    raise
                transaction = transaction.with_higher_fees()
                continue
            require_success(rpc, signed, receipt, "settle")
            return

    def now(self) -> int:
        """The time that the next block would have: the pending block's, else the latest one's.

        On a quiet chain the latest block may be old, and a local chain's clock can be moved; what counts for
        an expiry is the block that will hold the match.
        """
        with suppress(ChainError):  # not every node has a pending block
            if block := self._client.rpc.call("eth_getBlockByNumber", "pending", False):
                return int(block["timestamp"], 16)
        return self._client.block().time

    def wait_for_word(self, order: bytes, lot: int, expected: bytes, timeout: float) -> bytes:
        """The word of a lot, asked again for `timeout` seconds while it is another than expected: a node may
        be a block behind the one that the service reads."""
        until = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            last = time.monotonic() + pause > until
            try:
                word = self.lot_word(order, lot)
                if word == expected or last:
                    return word
            except Unavailable:
                if last:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
