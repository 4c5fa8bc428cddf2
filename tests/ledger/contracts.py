"""The compiled contract on two machines: pyrevm, an EVM in this process, and anvil, a real chain."""

from __future__ import annotations

import re
from typing import Final

from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env

from prixfixe.chain import artefacts, transactions
from prixfixe.chain.deployment import deploy
from prixfixe.chain.parameters import Roles, constructor_arguments
from prixfixe.chain.transactions import Transaction
from prixfixe.development_keys import ADDRESSES
from prixfixe.devnet.anvil import LocalChain
from prixfixe.errors import ChainError
from prixfixe.keys import development_signer
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.policy import Policy
from tests.ledger.people import ADMIN, WALLET, WALLET_CODE
from tests.ledger.sides import CHAIN_ID, ROLES, Log

START: Final = 1_700_000_000

_MARKET: Final = artefacts.load("Market")
_TOKEN: Final = artefacts.load("DevDollar")
_REASONS: Final = {bytes.fromhex("4e487b71"): "Panic"} | {
    error.selector: error.name for artefact in (_TOKEN, _MARKET) for error in artefact.errors.values()
}
# More than any call of these tests takes.
_GAS: Final = 5_000_000


class Revm:
    """A market in pyrevm. Time stands still unless it is moved."""

    _REVERT = re.compile(r"Revert \{.*output: 0x([0-9a-f]*)")

    def __init__(self, policy: Policy, roles: Roles = ROLES) -> None:
        self._evm = EVM(env=Env(cfg=CfgEnv(chain_id=CHAIN_ID)), gas_limit=2**40, spec_id="CANCUN")
        self._move_to(START)
        self.token = parse_address(self._evm.deploy(ADMIN, _TOKEN.creation_code))
        arguments = _MARKET.constructor.encode_call(constructor_arguments(self.token, policy, roles))[4:]
        self.market = parse_address(self._evm.deploy(ADMIN, _MARKET.creation_code + arguments))
        self._evm.insert_account_info(WALLET, AccountInfo(code=WALLET_CODE))

    def soonest(self, now: int) -> int:
        return max(now, self._now)

    def call(self, sender: str, to: str, data: bytes, now: int) -> tuple[str, list[Log]]:
        if now != self._now:
            self._move_to(now)
        try:
            self._evm.message_call(sender, to, data)
        except RuntimeError as error:
            if (reverted := self._REVERT.match(str(error))) is None:
                raise
            refused = bytes.fromhex(reverted[1])
            return _REASONS.get(refused[:4], f"unknown 0x{refused.hex()}"), []
        finally:
            self._evm.reset_transient_storage()
        own = self.market.lower()
        assert self._evm.result is not None
        return "", [log.data for log in self._evm.result.logs if log.address.lower() == own]

    def read(self, to: str, data: bytes) -> bytes:
        return self._evm.message_call(ADMIN, to, data)

    def keep(self) -> None:
        """What `go_back` returns to, the clock too."""
        self._kept = self._evm.snapshot(), self._now

    def go_back(self) -> None:
        snapshot, now = self._kept
        self._evm.revert(snapshot)
        self._move_to(now)
        self.keep()

    def _move_to(self, now: int) -> None:
        self._now = now
        self._evm.set_block_env(BlockEnv(number=1, timestamp=now, gas_limit=2**40))


class Anvil:
    """A market on anvil. Each call is a signed transaction in a block of its own, a second later at least;
    those that are refused are mined too."""

    def __init__(self, chain: LocalChain, policy: Policy) -> None:
        self.chain = chain
        deployment = deploy(chain.rpc, development_signer(ADDRESSES.index(ADMIN)), policy, ROLES)
        self.market, self.token = deployment.market, deployment.token

    def soonest(self, now: int) -> int:
        return max(now, self.chain.time + 1)

    def call(self, sender: str, to: str, data: bytes, now: int) -> tuple[str, list[Log]]:
        rpc = self.chain.rpc
        rpc.call("evm_setNextBlockTimestamp", hex(now))
        unsigned: Transaction = transactions.prepare(
            rpc, chain_id=CHAIN_ID, sender=sender, to=to, data=data, gas=_GAS
        )
        signed = unsigned.sign(development_signer(ADDRESSES.index(sender)))
        transactions.broadcast(rpc, signed)
        receipt = transactions.wait_for_receipt(rpc, signed.hash)
        try:
            transactions.require_success(rpc, signed, receipt, "call")
        except ChainError as error:
            return error.revert or str(error), []
        own = self.market.lower()
        return "", [
            ([_bytes(topic) for topic in log["topics"]], _bytes(log["data"]))
            for log in receipt.logs
            if log["address"].lower() == own
        ]

    def read(self, to: str, data: bytes) -> bytes:
        return _bytes(self.chain.rpc.call("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest"))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
