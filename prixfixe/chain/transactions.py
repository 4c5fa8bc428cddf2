"""Transactions: built, signed by any signer, sent, waited for (EIP-1559, type 2)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from prixfixe.chain.reverts import explain
from prixfixe.chain.rpc import Rpc
from prixfixe.development_keys import require_usable
from prixfixe.errors import ChainError, InvalidInput, Unavailable
from prixfixe.keys import Signer
from prixfixe.protocol.addresses import address_bytes, parse_address
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.signatures import expand

DEFAULT_WAIT_SECONDS: Final = 120.0

# What a call costs depends on what others did between estimate and block, such as freeing or filling a slot.
_GAS_MARGIN_PERCENT: Final = 30
_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Transaction:
    """An unsigned transaction. to: None creates a contract. Fees in wei per gas."""

    chain_id: int
    nonce: int
    to: str | None
    data: bytes
    gas: int
    max_fee: int
    priority_fee: int
    value: int = 0

    def _fields(self) -> list[Any]:
        to = b"" if self.to is None else address_bytes(parse_address(self.to, name="to"))
        fees = [self.priority_fee, self.max_fee]
        return [self.chain_id, self.nonce, *fees, self.gas, to, self.value, self.data, []]

    def digest(self) -> bytes:
        """What is signed."""
        return keccak256(b"\x02" + rlp(self._fields()))

    def sign(self, signer: Signer) -> SignedTransaction:
        """DevelopmentKeyRefused for a well-known key on a chain that is not local."""
        require_usable(signer.address, self.chain_id)
        signature = expand(signer.sign_digest(self.digest()))
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        raw = b"\x02" + rlp([*self._fields(), signature[64] - 27, r, s])
        return SignedTransaction(self, signer.address, raw, "0x" + keccak256(raw).hex())

    def with_higher_fees(self, percent: int = 15) -> Transaction:
        """The same transaction to replace a stuck one; nodes ask for 10 % more at least."""
        return replace(
            self,
            max_fee=self.max_fee * (100 + percent) // 100 + 1,
            priority_fee=self.priority_fee * (100 + percent) // 100 + 1,
        )


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """hash: 0x-hex, known before it is sent."""

    transaction: Transaction
    sender: str
    raw: bytes
    hash: str


@dataclass(frozen=True, slots=True)
class TransactionReceipt:
    """A mined transaction. logs: as the node gives them; `events.decode` reads them."""

    hash: str
    block_number: int
    block_hash: str
    succeeded: bool
    gas_used: int
    contract: str | None
    logs: tuple[Mapping[str, Any], ...]

    @staticmethod
    def from_rpc(answer: Mapping[str, Any]) -> TransactionReceipt:
        created = answer.get("contractAddress")
        return TransactionReceipt(
            hash=answer["transactionHash"],
            block_number=int(answer["blockNumber"], 16),
            block_hash=answer["blockHash"],
            succeeded=int(answer["status"], 16) == 1,
            gas_used=int(answer["gasUsed"], 16),
            contract=parse_address(created) if created else None,
            logs=tuple(answer["logs"]),
        )


def prepare(
    rpc: Rpc,
    *,
    chain_id: int,
    sender: str,
    to: str | None,
    data: bytes,
    nonce: int | None = None,
    gas: int | None = None,
    context: str = "transaction",
) -> Transaction:
    """A transaction with the node's nonce, gas estimate and present fees. ChainError when it would revert."""
    call = {"from": sender, "data": "0x" + data.hex(), **({"to": to} if to else {})}
    try:
        block, tip, pending, estimate = rpc.batch(
            [
                ("eth_getBlockByNumber", ["latest", False]),
                ("eth_maxPriorityFeePerGas", []),
                ("eth_getTransactionCount", [sender, "pending"]),
                ("eth_chainId", []) if gas is not None else ("eth_estimateGas", [call]),
            ]
        )
    except ChainError as error:
        raise decoded(error, context) from error
    priority = int(tip, 16)
    return Transaction(
        chain_id=chain_id,
        nonce=nonce if nonce is not None else int(pending, 16),
        to=to,
        data=data,
        gas=gas if gas is not None else int(estimate, 16) * (100 + _GAS_MARGIN_PERCENT) // 100,
        # The base fee can rise by an eighth a block: twice the present one stays valid for six full blocks.
        max_fee=2 * int(block.get("baseFeePerGas", "0x0"), 16) + priority,
        priority_fee=priority,
    )


def broadcast(rpc: Rpc, signed: SignedTransaction) -> None:
    """Hands a transaction to the node. That it is known already is no error."""
    try:
        rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
    except ChainError as error:
        if error.code != "already-known":
            raise decoded(error, "send") from error


def find_receipt(rpc: Rpc, transaction_hash: str) -> TransactionReceipt | None:
    """The receipt, or None while it is not mined."""
    answer = rpc.call("eth_getTransactionReceipt", transaction_hash)
    return None if answer is None else TransactionReceipt.from_rpc(answer)


def wait_for_receipt(
    rpc: Rpc, transaction_hash: str, *, timeout_seconds: float = DEFAULT_WAIT_SECONDS
) -> TransactionReceipt:
    """The receipt once mined. Unavailable when that takes longer; the transaction may still be mined
    later."""
    deadline, pause = time.monotonic() + timeout_seconds, _FIRST_PAUSE_SECONDS
    while (receipt := find_receipt(rpc, transaction_hash)) is None:
        if time.monotonic() + pause > deadline:
            raise Unavailable(
                f"transaction {transaction_hash} was not mined within {timeout_seconds:g} s",
                code="not-mined",
                hint="it may be mined yet: look for it before sending another",
                transaction=transaction_hash,
            )
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
    return receipt


def require_success(rpc: Rpc, signed: SignedTransaction, receipt: TransactionReceipt, context: str) -> None:
    """ChainError with the decoded reason when the mined transaction reverted; it is replayed to learn why."""
    if receipt.succeeded:
        return
    transaction = signed.transaction
    call = {
        "from": signed.sender,
        "data": "0x" + transaction.data.hex(),
        "gas": hex(transaction.gas),
        **({"to": transaction.to} if transaction.to else {}),
    }
    try:
        rpc.call("eth_call", call, hex(receipt.block_number))
    except ChainError as error:
        raise decoded(error, context) from error
    raise ChainError(
        f"{context}: transaction {receipt.hash} was mined and reverted; it would pass now",
        code="reverted",
        retryable=True,
        transaction=receipt.hash,
    )


def decoded(error: ChainError, context: str) -> ChainError:
    """The error with the contract's reason, when the node gave revert data; else as it is."""
    data = error.values.get("data")
    if not isinstance(data, str):
        return error
    try:
        return explain(bytes.fromhex(data[2:]), context=context)
    except ValueError:
        return error


def rlp(value: Any) -> bytes:
    """Recursive length prefix (yellow paper, appendix B) of bytes, non-negative integers and lists of
    them."""
    if isinstance(value, int):
        if value < 0:
            raise InvalidInput(f"{value} is negative", code="bad-transaction")
        value = value.to_bytes((value.bit_length() + 7) // 8, "big")
    if isinstance(value, list):
        return _prefixed(b"".join(rlp(item) for item in value), 0xC0)
    if not isinstance(value, bytes):
        raise InvalidInput(f"{value!r} has no RLP form", code="bad-transaction")
    return value if len(value) == 1 and value[0] < 0x80 else _prefixed(value, 0x80)


def _prefixed(body: bytes, base: int) -> bytes:
    if len(body) <= 55:
        return bytes([base + len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(size)]) + size + body
