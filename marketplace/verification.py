"""What became of checks, for anyone who asks: the commitments first, the draws once they can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.chain import ChainReader
from marketplace.paging import no_cursor
from marketplace.store.checks import DAY, counted
from marketplace.store.database import Store
from marketplace.store.tables import check_days, checks, reruns
from prixfixe.errors import NotFound
from prixfixe.market.verification import Rule
from prixfixe.protocol.money import Money
from prixfixe.protocol.verification import Day, Draw, Verification

_SHOWN_DAYS: Final = 60


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """How this market's results are checked. runs: whether the operator named accounts to buy with. stake:
    token units. window: seconds."""

    runs: bool
    rule: Rule
    stake: int
    window: int


class Verified:
    """Reads; the verifier writes."""

    def __init__(self, store: Store, chain: ChainReader, policy: CheckPolicy) -> None:
        self._store = store
        self._chain = chain
        self._policy = policy

    def summary(self) -> Verification:
        """Rates, counts and the newest days."""
        now = self._chain.look().time
        with self._store.read() as connection:
            return summary(connection, self._policy, now)

    def draws(self, day: int, cursor: str | None, limit: int) -> tuple[list[Draw], str | None]:
        """The draws of a day by deal, and where to go on. NotFound while its secret is kept."""
        now = self._chain.look().time
        if cursor is not None and not (cursor.startswith("0x") and len(cursor) == 66):
            raise no_cursor(cursor)
        if not _is_told(day, self._policy.window, now):
            raise NotFound(
                f"the draws of day {day} are told when no result of it can be challenged any more",
                code="draws-kept",
                hint="see GET /v1/verification for the days that are told",
            )
        query = select(checks).where(checks.c.day == day).order_by(checks.c.deal, checks.c.opening)
        if cursor is not None:
            query = query.where(checks.c.deal > cursor)
        with self._store.read() as connection:
            rows = connection.execute(query.limit(limit + 1)).mappings().all()
            page = [_draw(connection, row) for row in rows[:limit]]
        return page, page[-1].deal if len(rows) > limit else None


def summary(connection: Connection, policy: CheckPolicy, now: int) -> Verification:
    """now: the chain's time."""
    counts = counted(connection)
    days = connection.execute(select(check_days).order_by(check_days.c.day.desc()).limit(_SHOWN_DAYS)).all()
    return Verification(
        runs=policy.runs,
        least=policy.rule.least,
        trials=policy.rule.trials,
        stake=Money(policy.stake),
        window=policy.window,
        checks={state: count for (rerun, state), count in counts.items() if rerun},
        canaries={state: count for (rerun, state), count in counts.items() if not rerun},
        days=tuple(
            Day(
                day=row.day,
                commitment=row.commitment,
                secret=row.secret if _is_told(row.day, policy.window, now) else None,
            )
            for row in days
        ),
    )


def _is_told(day: int, window: int, now: int) -> bool:
    """Whether every result of a day is beyond challenge. A case moves a window by its own length, which is no
    longer than the window."""
    return now > (day + 1) * DAY + 2 * window


def _draw(connection: Connection, row: RowMapping) -> Draw:
    if row["canary"] is not None:
        # Neither its jobs nor its number: who ran it would know the canary when it comes again.
        return Draw(**_same(row), canary=True)
    jobs = connection.execute(
        select(reruns.c.job)
        .where(reruns.c.deal == row["deal"], reruns.c.opening == row["opening"])
        .order_by(reruns.c.number)
    )
    return Draw(**_same(row), why=row["why"], reruns=tuple(jobs.scalars()))


def _same(row: RowMapping) -> dict[str, Any]:
    same = ("deal", "opening", "provider", "time", "passed", "rate", "drawn", "state")
    return {
        **{name: row[name] for name in same},
        "gain": Money(row["gain"]),
        "stake": Money(row["stake"]),
    }
