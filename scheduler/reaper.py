"""The reaper: nothing waits for ever. It gives up on silent workers, expires deals, and ends what cannot be
delivered."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, case, select
from sqlalchemy.engine import RowMapping

from marketplace.chain import ChainReader
from marketplace.store import attempting, outbox, rounds, states, transitions
from marketplace.store.database import Store
from marketplace.store.settling import Standing, settle_when_signed, standing_of
from marketplace.store.tables import attempts, deals, jobs, lots, workers
from marketplace.store.tables import rounds as rounds_table
from prixfixe.errors import Conflict
from prixfixe.market import quorum
from prixfixe.protocol.deals import Due
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import Reason
from scheduler.apart import Apart
from scheduler.duty import Duty
from scheduler.straggling import stragglers

_ALIVE_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 2.0
_RETURN_SILENCES: Final = 2
_CANCELLED_SECONDS: Final = 5.0  # for a worker to refuse what its customer took back
_STRAGGLER_SECONDS: Final = 5.0  # between looks for them
_AGAIN_SECONDS: Final = 2.0  # between a failed transaction and the next of the same wish


@dataclass(frozen=True, slots=True)
class ReaperSettings:
    """grace: the contract's, seconds. silence_seconds: without a heartbeat, after which a worker is lost.
    pick_up_seconds: for a worker that is alive to start what it was assigned. straggler: so many times the
    median of its job's other lots may the last ones take, before they are tried elsewhere; 0: any time."""

    grace: int
    silence_seconds: float
    pick_up_seconds: float = 60.0
    straggler: float = 5.0


class Reaper(Duty):
    """Ends what nobody else will end."""

    name = "reaper"
    topics = ("chain",)
    spacing_seconds = 0.5

    def __init__(self, store: Store, chain: ChainReader, settings: ReaperSettings) -> None:
        super().__init__(store)
        self._chain: Final = chain
        self._settings: Final = settings
        self._began: float | None = None
        self._looked = 0.0  # for stragglers

    def took_over(self) -> None:
        self._began = None

    def run_once(self) -> float:
        # First what needs no chain: a worker can be given up while the chain is out of reach.
        clock = time.time()
        # Nobody could beat while the service or its database was down: workers get time to find it again.
        self._began = clock if self._began is None else self._began
        apart = Apart()
        if clock - self._began >= _RETURN_SILENCES * self._settings.silence_seconds:
            with apart:
                self._lose_silent_workers(clock)
        with self.store.read() as connection:
            is_open = select(deals.c.id).where(deals.c.state == "open").limit(1)
            any_open = connection.execute(is_open).first() is not None
            waiting = connection.execute(_waiting_lots()).mappings().all()
        if not any_open and not waiting:
            apart.tell()
            return _IDLE_SECONDS
        now = self._chain.look().time
        if any_open:
            with apart:
                self._lose_stragglers(now)
        with self.store.read() as connection:
            noteworthy = connection.execute(_noteworthy(now)).mappings().all()
            settling = outbox.newest(connection, "settle", map(_subject, noteworthy))
            read = outbox.block_read(connection)
        for row in noteworthy:
            if not outbox.is_under_way(settling.get(_subject(row)), read):
                with apart:
                    self._look_at_deal(row, now)
        for row in waiting:
            with apart:
                self._end_if_hopeless(row, now)
        apart.tell()
        return _ALIVE_SECONDS

    def _lose_silent_workers(self, now: float) -> None:
        silent = workers.c.heartbeat_at < now - self._settings.silence_seconds
        patience = case(
            (jobs.c.cancelled_at.is_(None), self._settings.pick_up_seconds), else_=_CANCELLED_SECONDS
        )
        idle = (attempts.c.state == "assigned") & (attempts.c.created_at < now - patience)
        with self.store.read() as connection:
            rows = connection.execute(
                select(
                    attempts.c.id,
                    attempts.c.deal,
                    attempts.c.opening,
                    workers.c.name,
                    workers.c.heartbeat_at,
                    jobs.c.cancelled_at,
                )
                .join(workers, workers.c.key == attempts.c.worker)
                .join(jobs, jobs.c.id == attempts.c.job)
                .join(deals, (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening))
                .where(attempts.c.state.in_(attempting.ALIVE), deals.c.state == "open", silent | idle)
            ).all()
        if not rows:
            return
        with self.store.write() as connection:
            for row in rows:
                gone = row.heartbeat_at < now - self._settings.silence_seconds
                why = f"{row.name} fell silent" if gone else f"{row.name} did not start the job"
                mild = not gone and row.cancelled_at is not None
                try:
                    with connection.begin_nested():
                        attempting.attempt_lost(
                            connection,
                            row.id,
                            why,
                            "none" if mild else "provider",
                        )
                        rounds.advance(connection, row.deal, row.opening)
                except Conflict:
                    continue  # it reported in this very moment

    def _lose_stragglers(self, now: int) -> None:
        """Give up on the last lots of a bag that take much longer than the others did, where there is time
        to run them elsewhere. Their workers have the contract's grace, and are paid if they end in it."""
        clock = time.time()
        if not self._settings.straggler or clock < self._looked + _STRAGGLER_SECONDS:
            return
        self._looked = clock
        with self.store.read() as connection:
            slow = [
                each
                for each in stragglers(connection, clock, self._settings.straggler)
                if now + self._settings.grace < each.deadline and each.tries < transitions.MAX_TRIES
            ]
        for each in slow:
            why = f"{each.name} takes much longer than the others did"
            # Conflict: it reported in this very moment.
            with self.store.write() as connection, suppress(Conflict):
                attempting.attempt_lost(connection, each.attempt, why, "none", "straggler")

    def _look_at_deal(self, row: RowMapping, now: int) -> None:
        """Queue the one transaction that an open deal needs now, if any."""
        due = Due.unpack(row["due"])
        key = row["id"], row["opening"]
        with self.store.read() as connection:
            read = outbox.block_read(connection)
            if outbox.is_under_way(outbox.last_of(connection, "settle", *key), read):
                return
            standing = standing_of(connection, *key)
        if _must_close(standing, due, now, self._settings.grace):
            with self.store.write() as connection:
                rounds.close_commitments(connection, *key)
            return
        with self.store.read() as connection:
            call = _needed(standing, due, now, self._settings.grace)
            if call is None:
                return
            last = outbox.last_of(connection, call, *key)
        if outbox.is_under_way(last, read):
            return
        if last is not None and time.time() - last["updated_at"] < _AGAIN_SECONDS:
            return
        with self.store.write() as connection:
            current = select(deals.c.state).where(deals.c.id == key[0], deals.c.opening == key[1])
            if connection.execute(current).scalar_one_or_none() != "open":
                return
            if call == "expire":
                outbox.queue_expire(connection, *key)
            elif call == "hasten":
                outbox.queue_hasten(connection, *key)
            else:
                settle_when_signed(connection, *key)

    def _end_if_hopeless(self, row: RowMapping, now: int) -> None:
        """A free lot that the contract would not match any more: the order ended, or its promise cannot be
        kept."""
        seconds = Product.from_bytes(bytes.fromhex(row["product"][2:])).max_seconds
        if now > row["expiry"]:
            message = "no worker was found before the order's end"
        elif now + self._settings.grace + seconds > row["deliver_by"]:
            message = "no worker could deliver in the promised time any more"
        else:
            return
        why = f"{message}; {row['waiting_reason']}" if row["waiting_reason"] else message
        reason = Reason(
            code="not-delivered",
            message=why,
            hint="nothing was charged; order again",
            fault="provider" if row["tries"] else "none",
        )
        # Conflict: matched or cancelled in this very moment.
        with suppress(Conflict), self.store.write() as connection:
            transitions.lot_ended(connection, row["job"], row["lot"], reason, states.LOT_GIVEN_UP)


