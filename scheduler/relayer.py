"""The relayer: sends the outbox to the chain, each row once, whatever dies in between.

Rows go out in the order of their ids, those of one kind that wait at the same time as one transaction
(`gathering`), each as soon as the one before it was accepted by the node; receipts are looked for
afterwards. A transaction's nonce and hash are stored in all its rows before its bytes leave: rows with the
same nonce are its company, and no more is remembered of it. So after a crash every hash that may ever be
mined is known: a receipt of any of them ends the rows; a transaction that the node does not know is sent
again with the same nonce; one that stays unmined is replaced with higher fees. A call that would revert is
not sent: its row fails with the decoded reason.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

from sqlalchemy import select

from marketplace.store import outbox
from marketplace.store.database import Store
from marketplace.store.tables import transactions
from prixfixe.chain.client import MarketClient
from prixfixe.chain.transactions import SignedTransaction, Transaction, TransactionReceipt, broadcast
from prixfixe.errors import ChainError, Unavailable
from prixfixe.keys import Signer
from scheduler import calls
from scheduler.duty import Duty
from scheduler.ends import Ends, Rows
from scheduler.gathering import Company, Wish, gather, halves
from scheduler.sender import Prepared, Sender, by_contract

log = logging.getLogger(__name__)

_NEWEST: Final = 64  # rows, among which is the last nonce: those of a batch share theirs
_IDLE_SECONDS: Final = 30.0
_FIRST_LOOK_SECONDS: Final = 0.005
_BUMP_PERCENT: Final = 25
_MOST_SENDS: Final = 12  # fees grow by a quarter each time: more than tenfold


@dataclass(frozen=True, slots=True)
class RelayerSettings:
    """poll_seconds: between looks for receipts. bump_seconds: unmined for this long, fees are raised.
    batch: pending rows read at once. least_sends: with gas money for fewer transactions it warns.
    funds_seconds: between looks at that money while there is nothing to send."""

    poll_seconds: float = 0.2
    bump_seconds: float = 30.0
    batch: int = 256
    least_sends: int = 500
    funds_seconds: float = 30.0
    company: Company = field(default_factory=Company)


class Relayer(Duty):
    """One per market: it alone sends with the scheduler's key."""

    name = "relayer"
    topics = ("transactions",)
    spacing_seconds = 0.05

    def __init__(
        self, store: Store, market: MarketClient, signer: Signer, settings: RelayerSettings | None = None
    ) -> None:
        super().__init__(store)
        self._market: Final = market
        self._settings: Final = settings or RelayerSettings()
        self._sender: Final = Sender(market, signer, self._settings.least_sends)
        self._ends: Final = Ends(store, market, self._sender)
        self._next_nonce: int | None = None
        # By nonce, what was signed in this process, to send the very same bytes again; after a restart it is
        # signed anew.
        self._signed: dict[int, SignedTransaction] = {}
        self._enough: set[int] = set()  # nonces of which it was said that their fees are not raised any more
        self.foreign_nonces = 0  # nonces that somebody else's transaction took: another process has the key

    def took_over(self) -> None:
        self._next_nonce = None
        self._signed.clear()
        self._enough.clear()

    def warning(self) -> str | None:
        return self._sender.warning

    def run_once(self) -> float:
        self._look_after_sent()
        company: float | None = None
        while not self.should_stop():
            pending = self._pending()
            ready, company = gather(pending, time.time(), self._settings.company)
            for group in ready:
                if self.should_stop():
                    break
                self._send(group)
            if not ready or len(pending) < self._settings.batch:
                break  # what came meanwhile wakes it again, and leaves with what comes next
        pause = self._pause()
        return pause if company is None else min(pause, company)

    def _pause(self) -> float:
        waiting = self._sent()
        if not waiting:
            self._sender.watch_funds(self._settings.funds_seconds)
            if self._has_lost_any():
                self._recover(self._sender.mined())
            elif not self._doubts_any():
                return _IDLE_SECONDS
            return self._settings.poll_seconds
        # A local chain mines in milliseconds, a public one in seconds: look often at first, then less.
        age = time.time() - max(float(row["updated_at"]) for row in waiting)
        return min(self._settings.poll_seconds, max(_FIRST_LOOK_SECONDS, age / 4))

    # ------------------------------------------------------------------------------------------ new rows

    def _send(self, rows: Rows) -> None:
        wishes = self._ends.wanted(rows)
        prepared = self._rehearsed(wishes) if len(wishes) > 1 else None
        if len(wishes) > 1 and prepared is None:
            wishes = self._admitted(wishes)
        self._send_together(wishes, prepared)

    def _rehearsed(self, wishes: Sequence[Wish]) -> Prepared | None:
        """All as one transaction, when the contract would refuse none of them."""
        data = _data(wishes)
        return self._sender.rehearsed(data) if len(data) <= self._settings.company.most_bytes else None

    def _admitted(self, wishes: Sequence[Wish]) -> list[Wish]:
        """Those that the contract would not refuse; the others fail with its reason. In a call of many they
        would only cost gas."""
        admitted = []
        refusals = self._sender.refusals([wish.data for wish in wishes])
        for wish, refusal in zip(wishes, refusals, strict=True):
            if refusal is None:
                admitted.append(wish)
            else:
                self._ends.refuse(wish.row, refusal)
        return admitted

    def _send_together(self, wishes: Sequence[Wish], prepared: Prepared | None = None) -> None:
        """As one transaction, or as several when one cannot hold them. prepared: the one."""
        if not wishes:
            return
        company = self._settings.company
        data = _data(wishes)
        if prepared is None and (len(wishes) == 1 or len(data) <= company.most_bytes):
            try:
                prepared = self._sender.prepare(data)
            except ChainError as refusal:
                if len(wishes) == 1:
                    self._ends.refuse(wishes[0].row, refusal)
                    return
                if refusal.code == "no-gas-money" or (not by_contract(refusal) and "gas" not in str(refusal)):
                    raise
                # Nothing that an item does makes a call of many revert, but gas that no block has.
        if len(wishes) > 1 and (
            prepared is None or prepared.transaction.gas > min(company.most_gas, prepared.block_gas // 2)
        ):
            for half in halves(wishes):
                self._send_together(half)
            return
        assert prepared is not None
        self._put_out([wish.row for wish in wishes], self._with_nonce(prepared))

    def _with_nonce(self, prepared: Prepared) -> Transaction:
        self._require_no_gap(prepared.mined)
        if self._next_nonce is None:
            self._next_nonce = self._free_nonce()
        return replace(prepared.transaction, nonce=self._next_nonce)

    def _put_out(self, rows: Rows, transaction: Transaction, *, raises: bool = False) -> None:
        """Sign, store, send. raises: the fees of what the node has already. Raises when the node is out of
        reach or gas money is short."""
        signed = self._sender.sign(transaction)
        with self.store.write() as connection:
            outbox.transactions_sent(
                connection, _ids(rows), nonce=transaction.nonce, transaction_hash=signed.hash
            )
        self._signed[transaction.nonce] = signed
        if self._next_nonce is not None:
            self._next_nonce = max(self._next_nonce, transaction.nonce + 1)
        try:
            broadcast(self._market.rpc, signed)
        except ChainError as error:
            self._refused(rows, transaction, error, raises=raises)
            return
        # A chain that mines at once has the receipt already: that saves the next look.
        receipts = self._sender.receipts([signed.hash])
        if receipts:
            self._signed.pop(transaction.nonce)
            self._ends.mined(rows, receipts[0])

    def _refused(
        self, rows: Rows, transaction: Transaction, error: ChainError, *, raises: bool = False
    ) -> None:
        """The node did not take it."""
        if error.code == "nonce-too-low":
            rows = self._again(rows)
            self._nonce_used(rows, rows, transaction.nonce)
        elif error.code == "underpriced":
            self._raise_fees(self._again(rows), transaction)
        else:
            # Not in the pool, so its nonce is free again.
            self._next_nonce = None
            self._signed.pop(transaction.nonce, None)
            if raises:
                # But what it has already is in the pool, and holds the nonce.
                log.warning("the fees of %s stay as they are: %s", _named(rows), error)
                with self.store.write() as connection:
                    for row in rows:
                        outbox.transaction_not_raised(connection, row["id"], row["hash"], str(error))
            elif error.code == "no-gas-money":
                self._drop(rows, str(error))
            if error.code == "no-gas-money":
                raise Unavailable(
                    f"{self._sender.address} has too little money for gas; transactions wait",
                    code="no-gas-money",
                    hint="send it the chain's own coin",
                ) from error
            if not raises:
                for row in rows:
                    self._ends.fail(row, error)

    def _raise_fees(self, rows: Rows, transaction: Transaction) -> None:
        fresh = self._sender.with_present_fees(transaction)
        if rows[0]["sends"] >= _MOST_SENDS and fresh.max_fee <= transaction.max_fee:
            # It offers enough; but when the chain asks for more than that one day, it follows.
            if transaction.nonce not in self._enough:
                self._enough.add(transaction.nonce)
                log.error("%s not mined after %d sends", _named(rows), rows[0]["sends"])
            return
        bumped = transaction.with_higher_fees(_BUMP_PERCENT)
        bumped = replace(
            bumped,
            max_fee=max(bumped.max_fee, fresh.max_fee),
            priority_fee=max(bumped.priority_fee, fresh.priority_fee),
        )
        log.info("raising the fees of %s (nonce %d)", _named(rows), transaction.nonce)
        self._put_out(rows, bumped, raises=True)

    # ----------------------------------------------------------------------------------------- sent rows

    def _look_after_sent(self) -> None:
        rows = self._sent()
        if not rows:
            return
        receipts = self._sender.receipts([each for row in rows for each in row["hashes"]])
        mined = self._sender.mined()
        if mined < min(row["nonce"] for row in rows):
            self._recover(mined)
            rows = self._sent()
        for nonce, group in groupby(rows, lambda row: int(row["nonce"])):
            if self.should_stop():
                return
            company = list(group)
            waiting = self._end_carried(company, receipts)
            if not waiting:
                self._signed.pop(nonce, None)
            elif nonce < mined:
                self._nonce_used(company, waiting, nonce)
            else:
                self._keep_alive(waiting, nonce)

    def _keep_alive(self, rows: Rows, nonce: int) -> None:
        newest = rows[0]["hash"]
        known = self._market.rpc.call("eth_getTransactionByHash", newest)
        if known is None:
            signed = self._signed.get(nonce)
            log.info("sending %s (nonce %d) again: the node does not know it", _named(rows), nonce)
            if signed is not None and signed.hash == newest:
                try:
                    broadcast(self._market.rpc, signed)
                except ChainError as error:
                    self._refused(rows, signed.transaction, error)
            else:
                self._sign_anew(rows, nonce)
        elif time.time() - rows[0]["updated_at"] > self._settings.bump_seconds:
            self._raise_fees(
                rows,
                Transaction(
                    chain_id=self._market.chain_id,
                    nonce=nonce,
                    to=self._market.contract,
                    data=bytes.fromhex(known["input"].removeprefix("0x")),
                    gas=int(known["gas"], 16),
                    max_fee=int(known["maxFeePerGas"], 16),
                    priority_fee=int(known["maxPriorityFeePerGas"], 16),
                ),
            )

    def _sign_anew(self, rows: Rows, nonce: int) -> None:
        """The same wishes at the same nonce, by a process that did not sign them first; without those that
        are not wanted any more."""
        wishes = self._ends.wanted(rows)
        if len(wishes) > 1:
            wishes = self._admitted(wishes)
        try:
            prepared = self._sender.prepare(_data(wishes)) if wishes else None
        except ChainError as refusal:
            prepared = None
            if by_contract(refusal) or len(wishes) == 1:
                for wish in wishes:
                    self._ends.refuse(wish.row, refusal)
            elif refusal.code == "no-gas-money":
                raise
            else:  # such as more gas than a block has by now: as new ones they go out as several
                self._drop([wish.row for wish in wishes], str(refusal))
        if prepared is None:
            self._fill(nonce)  # later rows may wait behind its nonce
            return
        self._require_no_gap(prepared.mined)
        self._put_out([wish.row for wish in wishes], replace(prepared.transaction, nonce=nonce))

    def _require_no_gap(self, mined: int) -> None:
        """What was mined once may be gone: after a re-organisation, or a local chain that lost its last
        second."""
        expected = min(
            self._sent_nonces(),
            default=self._next_nonce if self._next_nonce is not None else self._after_last(),
        )
        if expected is not None and mined < expected:
            self._recover(mined)

    def _has_lost_any(self) -> bool:
        """Whether the chain took back what was mined last, while nothing is to be sent that would show it."""
        after = self._after_last()
        return after is not None and self._sender.mined() < after

    def _doubts_any(self) -> bool:
        """Whether a match was mined otherwise than its row says; its receipt is looked for again."""
        with self.store.read() as connection:
            rows = outbox.astray(connection)
        if not rows:
            return False
        log.warning("%d matches are not where they were mined: looking for their receipts again", len(rows))
        with self.store.write() as connection:
            for row in rows:
                outbox.transaction_revived(connection, row)
        return True

    def _after_last(self) -> int | None:
        """The nonce after those that were mined as the tables say; None before the first."""
        newest = (
            select(transactions.c.nonce)
            .where(transactions.c.state == "confirmed")
            .order_by(transactions.c.id.desc())
            .limit(_NEWEST)
        )
        with self.store.read() as connection:
            nonces = connection.execute(newest).scalars().all()
        return max((int(nonce) + 1 for nonce in nonces if nonce is not None), default=None)

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
        if self._sender.receipts([each for row in rows for each in row["hashes"]]):
            raise Unavailable("the node is behind what it said before", code="chain-unavailable")
        log.warning("the chain went back to nonce %d; sending %d transactions again", mined, len(rows))
        with self.store.write() as connection:
            for row in rows:
                outbox.transaction_revived(connection, row["id"])
            # Whatever moved with them has to be undone, too.
            self.store.notify(connection, "head")
        taken = self._sent_nonces()
        for nonce in range(mined, max(taken, default=mined)):
            if nonce not in taken:
                broadcast(self._market.rpc, self._sender.nothing(nonce))
        self._next_nonce = None

    def _fill(self, nonce: int) -> None:
        """A nonce has no use any more: give it back, or use it for nothing when later ones wait behind it."""
        if any(taken > nonce for taken in self._sent_nonces()):
            broadcast(self._market.rpc, self._sender.nothing(nonce))
        else:
            self._next_nonce = None

    def _end_carried(self, rows: Rows, receipts: Sequence[TransactionReceipt]) -> Rows:
        """End each row by the receipt of any hash that was ever sent for it; those without one. A row may
        have left before, in another company: such a receipt says nothing of those that came later."""
        for receipt in receipts:
            carried = [row for row in rows if receipt.hash in row["hashes"]]
            if carried:
                self._ends.mined(carried, receipt)
                rows = [row for row in rows if receipt.hash not in row["hashes"]]
        return rows

    def _nonce_used(self, company: Rows, waiting: Rows, nonce: int) -> None:
        """Some of a company wait although its nonce is used up: mined since receipts were looked for, or by
        what only the others had left in before, or by what is not ours."""
        receipts = self._sender.receipts([each for row in waiting for each in row["hashes"]])
        waiting = self._end_carried(waiting, receipts)
        if len(waiting) == len(company):
            self._nonce_taken(waiting, nonce)
            return
        self._next_nonce = None
        self._signed.pop(nonce, None)
        self._drop(waiting, f"nonce {nonce} was taken by an earlier transaction of this service")

    def _nonce_taken(self, rows: Rows, nonce: int) -> None:
        self.foreign_nonces += 1
        self._next_nonce = None
        self._signed.pop(nonce, None)
        log.error(
            "nonce %d of %s was taken by a transaction that is not this service's: does another process send "
            "with this key? %s goes out again",
            nonce,
            self._sender.address,
            _named(rows),
        )
        self._drop(rows, f"nonce {nonce} was taken by another transaction")

    def _drop(self, rows: Rows, why: str) -> None:
        """They go out again, as if new."""
        with self.store.write() as connection:
            for row in rows:
                outbox.transaction_dropped(connection, row["id"], why)

    # ------------------------------------------------------------------------------------------- questions

    def _pending(self) -> Rows:
        wanted = select(transactions).where(transactions.c.state == "pending")
        with self.store.read() as connection:
            ordered = wanted.order_by(transactions.c.id).limit(self._settings.batch)
            return connection.execute(ordered).mappings().all()

    def _sent(self) -> Rows:
        """All of them, so that a company is never looked at in part; by nonce."""
        wanted = select(transactions).where(transactions.c.state == "sent")
        with self.store.read() as connection:
            ordered = wanted.order_by(transactions.c.nonce, transactions.c.id)
            return connection.execute(ordered).mappings().all()

    def _sent_nonces(self) -> set[int]:
        wanted = select(transactions.c.nonce).where(transactions.c.state == "sent").distinct()
        with self.store.read() as connection:
            return {int(nonce) for nonce in connection.execute(wanted).scalars()}

    def _again(self, rows: Rows) -> Rows:
        """The same as they are now."""
        wanted = select(transactions).where(transactions.c.id.in_(_ids(rows))).order_by(transactions.c.id)
        with self.store.read() as connection:
            return connection.execute(wanted).mappings().all()

    def _free_nonce(self) -> int:
        """The first nonce that neither the chain nor a row of ours has used."""
        return max([self._sender.mined(), *(nonce + 1 for nonce in self._sent_nonces())])


def _data(wishes: Sequence[Wish]) -> bytes:
    if len(wishes) == 1:
        return wishes[0].data
    return calls.many(wishes[0].row["call"], [wish.data for wish in wishes])


def _ids(rows: Rows) -> list[int]:
    return [int(row["id"]) for row in rows]


def _named(rows: Rows) -> str:
    """For the log."""
    first = f"transaction {rows[0]['id']} ({rows[0]['purpose']})"
    return first if len(rows) == 1 else f"{first} and {len(rows) - 1} with it"
