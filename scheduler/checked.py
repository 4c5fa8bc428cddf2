"""What `prixfixe admin verification` shows: read from the store alone."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Integer, func, select

from marketplace.store.canaries import Canary, all_canaries
from marketplace.store.checks import counted
from marketplace.store.tables import cases, checks, findings, jobs, reruns

_SHOWN: Final = 10


def read_checks(connection: Connection) -> dict[str, Any]:
    """Checks by state and by rate, what they cost, who was caught, what waits."""
    counts = counted(connection)
    total, drawn, chance = connection.execute(
        select(func.count(), func.sum(checks.c.drawn.cast(Integer)), func.avg(checks.c.rate))
    ).one()
    cost = connection.execute(
        select(func.count(), func.sum(jobs.c.charged)).select_from(
            reruns.join(jobs, jobs.c.id == reruns.c.job)
        )
    ).one()
    caught = connection.execute(
        select(findings.c.provider, func.count().label("results"), func.max(findings.c.at).label("last"))
        .where(findings.c.right.is_(False))
        .group_by(findings.c.provider)
        .order_by(func.max(findings.c.at).desc())
        .limit(_SHOWN)
    )
    of_ours = (
        select(cases.c.state, func.count())
        .where(cases.c.deal.in_(select(findings.c.deal).where(findings.c.right.is_(False))))
        .group_by(cases.c.state)
    )
    waiting = select(checks).where(checks.c.state == "wanted").order_by(checks.c.time).limit(_SHOWN)
    return {
        "checks": {state: count for (rerun, state), count in counts.items() if rerun},
        "canaries": {state: count for (rerun, state), count in counts.items() if not rerun},
        "results": total,
        "drawn": int(drawn or 0),
        "mean_rate": None if chance is None else round(float(chance)),
        "reruns": cost[0],
        "spent": str(int(cost[1] or 0)),
        "cases": {row[0]: row[1] for row in connection.execute(of_ours)},
        "caught": [dict(row) for row in caught.mappings()],
        "waiting": [
            {"deal": row.deal, "provider": row.provider, "why": row.why}
            for row in connection.execute(waiting)
        ],
    }


def canary_counts(connection: Connection) -> list[tuple[Canary, dict[str, int]]]:
    """Every canary with what became of the draws that it was for, by state."""
    rows = connection.execute(
        select(checks.c.canary, checks.c.state, func.count())
        .where(checks.c.canary.is_not(None), checks.c.drawn)
        .group_by(checks.c.canary, checks.c.state)
    ).all()
    return [
        (each, {state: count for number, state, count in rows if number == each.number})
        for each in all_canaries(connection)
    ]


def as_text(found: dict[str, Any]) -> str:
    """The same for people."""

    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"

    chance = "" if found["mean_rate"] is None else f" at {found['mean_rate'] / 10_000:.1f} % on average"
    spent = int(found["spent"]) / 10**6
    lines = [
        f"{'results':<13}{found['results']}, of which {found['drawn']} drawn{chance}",
        f"{'checks':<13}{listed(found['checks'])}",
        f"{'canaries':<13}{listed(found['canaries'])}",
        f"{'re-runs':<13}{found['reruns']} with canaries, for ${spent:.2f}",
        f"{'cases':<13}{listed(found['cases'])}",
    ]
    lines += [f"  caught: {row['provider']} with {row['results']} wrong results" for row in found["caught"]]
    lines += [
        f"  waits: deal {row['deal']} of {row['provider']}: {row['why'] or 'is being checked'}"
        for row in found["waiting"]
    ]
    return "\n".join(lines)
