"""Settling a deal oneself, when the operator stays silent.

What a worker signed pays only once somebody has shown it to the contract. That is the operator's business;
but whoever holds enough signatures may do it, and the worker holds them. So each result is watched until the
chain knows it: settled by whoever, returned, or over its deadline. When it is still open after a while, and
in any case before its deadline, the worker sends it with the little gas money of its own key: a deal with
every leg's signature at any time, one with a quorum in the last grace before the deadline, as the contract
wants it. A refusal is sent in the same way: the customer's money goes back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from prixfixe.chain.events import Expired, Hastened, MarketEvent, Refused, Settled
from prixfixe.errors import ChainError, InsufficientFunds, PrixfixeError, Unavailable
from prixfixe.keys import Signer
from prixfixe.logs import about
from prixfixe.protocol.deals import Due, open_word
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.signatures import parse_signature
from prixfixe.protocol.wire import Assignment
from worker.chain import ChainReader
from worker.journal import AttemptRow, Journal
from worker.ownlog import ids_of
from worker.states import States

log = logging.getLogger("prixfixe.worker")

_LEAST_LOOK_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 2.0
_LONGEST_LOOK_SECONDS: Final = 15.0  # between looks while the node does not answer
_LEAST_MARGIN_SECONDS: Final = 2
_MOST_MARGIN_SECONDS: Final = 30
_BLOCKS_BACK: Final = 5000  # how far back an end is looked for: more than nodes refuse in one question


@dataclass(frozen=True, slots=True)
class Watched:
    """A result on its way to the chain. due: packed, as the chain has it now. since: first block in which its
    end can be. done_at: chain time from which the operator's patience counts."""

    attempt: str
    assignment: Assignment
    due: int
    since: int
    done_at: int


