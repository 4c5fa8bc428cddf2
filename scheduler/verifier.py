"""The verifier: has paid results run again elsewhere, takes those that are wrong to the arbiter, and gives
providers of what cannot be disputed tasks whose answer is known."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.chain import ChainReader
from marketplace.store import checks, looks, outbox
from marketplace.store.canaries import Canary, canary_of
from marketplace.store.checks import Answer
from marketplace.store.database import Store
from marketplace.store.settling import PAID
from marketplace.store.tables import cursor, deals
from prixfixe.errors import InsufficientFunds, PrixfixeError
from prixfixe.market.verification import Among, Rule, among, is_confirmed, liars, truth, verdict
from scheduler.apart import Apart
from scheduler.duty import Duty

log = logging.getLogger(__name__)

_BUSY_SECONDS: Final = 1.0  # while re-runs are under way
_IDLE_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 10.0  # between a purchase or a challenge that failed and the next
_MOST_CANARIES: Final = 3  # of one check: one that nobody answers has said nothing
_MOST_ORDERS: Final = 6  # re-runs of one result, those that gave no answer too
_REWOUND_BLOCKS: Final = 64  # looked at again, should the chain have taken some back


@dataclass(frozen=True, slots=True)
class VerifierSettings:
    """window: in which a result can be challenged, seconds. stake: what a verdict of guilty costs beside the
    pay, token units. spread: within how many seconds of the result that drew it a canary is bought."""

    window: int
    stake: int
    spread: int
    rule: Rule = field(default_factory=Rule)

    @property
    def sweep(self) -> int:
        """How far back what a caught provider settled is run again: what is older could not be judged in
        time."""
        return self.window - self.window // 10


class Buys(Protocol):
    """`marketplace.checking.Checking`."""

    def buy(self, deal: str, opening: int, without: Collection[str], chosen: Among) -> str: ...

    def buy_canary(self, canary: Canary, provider: str) -> str: ...


class Verifier(Duty):
    """Draws results, buys re-runs, compares, challenges."""

    name = "verifier"
    topics = ("chain", "cases")

    def __init__(self, store: Store, chain: ChainReader, buying: Buys, settings: VerifierSettings) -> None:
        super().__init__(store)
        self._chain: Final = chain
        self._buying: Final = buying
        self._settings: Final = settings
        self.took_over()

    def took_over(self) -> None:
        self._day = -1
        self._block = 0  # from which on trades may be undecided
        self._patience: dict[tuple[str, int], float] = {}  # until when a purchase is not tried again
        self._broke_until = 0.0  # as no buyer could pay the last one

    def run_once(self) -> float:
        now = self._chain.look().time
        if now // checks.DAY != self._day:
            with self.store.write() as connection:
                checks.days_begun(connection, now)
            self._day = now // checks.DAY
        apart = Apart()
        with apart:
            self._decide(now)
        with self.store.read() as connection:
            waiting = checks.wanted(connection)
        # Who waits longest for another try is first: one that no buyer can pay holds up no cheaper one.
        for check in sorted(waiting, key=lambda each: self._patience.get(_key(each), 0.0)):
            if self.should_stop():
                break
            with apart:
                if check["canary"] is None:
                    self._advance(check, now)
                else:
                    self._sing(check, now)
        with apart:
            self._refute(now)
        busy = self._challenge(now, apart)
        apart.tell()
        return _BUSY_SECONDS if waiting or busy else _IDLE_SECONDS

    def _decide(self, now: int) -> None:
        """Every result that was paid since the last look is drawn, or spared."""
        with self.store.read() as connection:
            newest = connection.execute(select(cursor.c.block).limit(1)).scalar_one_or_none() or 0
            rows = checks.unchecked(connection, self._block, now - self._settings.window)
        if rows:
            with self.store.write() as connection:
                for row in rows:
                    checks.decided(connection, row, self._settings.stake, self._settings.rule)
        if len(rows) < checks.A_ROUND:
            self._block = max(0, newest - _REWOUND_BLOCKS)

    def _advance(self, check: RowMapping, now: int) -> None:
        """One check as far as its re-runs allow."""
        key = _key(check)
        with self.store.read() as connection:
            deal = _deal(connection, key)
            answers = checks.answers_of(connection, check)
            if answers is None:
                return
            recently = now - self._settings.window
            heard = [each for each in answers if self._counts(connection, each, recently)]
            caught = checks.last_caught(connection, check["provider"], recently)
        claimed = "" if deal is None else str(deal["root"])  # the chain may have taken it back
        told = [each.root or "" for each in heard]
        said = verdict(claimed, told, 1 if caught else 2) if deal is not None else "again"
        late = now > check["time"] + self._settings.window
        if said == "again" and not late and len(answers) < _MOST_ORDERS:
            if deal is not None:
                without = {check["provider"], *(each.provider for each in answers if each.provider)}
                chosen = among([each.root for each in answers], bool(caught))
                self._order(check, lambda: self._buying.buy(*key, without, chosen))
            return
        why = None
        if said in ("again", "unclear"):
            said, why = "unclear", "no two agree" if said == "unclear" else check["why"] or "nobody answered"
        true, wrong = truth(claimed, told, said), [heard[place] for place in liars(claimed, told, said)]
        confirmed = true is not None and is_confirmed(claimed, told, true, bool(caught))
        # One that had no voice was caught before, and what it did then is swept already.
        self._patience.pop(key, None)
        with self.store.write() as connection:
            checks.check_ended(connection, check, said, now, true, why, confirmed=confirmed)
            for provider in [*([check["provider"]] if said == "wrong" else ()), *(a.provider for a in wrong)]:
                if provider is not None:
                    more = checks.swept(connection, provider, now - self._settings.sweep, check)
                    log.warning("a result of %s is wrong; %d others are run again", provider, more)

    def _sing(self, check: RowMapping, now: int) -> None:
        """One check by a canary, as far as its answers allow."""
        late = now > check["time"] + self._settings.window
        with self.store.read() as connection:
            due = checks.canary_due(connection, check, self._settings.spread)
            if now < due and not late and checks.canary_rests(connection, check):
                return  # as nearly always, and it is looked at each second
            canary = canary_of(connection, check["canary"])
            heard = checks.sung(connection, check, canary)
        if heard is None:
            return
        answer = next((each for each in heard if each.deal is not None), None)
        if answer is None and not late and canary.removed_at is None and len(heard) < _MOST_CANARIES:
            if now >= due:
                self._order(check, lambda: self._buying.buy_canary(canary, check["provider"]))
            return
        why = None
        if answer is not None and answer.unlike is None:
            if not late:
                return  # it was paid without the service: its report is under way
            why = f"canary {canary.number}: its worker was paid and never said for what"
        elif answer is None:
            why = check["why"] or ("its canary was removed" if canary.removed_at else "nobody answered")
        elif answer.unlike:
            why = f"canary {canary.number}: {', '.join(answer.unlike)}"
        self._patience.pop(_key(check), None)
        with self.store.write() as connection:
            checks.canary_ended(connection, check, answer, now, why)
            if answer is not None and answer.unlike:
                provider = check["provider"]
                more = checks.swept(connection, provider, now - self._settings.sweep, check)
                log.warning(
                    "%s answered %s wrongly; %d others are run again, and it gets nothing for %.0f s",
                    provider,
                    why,
                    more,
                    checks.CAUGHT_SECONDS,
                )

    def _counts(self, connection: Connection, answer: Answer, since: int) -> bool:
        """Whether an answer is one, and of a provider that was not caught itself since."""
        if answer.root is None:
            return False
        return answer.provider is None or not checks.last_caught(connection, answer.provider, since)

    def _order(self, check: RowMapping, buy: Callable[[], str]) -> None:
        key = _key(check)
        if max(self._broke_until, self._patience.get(key, 0.0)) > time.monotonic():
            return
        try:
            job = buy()
        except PrixfixeError as error:
            self._patience[key] = time.monotonic() + _AGAIN_SECONDS
            if isinstance(error, InsufficientFunds):
                self._broke_until = self._patience[key]
            log.warning("deal %s cannot be checked now: %s", key[0], error)
            if check["why"] != str(error):
                with self.store.write() as connection:
                    checks.check_waits(connection, check, str(error))
            return
        self._patience.pop(key, None)
        with self.store.write() as connection:
            checks.rerun_bought(connection, check, job)

    def _refute(self, now: int) -> None:
        """Who said other than a result that the arbiter upheld was wrong, and is caught."""
        with self.store.read() as connection:
            refuted = looks.refuted(connection, now - self._settings.window)
        for answer in refuted:
            with self.store.write() as connection:
                checks.found(connection, answer.deal, answer.provider, right=False, now=now)
                more = checks.swept(connection, answer.provider, now - self._settings.sweep, None)
            log.warning("the arbiter refuted %s; %d of its results are run again", answer.provider, more)

    def _challenge(self, now: int, apart: Apart) -> bool:
        """A challenge is under way for each wrong result that can have one; whether there are any."""
        with self.store.read() as connection:
            rows = checks.to_challenge(connection, now - self._settings.window)
        for row in rows:
            with apart:
                self._challenge_one((row["id"], row["opening"]))
        return bool(rows)

    def _challenge_one(self, key: tuple[str, int]) -> None:
        with self.store.read() as connection:
            last = outbox.last_of(connection, "challenge", *key)
            told = checks.claim_of(connection, *key)
        waits = last is not None and (
            last["state"] != "failed" or time.time() - last["updated_at"] < _AGAIN_SECONDS
        )
        if told is not None and not waits:
            with self.store.write() as connection:
                outbox.queue_challenge(connection, *key, *told)


def _key(check: RowMapping) -> tuple[str, int]:
    return check["deal"], check["opening"]


def _deal(connection: Connection, key: tuple[str, int]) -> RowMapping | None:
    """The checked deal; None when the chain took its settlement back."""
    query = select(deals).where(deals.c.id == key[0], deals.c.opening == key[1])
    return connection.execute(query.where(deals.c.state.in_(PAID))).mappings().one_or_none()
