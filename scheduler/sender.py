"""The operator's key at the chain's node: what a call would cost and do, its nonces, receipts and funds."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from prixfixe.chain import events
from prixfixe.chain.client import MarketClient
from prixfixe.chain.transactions import SignedTransaction, Transaction, TransactionReceipt
from prixfixe.errors import ChainError, Unavailable
from prixfixe.keys import Signer
from prixfixe.protocol.money import Money
from prixfixe.protocol.tokens import deposit_nonce
from prixfixe.protocol.typed_data import parse_bytes32
from scheduler.calls import NotNeeded

log = logging.getLogger(__name__)

_GAS_MARGIN_PERCENT: Final = 30
# What is given back at the end has to be there before: at most a fifth of what was used (EIP-3529).
_REFUND_PERCENT: Final = 25
_FEE_QUESTIONS: Final = (("eth_getBlockByNumber", ("latest", False)), ("eth_maxPriorityFeePerGas", ()))
_TYPICAL_GAS: Final = 150_000  # a match or a settlement of one lot

_State = tuple[
    int, int, Mapping[str, Any], str
]  # the key's transactions and money, newest block, present tip


@dataclass(frozen=True, slots=True)
class Prepared:
    """A transaction without its nonce. mined: how many of the key's the chain has. block_gas: most that a
    block takes."""

    transaction: Transaction
    mined: int
    block_gas: int


class Sender:
    """Asks and signs; sends nothing. least_sends: below money for so many calls it warns."""

    def __init__(self, market: MarketClient, signer: Signer, least_sends: int) -> None:
        self._market: Final = market
        self._signer: Final = signer
        self._least_sends: Final = least_sends
        self._funds_seen = float("-inf")  # by the monotonic clock
        self._rehearses = True  # the node, until it shows that it does not
        self.warning: str | None = None  # about the funds

    @property
    def address(self) -> str:
        return self._signer.address

    def sign(self, transaction: Transaction) -> SignedTransaction:
        return transaction.sign(self._signer)

    def prepare(self, data: bytes) -> Prepared:
        """A call of the market with the present fees. ChainError when it would revert.

        Its gas is what one run of it uses: an estimate looks for the least that is enough in a score of runs,
        which for a call of many takes the node longer than all the rest. A node that does not tell, or says
        that it fails, is asked for the estimate, whose refusal says why.
        """
        used, state = self._told(("eth_createAccessList", [self._call(data), "pending"]))
        if isinstance(used, ChainError) or used.get("error") is not None:
            gas = int(self._market.rpc.call("eth_estimateGas", self._call(data), "pending"), 16)
        else:
            gas = int(used["gasUsed"], 16) * (100 + _REFUND_PERCENT) // 100
        return self._prepared(data, gas, state)

    def rehearsed(self, data: bytes) -> Prepared | None:
        """As `prepare`, of a call of many from which the contract would leave nothing out. None when it
        would, and from a node that does not tell. One run of all is a third of a node's work for one of each
        and one of all."""
        if not self._rehearses:
            return None
        run = {"blockStateCalls": [{"calls": [self._call(data)]}]}
        told, state = self._told(("eth_simulateV1", [run, "pending"]))
        try:
            call = told[0]["calls"][0]
            whole = int(call["status"], 16) == 1
            whole &= all(log["topics"][:1] != [_left_out()] for log in call["logs"])
            used = int(call["gasUsed"], 16)
        except (LookupError, TypeError, ValueError):
            log.info("the node does not rehearse calls (eth_simulateV1): each is asked for by itself")
            self._rehearses = False
            return None
        return self._prepared(data, used * (100 + _REFUND_PERCENT) // 100, state) if whole else None

    def _told(self, run: tuple[str, list[Any]]) -> tuple[Any, _State]:
        """What a run of a call gives, or its ChainError; and how key and chain stand."""
        mined, balance, told, block, tip = self._market.rpc.outcomes(
            [*self._own_questions(), run, *_FEE_QUESTIONS]
        )
        for answer in (mined, balance, block, tip):
            if isinstance(answer, ChainError):
                raise answer
        return told, (int(mined, 16), int(balance, 16), block, tip)

    def _prepared(self, data: bytes, gas: int, state: _State) -> Prepared:
        mined, balance, block, tip = state
        max_fee, priority_fee = _fees(block, tip)
        self._look_at_funds(balance, max_fee)
        transaction = Transaction(
            chain_id=self._market.chain_id,
            nonce=0,
            to=self._market.contract,
            data=data,
            gas=gas * (100 + _GAS_MARGIN_PERCENT) // 100,
            max_fee=max_fee,
            priority_fee=priority_fee,
        )
        return Prepared(transaction, mined, int(block["gasLimit"], 16))

    def deposit(self, arguments: Mapping[str, Any]) -> bytes:
        """The call data of a top-up: the operator's own money, by an authorisation that the token takes once
        (EIP-3009). NotNeeded when it took it already, and for a token that has no such thing."""
        account, salt = arguments["account"], parse_bytes32(arguments["salt"])
        if not self._market.takes_authorisations():
            raise NotNeeded("the token takes no authorisations (EIP-3009)")
        if self._is_used(arguments):
            raise NotNeeded("it is deposited already")
        amount = Money(arguments["amount"])
        word, signature, _ = self._market.authorise_deposit(self._signer, account, amount, salt=salt)
        return self._market.deposit_call(account, word, signature, salt)

    def is_deposited(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the token took a top-up's authorisation, whoever brought it."""
        return self._market.takes_authorisations() and self._is_used(arguments)

    def _is_used(self, arguments: Mapping[str, Any]) -> bool:
        """The same, of a token that takes authorisations."""
        nonce = deposit_nonce(arguments["account"], parse_bytes32(arguments["salt"]))
        return self._market.is_authorisation_used(self.address, nonce)

    def refusals(self, calls: Sequence[bytes], block: str = "pending") -> list[ChainError | None]:
        """Of each call why the contract would refuse it after `block`; None when it would not."""
        questions = [("eth_call", [self._call(data), block]) for data in calls]
        answers = self._market.rpc.outcomes(questions)
        return [answer if isinstance(answer, ChainError) else None for answer in answers]

    def with_present_fees(self, transaction: Transaction) -> Transaction:
        max_fee, priority_fee = _fees(*self._market.rpc.batch(_FEE_QUESTIONS))
        return replace(transaction, max_fee=max_fee, priority_fee=priority_fee)

    def nothing(self, nonce: int) -> SignedTransaction:
        """A transaction that only uses its nonce."""
        empty = Transaction(self._market.chain_id, nonce, self.address, b"", 21_000, 0, 0)
        return self.sign(self.with_present_fees(empty))

    def mined(self) -> int:
        """How many transactions of the key the chain has: its next nonce, when none is on its way."""
        return int(self._market.rpc.call("eth_getTransactionCount", self.address, "latest"), 16)

    def receipts(self, hashes: Sequence[str]) -> list[TransactionReceipt]:
        """Of those that are mined."""
        wanted = dict.fromkeys(hashes)
        answers = self._market.rpc.batch([("eth_getTransactionReceipt", [each]) for each in wanted])
        return [TransactionReceipt.from_rpc(answer) for answer in answers if answer is not None]

    def watch_funds(self, seconds: float) -> None:
        """Look whether the key can go on paying for a while, unless that was seen `seconds` ago or less."""
        if time.monotonic() - self._funds_seen < seconds:
            return
        try:
            _, balance, block, tip = self._market.rpc.batch([*self._own_questions(), *_FEE_QUESTIONS])
        except Unavailable:
            return  # nothing is to be sent, and who reads the chain says that it is gone
        self._look_at_funds(int(balance, 16), _fees(block, tip)[0])

    def _look_at_funds(self, balance: int, max_fee: int) -> None:
        self._funds_seen = time.monotonic()
        sends = balance // max(max_fee * _TYPICAL_GAS, 1)
        if sends >= self._least_sends:
            if self.warning is not None:
                log.info("%s has money for gas again", self.address)
            self.warning = None
            return
        if self.warning is None:
            log.warning(
                "%s has gas money for about %d more transactions: send it the chain's own coin in time",
                self.address,
                sends,
            )
        self.warning = f"{self.address} has gas money for about {sends} more transactions"

    def _own_questions(self) -> list[tuple[str, list[Any]]]:
        return [
            ("eth_getTransactionCount", [self.address, "latest"]),
            ("eth_getBalance", [self.address, "latest"]),
        ]

    def _call(self, data: bytes) -> dict[str, str]:
        return {"from": self.address, "to": self._market.contract, "data": "0x" + data.hex()}


@cache
def _left_out() -> str:
    """First topic of what a call of many says of an item that changed nothing."""
    return "0x" + events.topic_of(events.Skipped).hex()


def _fees(block: Mapping[str, Any], tip: str) -> tuple[int, int]:
    """(most, tip) in wei per gas. The base fee can double in six full blocks."""
    priority = int(tip, 16)
    return 2 * int(block.get("baseFeePerGas", "0x0"), 16) + priority, priority


def by_contract(error: ChainError) -> bool:
    """Whether a refusal is the contract's answer, and not the node's trouble."""
    return error.values.get("data") is not None or "revert" in str(error)
