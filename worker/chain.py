"""The chain as the worker reads it: a lot's word, an account, a key's authorisation and the time.

The node is the provider's choice: what it says decides whether a strange program is worth running.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from prixfixe.chain.client import Account, MarketClient
from prixfixe.errors import ChainError, ConfigurationError, Forbidden, Unavailable

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


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
