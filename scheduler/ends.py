"""How rows of the outbox end: done, left out, reverted, or never sent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, TypeAlias

from sqlalchemy.engine import RowMapping

from marketplace.store import outbox
from marketplace.store.database import Store
from prixfixe.chain.client import MarketClient
from prixfixe.chain.transactions import TransactionReceipt, decoded
from prixfixe.errors import ChainError, InvalidInput
from scheduler import failures
from scheduler.calls import NotNeeded, calls_data
from scheduler.gathering import Wish
from scheduler.outcomes import done_and_left_out
from scheduler.sender import Sender, by_contract

log = logging.getLogger(__name__)

Rows: TypeAlias = Sequence[RowMapping]


class Ends:
    """Ends rows and tells who waits for them."""

    def __init__(self, store: Store, market: MarketClient, sender: Sender) -> None:
        self._store: Final = store
        self._market: Final = market
        self._sender: Final = sender

    def wanted(self, rows: Rows) -> list[Wish]:
        """The rows with their call data, less those that are moot, which fail."""
        with self._store.read() as connection:
            known = iter(calls_data(connection, [row for row in rows if row["call"] != "deposit"]))
        wishes = []
        for row in rows:
            data = self._deposit(row) if row["call"] == "deposit" else next(known)
            if isinstance(data, NotNeeded):
                self.fail(row, ChainError(f"not sent: {data}", code="not-needed"))
            elif isinstance(data, InvalidInput):  # a value that no transaction can carry
                self.fail(row, ChainError(f"{row['call']}: {data}", code="bad-call"))
            else:
                wishes.append(Wish(row, data))
        return wishes

    def _deposit(self, row: RowMapping) -> bytes | NotNeeded:
        """What the operator signs is signed when it is sent."""
        try:
            return self._sender.deposit(row["arguments"])
        except NotNeeded as moot:
            return moot

    def mined(self, rows: Rows, receipt: TransactionReceipt) -> None:
        """The transaction that carried the rows is on the chain: each is done, or fails with the reason."""
        if not receipt.succeeded:
            why = self._reason(receipt)
            for row in rows:
                self.fail(row, _told(row, why), block=receipt.block_number)
            return
        done, others = done_and_left_out(rows, self._market.decode_logs(receipt.logs))
        share, rest = divmod(receipt.gas_used, len(rows))
        if done:
            with self._store.write() as connection:
                outbox.transactions_confirmed(
                    connection,
                    [row["id"] for row in done],
                    transaction_hash=receipt.hash,
                    block=receipt.block_number,
                    gas_used=[share + (rest if at == 0 else 0) for at in range(len(done))],
                )
                self._store.notify(connection, "head")
        if others:
            self._left_out(others, receipt.block_number)

    def refuse(self, row: RowMapping, refusal: ChainError) -> None:
        """Fail a row that the contract would refuse; the node's own trouble is raised."""
        if not by_contract(refusal):
            raise refusal
        self.fail(row, decoded(refusal, row["call"]))

    def fail(self, row: RowMapping, error: ChainError, *, block: int | None = None) -> None:
        """End a row without what it wished for."""
        if row["call"] == "deposit" and self._sender.is_deposited(row["arguments"]):
            why = f"its authorisation was used already: {error}"
            error = ChainError(why, code=outbox.DEPOSITED, arguments={"owner": self._sender.address})
        log.warning("transaction %d (%s) failed: %s", row["id"], row["purpose"], error)
        with self._store.write() as connection:
            outbox.transaction_failed(connection, row["id"], failures.error_json(error), block=block)
            if row["call"] == "match":
                failures.match_failed(connection, row, error)
            elif row["call"] == "clear":
                failures.clear_failed(connection, row, error)
            elif row["call"] == "settle" and error.code != "not-needed":
                failures.settle_failed(connection, row, error)
            # What was tried may have happened already by another's hand: the events tell.
            self._store.notify(connection, "head")

    def _left_out(self, others: Sequence[tuple[RowMapping, ChainError]], block: int) -> None:
        """Fail what a call of many left out, with the reason in full when asking again still gives it."""
        known = {int(row["id"]): why for row, why in others}
        wishes = self.wanted([row for row, _ in others])
        replayed = self._sender.refusals([wish.data for wish in wishes], hex(block))
        for wish, refusal in zip(wishes, replayed, strict=True):
            why = known[wish.row["id"]]
            if refusal is not None and by_contract(refusal):
                told = decoded(refusal, wish.row["call"])
                why = told if why.revert in (None, told.revert) else why
            self.fail(wish.row, why, block=block)

    def _reason(self, receipt: TransactionReceipt) -> ChainError | None:
        """Why a mined transaction reverted; None when it would pass now."""
        sent = self._market.rpc.call("eth_getTransactionByHash", receipt.hash)
        if sent is None:
            return None
        return self._sender.refusals([bytes.fromhex(sent["input"][2:])], hex(receipt.block_number))[0]


def _told(row: RowMapping, why: ChainError | None) -> ChainError:
    if why is None:
        return ChainError(f"{row['call']}: mined and reverted; it would pass now", code="reverted")
    return decoded(why, row["call"])