def post_time(deadline: int, done_at: int, grace: int, patience: float, *, all_signed: bool) -> int:
    """The chain's second from which a worker settles by itself: after its patience, in time before the
    deadline; with a quorum only not before the last grace."""
    margin = max(_LEAST_MARGIN_SECONDS, min(_MOST_MARGIN_SECONDS, grace // 2))
    moment = min(done_at + int(patience), deadline - margin)
    return moment if all_signed else max(moment, deadline - grace + 1)


class Settler:
    """One thread that looks at the chain while there is something to watch.

    emit: told ("settled", facts) of each end. patience: seconds that the operator has.
    """

    def __init__(
        self,
        chain: ChainReader,
        journal: Journal,
        signer: Signer,
        grace: int,
        patience: float,
        states: States,
        emit: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._signer = signer
        self._grace = grace
        self._patience = patience
        self._pause = min(max(_LEAST_LOOK_SECONDS, patience / 10), _LOOK_SECONDS)
        self._states = states
        self._emit = emit
        self._lock = threading.Lock()
        self._new: list[str] = []
        self._watched: dict[str, Watched] = {}
        self._wake = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch_on, name="settler", daemon=True)

    def start(self) -> None:
        """Takes up what an earlier process watched."""
        self._new = [row.id for row in self._journal.unsettled()]
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def watch(self, attempt: str) -> None:
        """A result was signed."""
        with self._lock:
            self._new.append(attempt)
        self._wake.set()

    # ------------------------------------------------------------------------------------------------ watch

    def _watch_on(self) -> None:
        pause = self._pause
        while not self._over.is_set():
            if not self._watched and not self._new:
                self._wake.wait()
                self._wake.clear()
            # Not at once: nearly always the operator settles meanwhile, and the result is on its way to it.
            if self._over.wait(pause):
                return
            try:
                self._take_new()
                for watched in list(self._watched.values()):
                    with about(**ids_of(watched.assignment)):
                        self._look(watched)
                self._states.leave("chain-away")
                pause = self._pause
            except Unavailable as error:
                self._states.enter(
                    "chain-away", f"the chain's node does not answer; results wait for it ({error})"
                )
                pause = min(pause * 2, _LONGEST_LOOK_SECONDS)
            except Exception:
                log.exception("settling: unexpected")

    def _take_new(self) -> None:
        with self._lock:
            new = list(self._new)
        for name in new:
            row = self._journal.attempt(name)
            if row is not None and row.report is not None:
                assignment = Assignment.model_validate_json(row.assignment)
                block = self._chain.block()
                self._watched[name] = Watched(
                    name, assignment, assignment.due, max(0, block - _BLOCKS_BACK), self._chain.now()
                )
            with self._lock:
                self._new.remove(name)

    def _look(self, watched: Watched) -> None:
        row = self._journal.attempt(watched.attempt)
        if row is None or row.state == "dropped" or row.report is None:
            del self._watched[watched.attempt]
            return
        deal = watched.assignment.deal
        word = self._chain.lot_word(deal.order, deal.lot)
        deadline = Due.unpack(watched.due).deadline
        now = self._chain.now()
        if word != open_word(deal.id, watched.due):
            self._find_end(watched, late=now > deadline + self._grace)
            return
        if now > deadline:
            self._ended(watched, "expired", None)
            return
        signatures = self._signatures(row, watched)
        if signatures is None:
            return
        all_signed = all(signatures)
        if now >= post_time(deadline, watched.done_at, self._grace, self._patience, all_signed=all_signed):
            self._post(row, watched, signatures)

    def _find_end(self, watched: Watched, *, late: bool) -> None:
        """The word is another: hastened, or over."""
        wanted = (Settled, Refused, Expired, Hastened)
        for event in reversed(self._chain.deal_events(watched.assignment.deal.id, watched.since, wanted)):
            if isinstance(event, Hastened):
                if event.due != watched.due:
                    self._watched[watched.attempt] = replace(watched, due=event.due)
                return
            self._ended(watched, type(event).__name__.lower(), event)
            return
        if late:  # long ago, or of a branch that the node left
            self._ended(watched, "unknown", None)

    def _ended(self, watched: Watched, how: str, event: MarketEvent | None) -> None:
        transaction = None if event is None else event.at.transaction_hash
        ours = transaction is not None and transaction in self._journal.sent(watched.attempt)
        self._journal.settled(watched.attempt, how)
        del self._watched[watched.attempt]
        facts = {
            "attempt": watched.attempt,
            "deal": watched.assignment.deal_id,
            "how": how,
            "by": "this worker" if ours else "others",
            "transaction": transaction,
        }
        log.info("attempt %s: %s by %s", watched.attempt, how, facts["by"])
        self._emit("settled", facts)

    def _signatures(self, row: AttemptRow, watched: Watched) -> list[bytes] | None:
        """One a leg, empty where it did not sign; None while they are too few, or outputs are owed."""
        assert row.report is not None
        report = LotReport.model_validate_json(row.report)
        if report.result.done and not self._journal.is_delivered(watched.attempt):
            return None
        if len(watched.assignment.deal.legs) == 1:
            return [parse_signature(report.signature)]
        quorum = self._journal.quorum(watched.attempt)
        if quorum is None or not report.result.done:
            return None
        return [b"" if text == "0x" else parse_signature(text) for text in quorum]

    # ------------------------------------------------------------------------------------------------- post

    def _post(self, row: AttemptRow, watched: Watched, signatures: list[bytes]) -> None:
        assert row.report is not None
        result = LotReport.model_validate_json(row.report).result
        if (
            not result.done
            and Due.unpack(watched.due).hastened != Due.unpack(watched.assignment.due).hastened
        ):
            return  # this refusal names another opening; delivery signs it anew
        log.warning(
            "attempt %s: the operator has not settled deal %s: sending it to the chain",
            watched.attempt,
            watched.assignment.deal_id,
        )
        try:
            self._chain.settle(
                self._signer,
                watched.assignment.deal,
                watched.due,
                result,
                signatures,
                lambda transaction: self._journal.sending(watched.attempt, transaction),
                until=time.monotonic() + max(1, Due.unpack(watched.due).deadline - self._chain.now()),
            )
            self._states.leave("no-gas")
        except InsufficientFunds as error:
            self._states.enter("no-gas", error.message)
        except ChainError as error:  # somebody else was quicker, or the chain says why not
            log.warning("attempt %s: not settled by this worker: %s", watched.attempt, error)
        except PrixfixeError as error:
            if not error.retryable:
                raise
            log.warning("attempt %s: not settled yet: %s", watched.attempt, error)
