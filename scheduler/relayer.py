"""The relayer: sends the outbox to the chain, each row once, whatever dies in between.

Rows go out in the order of their ids, each as soon as the one before it was accepted by the node; receipts
are looked for afterwards. A transaction's nonce and hash are stored before its bytes leave. So after a
crash every hash that may ever be mined is known: a receipt of any of them ends the row; a transaction that
the node does not know is sent again with the same nonce; one that stays unmined is replaced with higher
fees. A call that would revert is not sent: its row fails with the decoded reason.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from marketplace.store import outbox
from marketplace.store.database import Store
from marketplace.store.tables import transactions
from prixfixe.chain.client import MarketClient
from prixfixe.chain.transactions import (
    SignedTransaction,
    Transaction,
    TransactionReceipt,
    broadcast,
    decoded,
)
from prixfixe.errors import ChainError, InvalidInput, Unavailable
from prixfixe.keys import Signer
from scheduler import failures
from scheduler.calls import NotNeeded, call_data
from scheduler.duty import Duty

log = logging.getLogger(__name__)

_GAS_MARGIN_PERCENT: Final = 30
_IDLE_SECONDS: Final = 30.0
_FIRST_LOOK_SECONDS: Final = 0.005
_BUMP_PERCENT: Final = 25
_FEE_QUESTIONS: Final = (("eth_getBlockByNumber", ("latest", False)), ("eth_maxPriorityFeePerGas", ()))
_MOST_SENDS: Final = 12  # fees grow by a quarter each time: more than tenfold


@dataclass(frozen=True, slots=True)
class RelayerSettings:
    """poll_seconds: between looks for receipts. bump_seconds: unmined for this long, fees are raised.
    batch: pending rows read at once."""

    poll_seconds: float = 0.2
    bump_seconds: float = 30.0
    batch: int = 64


class Relayer(Duty):
    """One per market: it alone sends with the scheduler's key."""

    name = "relayer"
    topics = ("transactions",)

    def __init__(
        self, store: Store, market: MarketClient, signer: Signer, settings: RelayerSettings | None = None
    ) -> None:
        super().__init__(store)
        self._market: Final = market
        self._signer: Final = signer
        self._settings: Final = settings or RelayerSettings()
        self._next_nonce: int | None = None
        # What was signed in this process, to send the very same bytes again; after a restart it is signed
        # anew.
        self._signed: dict[int, SignedTransaction] = {}
        self.foreign_nonces = 0  # nonces that somebody else's transaction took: another process has the key

    def took_over(self) -> None:
        self._next_nonce = None
        self._signed.clear()

    def run_once(self) -> float:
        self._look_after_sent()
        while not self.should_stop() and (rows := self._rows("pending", self._settings.batch)):
            for row in rows:
                if self.should_stop():
                    break
                self._send(row)
        waiting = self._rows("sent", 1000)
        if not waiting:
            return _IDLE_SECONDS
        # A local chain mines in milliseconds, a public one in seconds: look often at first, then less.
        age = time.time() - max(float(row["updated_at"]) for row in waiting)
        return min(self._settings.poll_seconds, max(_FIRST_LOOK_SECONDS, age / 4))

    # ------------------------------------------------------------------------------------------ new rows

    def _send(self, row: RowMapping) -> None:
        try:
            with self.store.read() as connection:
                data = call_data(connection, row)
        except NotNeeded as moot:
            self._fail(row, ChainError(f"not sent: {moot}", code="not-needed"))
            return
        except InvalidInput as wrong:  # a value that no transaction can carry
            self._fail(row, ChainError(f"{row['call']}: {wrong}", code="bad-call"))
            return
        try:
            transaction = self._prepare(row["call"], data)
        except ChainError as refusal:
            if refusal.values.get("data") is None and "revert" not in str(refusal):
                raise  # the node's trouble, not the contract's answer
            self._fail(row, decoded(refusal, row["call"]))
            return
        self._put_out(row, transaction)

    def _prepare(self, call: str, data: bytes) -> Transaction:
        sender = self._signer.address
        what = {"from": sender, "to": self._market.contract, "data": "0x" + data.hex()}
        count = ("eth_getTransactionCount", [sender, "latest"])
        mined, estimate, block, tip = self._market.rpc.batch(
            [count, ("eth_estimateGas", [what, "pending"]), *_FEE_QUESTIONS]
        )
        self._require_no_gap(int(mined, 16))
        if self._next_nonce is None:
            self._next_nonce = self._free_nonce()
        max_fee, priority_fee = _fees(block, tip)
        return Transaction(
            chain_id=self._market.chain_id,
            nonce=self._next_nonce,
            to=self._market.contract,
            data=data,
            gas=int(estimate, 16) * (100 + _GAS_MARGIN_PERCENT) // 100,
            max_fee=max_fee,
            priority_fee=priority_fee,
        )

    def _put_out(self, row: RowMapping, transaction: Transaction) -> None:
        """Sign, store, send. Raises when the node is out of reach or gas money is short."""
        signed = transaction.sign(self._signer)
        with self.store.write() as connection:
            outbox.transaction_sent(
                connection, row["id"], nonce=transaction.nonce, transaction_hash=signed.hash
            )
        self._signed[row["id"]] = signed
        if self._next_nonce is not None:
            self._next_nonce = max(self._next_nonce, transaction.nonce + 1)
        try:
            broadcast(self._market.rpc, signed)
        except ChainError as error:
            self._refused(row, transaction, error)
            return
        # A chain that mines at once has the receipt already: that saves the next look.
        receipts = self._receipts([signed.hash])
        if receipts:
            self._finish({**row, "hashes": [*row["hashes"], signed.hash]}, receipts[0])

    def _refused(self, row: RowMapping, transaction: Transaction, error: ChainError) -> None:
        """The node did not take it."""
        if error.code == "nonce-too-low":
            if not self._settle_by_hashes(self._row(row["id"])):
                self._nonce_taken(row["id"], transaction.nonce)
        elif error.code == "underpriced":
            self._raise_fees(self._row(row["id"]), transaction)
        else:
            # Not in the pool, so its nonce is free again.
            self._next_nonce = None
            self._signed.pop(row["id"], None)
            if error.code == "no-gas-money":
                with self.store.write() as connection:
                    outbox.transaction_dropped(connection, row["id"], str(error))
                raise Unavailable(
                    f"{self._signer.address} has too little money for gas; transactions wait",
                    code="no-gas-money",
                    hint="send it the chain's own coin",
                ) from error
            self._fail(row, error)

    def _raise_fees(self, row: RowMapping, transaction: Transaction) -> None:
        if row["sends"] >= _MOST_SENDS:
            log.error(
                "transaction %d (%s) is not mined after %d sends", row["id"], row["purpose"], row["sends"]
            )
            return
        fresh = self._with_present_fees(transaction)
        bumped = transaction.with_higher_fees(_BUMP_PERCENT)
        bumped = replace(
            bumped,
            max_fee=max(bumped.max_fee, fresh.max_fee),
            priority_fee=max(bumped.priority_fee, fresh.priority_fee),
        )
        log.info("raising the fees of transaction %d (nonce %d)", row["id"], transaction.nonce)
        self._put_out(row, bumped)

    # ----------------------------------------------------------------------------------------- sent rows

    def _look_after_sent(self) -> None:
        rows = self._rows("sent", 1000)
        if not rows:
            return
        hashes = [(row["id"], each) for row in rows for each in row["hashes"]]
        found = {receipt.hash: receipt for receipt in self._receipts([each for _, each in hashes])}
        mined = self._nonce_on_chain()
        if mined < min(row["nonce"] for row in rows):
            self._recover(mined)
            rows = self._rows("sent", 1000)
        for row in sorted(rows, key=lambda row: int(row["nonce"])):
            if self.should_stop():
                return
            receipt = next((found[each] for each in row["hashes"] if each in found), None)
            if receipt is not None:
                self._finish(row, receipt)
            elif row["nonce"] < mined:
                # Mined between the two questions above, or not ours.
                if not self._settle_by_hashes(row):
                    self._nonce_taken(row["id"], row["nonce"])
            else:
                self._keep_alive(row)

    def _keep_alive(self, row: RowMapping) -> None:
        known = self._market.rpc.call("eth_getTransactionByHash", row["hash"])
        if known is None:
            signed = self._signed.get(row["id"])
            log.info(
                "sending transaction %d (nonce %d) again: the node does not know it", row["id"], row["nonce"]
            )
            if signed is not None and signed.hash == row["hash"]:
                try:
                    broadcast(self._market.rpc, signed)
                except ChainError as error:
                    self._refused(row, signed.transaction, error)
            else:
                self._sign_anew(row)
        elif time.time() - row["updated_at"] > self._settings.bump_seconds:
            self._raise_fees(
                row,
                Transaction(
                    chain_id=self._market.chain_id,
                    nonce=row["nonce"],
                    to=self._market.contract,
                    data=bytes.fromhex(known["input"].removeprefix("0x")),
                    gas=int(known["gas"], 16),
                    max_fee=int(known["maxFeePerGas"], 16),
                    priority_fee=int(known["maxPriorityFeePerGas"], 16),
                ),
            )

    def _sign_anew(self, row: RowMapping) -> None:
        """The same wish at the same nonce, by a process that did not sign it first."""
        try:
            with self.store.read() as connection:
                data = call_data(connection, row)
            prepared = self._prepare(row["call"], data)
        except (ChainError, NotNeeded) as moot:
            error = decoded(moot, row["call"]) if isinstance(moot, ChainError) else ChainError(str(moot))
            # Not in the pool and not wanted any more. Later rows may wait behind its nonce: fill it.
            self._fail(row, error)
            self._fill(row["nonce"])
            return
        self._put_out(row, replace(prepared, nonce=row["nonce"]))

    def _require_no_gap(self, mined: int) -> None:
        """What was mined once may be gone: after a re-organisation, or a local chain that lost its last
        second."""
        sent = [int(row["nonce"]) for row in self._rows("sent", 1000)]
        expected = min(sent, default=self._next_nonce)
        if expected is not None and mined < expected:
            self._recover(mined)

    def _recover(self, mined: int) -> None:
        """The chain is back at nonce `mined`. What it took back goes out again; nonces without a use are
        filled."""
        with self.store.read() as connection:
            gone = connection.execute(
                select(transactions)
                .where(transactions.c.state == "confirmed", transactions.c.nonce >= mined)
                .order_by(transactions.c.nonce)
            )
            rows = gone.mappings().all()
        if any(self._receipts(row["hashes"]) for row in rows):
            raise Unavailable("the node is behind what it said before", code="chain-unavailable")
        log.warning("the chain went back to nonce %d; sending %d transactions again", mined, len(rows))
        with self.store.write() as connection:
            for row in rows:
                outbox.transaction_revived(connection, row["id"])
            # Whatever moved with them has to be undone, too.
            self.store.notify(connection, "head")
        taken = {int(row["nonce"]) for row in self._rows("sent", 1000)}
        for nonce in range(mined, max(taken, default=mined)):
            if nonce not in taken:
                self._send_nothing(nonce)
        self._next_nonce = None

    def _fill(self, nonce: int) -> None:
        """A nonce has no use any more: give it back, or use it for nothing when later ones wait behind it."""
        if any(row["nonce"] > nonce for row in self._rows("sent", 1000)):
            self._send_nothing(nonce)
        else:
            self._next_nonce = None

    def _send_nothing(self, nonce: int) -> None:
        nothing = Transaction(self._market.chain_id, nonce, self._signer.address, b"", 21_000, 0, 0)
        broadcast(self._market.rpc, self._with_present_fees(nothing).sign(self._signer))

    def _settle_by_hashes(self, row: RowMapping) -> bool:
        """End a row by the receipt of any hash that was ever sent for it; whether there was one."""
        receipts = self._receipts(row["hashes"])
        if receipts:
            self._finish(row, receipts[0])
        return bool(receipts)

    def _nonce_taken(self, row: int, nonce: int) -> None:
        self.foreign_nonces += 1
        self._next_nonce = None
        self._signed.pop(row, None)
        log.error(
            "nonce %d of %s was taken by a transaction that is not this service's: does another process send "
            "with this key? transaction %d goes out again",
            nonce,
            self._signer.address,
            row,
        )
        with self.store.write() as connection:
            outbox.transaction_dropped(connection, row, f"nonce {nonce} was taken by another transaction")

    # ---------------------------------------------------------------------------------------------- ends

    def _finish(self, row: Any, receipt: TransactionReceipt) -> None:
        self._signed.pop(row["id"], None)
        if not receipt.succeeded:
            self._fail(row, self._reason(row, receipt), block=receipt.block_number)
        else:
            with self.store.write() as connection:
                outbox.transaction_confirmed(
                    connection,
                    row["id"],
                    transaction_hash=receipt.hash,
                    block=receipt.block_number,
                    gas_used=receipt.gas_used,
                )
                self.store.notify(connection, "head")

    def _reason(self, row: Any, receipt: TransactionReceipt) -> ChainError:
        sent = self._market.rpc.call("eth_getTransactionByHash", receipt.hash)
        error = None
        if sent is not None:
            call = {"from": self._signer.address, "to": self._market.contract, "data": sent["input"]}
            error = self._replay(call, receipt.block_number)
        if error is None:
            return ChainError(f"{row['call']}: mined and reverted; it would pass now", code="reverted")
        return decoded(error, row["call"])

    def _replay(self, call: Mapping[str, str], block: int) -> ChainError | None:
        try:
            self._market.rpc.call("eth_call", call, hex(block))
        except ChainError as error:
            return error
        return None

    def _fail(self, row: Any, error: ChainError, *, block: int | None = None) -> None:
        log.warning("transaction %d (%s) failed: %s", row["id"], row["purpose"], error)
        with self.store.write() as connection:
            outbox.transaction_failed(connection, row["id"], failures.error_json(error), block=block)
            if row["call"] == "match":
                failures.match_failed(connection, row, error)
            elif row["call"] == "clear":
                failures.clear_failed(connection, row, error)
            elif row["call"] == "settle" and error.code != "not-needed":
                failures.settle_failed(connection, row, error)
            # What was tried may have happened already by another's hand: the events tell.
            self.store.notify(connection, "head")

    # ------------------------------------------------------------------------------------------- questions

    def _rows(self, state: str, most: int) -> Sequence[RowMapping]:
        wanted = select(transactions).where(transactions.c.state == state)
        with self.store.read() as connection:
            return connection.execute(wanted.order_by(transactions.c.id).limit(most)).mappings().all()

    def _row(self, row: int) -> RowMapping:
        with self.store.read() as connection:
            return connection.execute(select(transactions).where(transactions.c.id == row)).mappings().one()

    def _receipts(self, hashes: Sequence[str]) -> list[TransactionReceipt]:
        answers = self._market.rpc.batch([("eth_getTransactionReceipt", [each]) for each in hashes])
        return [TransactionReceipt.from_rpc(answer) for answer in answers if answer is not None]

    def _nonce_on_chain(self) -> int:
        return int(self._market.rpc.call("eth_getTransactionCount", self._signer.address, "latest"), 16)

    def _free_nonce(self) -> int:
        """The first nonce that neither the chain nor a row of ours has used."""
        ours = [int(row["nonce"]) + 1 for row in self._rows("sent", 1000)]
        return max([self._nonce_on_chain(), *ours])

    def _with_present_fees(self, transaction: Transaction) -> Transaction:
        max_fee, priority_fee = _fees(*self._market.rpc.batch(_FEE_QUESTIONS))
        return replace(transaction, max_fee=max_fee, priority_fee=priority_fee)


def _fees(block: Mapping[str, Any], tip: str) -> tuple[int, int]:
    """(most, tip) in wei per gas. The base fee can double in six full blocks."""
    priority = int(tip, 16)
    return 2 * int(block.get("baseFeePerGas", "0x0"), 16) + priority, priority