def _noteworthy(now: int) -> Select[tuple[object, ...]]:
    """Open deals that may need something. One whose only worker is at it needs nothing before its deadline,
    and nearly all are like that: looking at each of them at each event of the chain would cost the square of
    their number. now: the chain's time."""
    here = (attempts.c.deal == deals.c.id) & (attempts.c.opening == deals.c.opening)
    at_it = attempts.c.state.in_(("assigned", "running")) & attempts.c.signature.is_(None)
    several = (rounds_table.c.deal == deals.c.id) & (rounds_table.c.opening == deals.c.opening)
    return select(deals.c.id, deals.c.opening, deals.c.due).where(
        deals.c.state == "open",
        (deals.c.deadline < now)
        | ~select(attempts.c.id).where(here, at_it).exists()
        | select(rounds_table.c.deal).where(several).exists(),
    )


def _subject(row: RowMapping) -> str:
    return f"{row['id']}:{row['opening']}"


def _must_close(standing: Standing, due: Due, now: int, grace: int) -> bool:
    """Whether a round waits for replicas that are late: for the others, or for what is left of the deadline,
    which opening and delivering need."""
    return rounds.is_late(standing, time.time()) or (
        standing.round is not None
        and standing.round["state"] == "committing"
        and now >= due.deadline - grace // 2
        and quorum.have_committed(standing.replicas, standing.deal.quorum)
    )


def _needed(standing: Standing, due: Due, now: int, grace: int) -> outbox.Call | None:
    """What an open deal without a settlement under way needs; None while its workers work."""
    if now > due.deadline:
        return "expire"
    if _is_hopeless(standing) and not due.hastened and now + grace < due.deadline:
        return "hasten"
    return "settle" if any(each["signature"] is not None for each in standing.attempts) else None


def _is_hopeless(standing: Standing) -> bool:
    """Whether nobody who is there can bring a result any more: all fell silent, or too many of the replicas
    did, refused or disagree."""
    if standing.round is None:
        return all(each["state"] == "lost" for each in standing.attempts)
    if standing.round["state"] == "agreed":
        return not any(each["state"] == "opened" for each in standing.attempts)
    if standing.round["state"] == "delivered":
        return False
    return not quorum.is_possible(standing.replicas, standing.deal.quorum)


def _waiting_lots() -> Select[tuple[object, ...]]:
    return (
        select(
            lots.c.job,
            lots.c.lot,
            lots.c.tries,
            lots.c.waiting_reason,
            jobs.c.expiry,
            jobs.c.deliver_by,
            jobs.c.product,
        )
        .join(jobs, jobs.c.id == lots.c.job)
        .where(lots.c.state == "free")
    )
