"""When providers were looked at, and what the arbiter's word says of them: read from what checks found.

A provider is looked at when something is found of a result of its: it was run again, or was a re-run itself
and another gave the same answer, or was a canary's. Everything here follows from `findings`, `checks`,
`reruns`, `attempts` and `cases`, so that a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.engine import RowMapping

from marketplace.store.settling import PAID_STATES
from marketplace.store.tables import attempts, cases, checks, deals, findings, reruns
from prixfixe.protocol.disputes import Claim, Ground
from prixfixe.protocol.outputs import OutputManifest


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
    under_way = (
        select(attempts.c.provider)
        .join(reruns, reruns.c.job == attempts.c.job)
        .join(checks, (checks.c.deal == reruns.c.deal) & (checks.c.opening == reruns.c.opening))
        .where(checks.c.state == "wanted", attempts.c.provider.in_(providers))
    )
    found.update(dict.fromkeys(connection.execute(under_way).scalars(), 0))
    return found


@dataclass(frozen=True, slots=True)
class Refuted:
    """A paid result that says other than one which the arbiter upheld. check: of the same work."""

    check: RowMapping
    deal: tuple[str, int]
    provider: str


def refuted(connection: Connection, since: int) -> list[Refuted]:
    """Results of which nobody was told yet that they are wrong, though a case about the same work ended not
    guilty and they differ from what was upheld there. since: of checks whose result is as old or newer."""
    deal = func.coalesce(reruns.c.deal, deals.c.id), func.coalesce(reruns.c.opening, deals.c.opening)
    upheld = (
        select(cases.c.deal.label("upheld"), cases.c.claim, checks)
        .join(deals, (deals.c.id == cases.c.deal) & (deals.c.opening == cases.c.opening))
        .outerjoin(reruns, reruns.c.job == deals.c.job)
        .join(checks, (checks.c.deal == deal[0]) & (checks.c.opening == deal[1]))
        .where(cases.c.state == "acquitted", checks.c.time >= since, checks.c.canary.is_(None))
        .where(checks.c.state.in_(("right", "wrong")))
    )
    found = []
    for row in connection.execute(upheld).mappings():
        claim = Claim.from_json(row["claim"])
        if claim.ground == Ground.WRONG:
            found += [each for each in _answers(connection, row) if _differs(connection, each, row, claim)]
    return found


def _answers(connection: Connection, check: RowMapping) -> list[Refuted]:
    """The paid results of a check's work, its own too, that were not found wrong, and the upheld one not."""
    of_check = (reruns.c.deal == check["deal"]) & (reruns.c.opening == check["opening"])
    wrong = (
        select(findings.c.number)
        .where(findings.c.deal == deals.c.id, findings.c.opening == deals.c.opening)
        .where(findings.c.right.is_(False))
    )
    own = (deals.c.id == check["deal"]) & (deals.c.opening == check["opening"])
    paid = (
        select(deals.c.id, deals.c.opening, attempts.c.provider)
        .join(attempts, (attempts.c.deal == deals.c.id) & (attempts.c.opening == deals.c.opening))
        .where(or_(own, deals.c.job.in_(select(reruns.c.job).where(of_check))))
        .where(deals.c.state.in_((*PAID_STATES, "guilty")), deals.c.id != check["upheld"], ~wrong.exists())
        .order_by(deals.c.id)
    )
    return [Refuted(check, (row.id, row.opening), row.provider) for row in connection.execute(paid)]


def _differs(connection: Connection, answer: Refuted, check: RowMapping, claim: Claim) -> bool:
    """Whether an answer has another leaf where the claim was, by what its worker reported."""
    told = connection.execute(
        select(attempts.c.tasks).where(
            attempts.c.deal == answer.deal[0],
            attempts.c.opening == answer.deal[1],
            attempts.c.provider == answer.provider,
        )
    ).scalar_one_or_none()
    if told is None or len(told) <= claim.index:
        return False
    said = told[claim.index]
    digest = OutputManifest.from_json(said["outputs"]).digest
    return (said["status"], digest) != (claim.status, claim.digest)
