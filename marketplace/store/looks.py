"""When providers were looked at, and what the arbiter's word says of them: read from what checks found.

A provider is looked at when something is found of a result of its: it was run again, or was a re-run itself
and another gave the same answer, or was a canary's. Everything here follows from `findings`, `checks`,
`reruns`, `attempts` and `cases`, so that a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, func, select

from marketplace.store.listed import among
from marketplace.store.settling import GONE, PAID
from marketplace.store.tables import attempts, cases, checks, deals, findings, jobs, reruns
from prixfixe.market.verification import STALE
from prixfixe.protocol.disputes import Claim, Ground
from prixfixe.protocol.outputs import OutputManifest

_RERUNS: Final = select(reruns.c.job).where(
    reruns.c.deal == bindparam("of"), reruns.c.opening == bindparam("opened")
)
_WRONG: Final = select(findings.c.number).where(
    findings.c.deal == deals.c.id, findings.c.opening == deals.c.opening, findings.c.right.is_(False)
)
_RESULT: Final = select(
    deals.c.id,
    deals.c.opening,
    deals.c.state,
    attempts.c.provider,
    attempts.c.tasks,
    _WRONG.exists().label("wrong"),
).join(attempts, (attempts.c.deal == deals.c.id) & (attempts.c.opening == deals.c.opening))
# Asked apart: of either, no database looks into both keys.
_OWN: Final = _RESULT.where(deals.c.id == bindparam("of"), deals.c.opening == bindparam("opened"))
_OF_JOBS: Final = _RESULT.where(among(deals.c.job, "jobs"))


def unseen(connection: Connection, providers: Collection[str]) -> dict[str, int | None]:
    """Of each of these providers how many results it settled since it was last looked at; None: it never
    was. Who has a re-run under way is being looked at: 0."""
    newest = (
        select(findings.c.provider, func.max(findings.c.number).label("number"))
        .where(findings.c.provider.in_(providers))
        .group_by(findings.c.provider)
        .subquery()
    )
    later = (checks.c.provider == findings.c.provider) & (checks.c.time > findings.c.at)
    counted = connection.execute(
        select(findings.c.provider, func.count(checks.c.deal))
        .select_from(newest.join(findings, findings.c.number == newest.c.number).outerjoin(checks, later))
        .group_by(findings.c.provider)
    )
    found: dict[str, int | None] = dict.fromkeys(providers)
    found.update((provider, count) for provider, count in counted)
    found.update(dict.fromkeys(connection.execute(_under_way(providers)).scalars(), 0))
    return found


def gone_by(connection: Connection, provider: str) -> int:
    """How many results a provider settled since it was last looked at, `STALE` at most; 0 where that many did
    while it is being looked at: a re-run of one of its results waits for the verdict, or it has one under
    way."""
    looked_at = (
        select(findings.c.at)
        .where(findings.c.provider == provider)
        .order_by(findings.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    own = select(checks.c.deal).where(checks.c.provider == provider)
    later = own.where(checks.c.time > looked_at).limit(STALE).subquery()
    count = int(connection.execute(select(func.count()).select_from(later)).scalar_one())
    if count < STALE:
        return count
    # A canary that waits does not count: whoever leaves canaries alone would always have one.
    drawn = own.where(checks.c.state == "wanted", checks.c.canary.is_(None))
    newest = drawn.order_by(checks.c.time.desc()).limit(1)
    waits = (newest, _under_way([provider]).limit(1))
    return 0 if any(connection.execute(each).first() is not None for each in waits) else count


def _under_way(providers: Collection[str]) -> Select[str]:
    """Those of the providers that run, or ran, a result again of which the verdict is not known."""
    return (
        select(attempts.c.provider)
        .join(reruns, reruns.c.job == attempts.c.job)
        .join(checks, (checks.c.deal == reruns.c.deal) & (checks.c.opening == reruns.c.opening))
        .where(checks.c.state == "wanted", attempts.c.provider.in_(providers), attempts.c.state.not_in(GONE))
        .distinct()
    )


@dataclass(frozen=True, slots=True)
class Refuted:
    """A paid result that says other than one of the same work which the arbiter upheld."""

    deal: tuple[str, int]
    provider: str


def refuted(connection: Connection, since: int) -> list[Refuted]:
    """Results of which nobody was told yet that they are wrong, though a case about the same work ended not
    guilty and they differ from what was upheld there. since: of checks whose result is as old or newer.

    None of an offer of which two answers to the same task were upheld: it does not give the same every time,
    and the arbiter acquits whoever ran such a one.
    """
    deal = func.coalesce(reruns.c.deal, deals.c.id), func.coalesce(reruns.c.opening, deals.c.opening)
    acquitted = (
        select(cases.c.deal.label("upheld"), cases.c.claim, jobs.c.offer_id, checks.c.deal, checks.c.opening)
        .join(deals, (deals.c.id == cases.c.deal) & (deals.c.opening == cases.c.opening))
        .join(jobs, jobs.c.id == deals.c.job)
        .outerjoin(reruns, reruns.c.job == deals.c.job)
        .join(checks, (checks.c.deal == deal[0]) & (checks.c.opening == deal[1]))
        .where(cases.c.state == "acquitted", checks.c.time >= since, checks.c.canary.is_(None))
        .where(checks.c.state.in_(("right", "wrong")))
    )
    rows = [(row, Claim.from_json(row.claim)) for row in connection.execute(acquitted)]
    upheld = [(row, claim) for row, claim in rows if claim.ground == Ground.WRONG]
    leaves: dict[tuple[str, int, int], set[bytes]] = {}
    for row, claim in upheld:
        leaves.setdefault((row.deal, row.opening, claim.index), set()).add(claim.leaf)
    unsteady = {row.offer_id for row, claim in upheld if len(leaves[row.deal, row.opening, claim.index]) > 1}
    return [
        Refuted((each.id, each.opening), each.provider)
        for row, claim in upheld
        if row.offer_id not in unsteady
        for each in _answers(connection, row.deal, row.opening)
        if not each.wrong and each.id != row.upheld and _differs(each.tasks, claim)
    ]


def _answers(connection: Connection, deal: str, opening: int) -> list[Row[Any]]:
    """The paid results of a checked deal's work, its own too."""
    key = {"of": deal, "opened": opening}
    ran = connection.execute(_RERUNS, key).scalars().all()
    rows = [*connection.execute(_OWN, key), *connection.execute(_OF_JOBS, {"jobs": list(ran)})]
    return sorted((row for row in rows if row.state in PAID), key=lambda row: str(row.id))


def _differs(told: Sequence[dict[str, Any]] | None, claim: Claim) -> bool:
    """Whether what a worker reported has another leaf where the claim was."""
    if told is None or len(told) <= claim.index:
        return False
    said = told[claim.index]
    digest = OutputManifest.from_json(said["outputs"]).digest
    return (said["status"], digest) != (claim.status, claim.digest)
