"""Checks of paid results: which were drawn, what was bought to run them again, what was found.

The only module that writes `check_days`, `checks`, `reruns` and `findings`; the arithmetic is
`prixfixe.market.verification`. All that writes takes the connection of a `Store.write()`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.store import states
from marketplace.store.moves import amend, move, moving
from marketplace.store.settling import standing_of
from marketplace.store.tables import (
    attempts,
    cases,
    check_days,
    checks,
    deals,
    findings,
    jobs,
    offers,
    reruns,
    trades,
)
from marketplace.store.upsert import insert_missing
from prixfixe.market.verification import Rule, Verdict, commitment, is_drawn, rate
from prixfixe.protocol.deals import Fact
from prixfixe.protocol.disputes import Claim, Ground
from prixfixe.protocol.outputs import OutputManifest, leaf, lot_leaves, merkle_proof
from prixfixe.protocol.typed_data import parse_bytes32

_ENDS: Final = {
    "right": states.CHECK_RIGHT,
    "wrong": states.CHECK_WRONG,
    "unclear": states.CHECK_UNCLEAR,
}
DAY: Final = 86_400
A_ROUND: Final = 500
REFUSED: Final = "refused"  # the answer of a re-run whose worker says that the input cannot work
PAID: Final = ("settled", "disputed", "guilty")  # states of a deal that was paid, whatever came after


@dataclass(frozen=True, slots=True)
class Answer:
    """What one re-run said. root: as it was settled, or REFUSED; None: nothing. provider, deal: who said it,
    for which deal; None when nobody was paid for it."""

    root: str | None
    provider: str | None
    deal: tuple[str, int] | None


def days_begun(connection: Connection, now: int) -> None:
    """The secrets of today and tomorrow (chain clock) exist, so that tomorrow's is told before it counts."""
    rows = []
    for day in (now // DAY, now // DAY + 1):
        secret = secrets.token_bytes(32)
        rows.append({"day": day, "secret": secret.hex(), "commitment": commitment(secret)})
    insert_missing(connection, check_days, rows)


def unchecked(connection: Connection, block: int, since: int) -> Sequence[RowMapping]:
    """Trades of disputable bundles from a block and a time on that nobody has decided about: of one leg each,
    and no re-runs. At most `A_ROUND`, in the chain's order."""
    query = (
        select(trades)
        .join(deals, (deals.c.id == trades.c.deal) & (deals.c.opening == trades.c.opening))
        .join(jobs, jobs.c.id == deals.c.job)
        .join(offers, offers.c.offer_id == jobs.c.offer_id)
        .outerjoin(checks, (checks.c.deal == deals.c.id) & (checks.c.opening == deals.c.opening))
        .outerjoin(reruns, reruns.c.job == deals.c.job)
        .where(
            trades.c.block >= block,
            trades.c.time >= since,
            offers.c.offer["disputable"].as_boolean(),
            jobs.c.replicas == 1,
            deals.c.state == "settled",
            checks.c.deal.is_(None),
            reruns.c.job.is_(None),
        )
        .order_by(trades.c.block, trades.c.log_index)
        .limit(A_ROUND)
    )
    return connection.execute(query).mappings().all()


def decided(connection: Connection, trade: RowMapping, stake: int, rule: Rule) -> bool:
    """A result is looked at for the first time: -> wanted when it is drawn, else spared. Whether it is."""
    day = trade["time"] // DAY
    days_begun(connection, trade["time"])
    secret = connection.execute(select(check_days.c.secret).where(check_days.c.day == day)).scalar_one()
    gain = trade["price"] * trade["tasks"]
    passed = passed_of(connection, trade["provider"])
    chance = rate(gain, stake, passed, rule)
    drawn = is_drawn(bytes.fromhex(secret), parse_bytes32(trade["deal"]), trade["opening"], chance)
    row = {
        "deal": trade["deal"],
        "opening": trade["opening"],
        "provider": trade["provider"],
        "time": trade["time"],
        "day": day,
        "gain": gain,
        "stake": stake,
        "passed": passed,
        "rate": chance,
        "drawn": drawn,
        "state": "wanted" if drawn else "spared",
    }
    insert_missing(connection, checks, [row])
    return drawn


def passed_of(connection: Connection, provider: str) -> int:
    """Results of a provider that were found right since it came, or since one was found wrong."""
    caught = last_caught(connection, provider)
    query = select(func.count()).where(
        findings.c.provider == provider, findings.c.right, findings.c.number > caught
    )
    return int(connection.execute(query).scalar_one())


def last_caught(connection: Connection, provider: str, since: int = 0) -> int:
    """The number of the last finding against a provider, at or after a time of the chain; 0 when there is
    none. A finding that the arbiter did not share does not count."""
    acquitted = select(cases.c.deal).where(cases.c.state == "acquitted")
    query = select(func.max(findings.c.number)).where(
        findings.c.provider == provider,
        findings.c.right.is_(False),
        findings.c.at >= since,
        findings.c.deal.not_in(acquitted),
    )
    return int(connection.execute(query).scalar_one() or 0)


def wanted(connection: Connection) -> Sequence[RowMapping]:
    """Checks that wait for a verdict, oldest first."""
    query = select(checks).where(checks.c.state == "wanted").order_by(checks.c.time, checks.c.deal)
    return connection.execute(query).mappings().all()


def rerun_bought(connection: Connection, check: RowMapping, job: str) -> None:
    """One more run of a wanted check was ordered."""
    newest = select(func.coalesce(func.max(reruns.c.number), 0)).where(
        reruns.c.deal == check["deal"], reruns.c.opening == check["opening"]
    )
    number = int(connection.execute(newest).scalar_one()) + 1
    connection.execute(
        insert(reruns).values(deal=check["deal"], opening=check["opening"], number=number, job=job)
    )


def answers_of(connection: Connection, check: RowMapping) -> list[Answer] | None:
    """What each re-run of a check said, in order; None while one is not over."""
    found = connection.execute(
        select(reruns.c.job, jobs.c.state, jobs.c.reason)
        .join(jobs, jobs.c.id == reruns.c.job)
        .where(reruns.c.deal == check["deal"], reruns.c.opening == check["opening"])
        .order_by(reruns.c.number)
    ).all()
    if any(row.state not in ("settled", "refunded") for row in found):
        return None
    return [_answer(connection, row.job, row.state, row.reason) for row in found]


def _answer(connection: Connection, job: str, state: str, reason: dict[str, Any] | None) -> Answer:
    provider = _ran(connection, job)
    if state == "settled":
        paid = connection.execute(
            select(deals.c.id, deals.c.opening, deals.c.root).where(
                deals.c.job == job, deals.c.state.in_(PAID)
            )
        ).one()
        return Answer(paid.root, provider, (paid.id, paid.opening))
    says_no = provider is not None and (reason or {}).get("fault") == "customer"
    return Answer(REFUSED if says_no else None, provider, None)


def _ran(connection: Connection, job: str) -> str | None:
    """Who had the newest attempt at a job of one lot."""
    query = select(attempts.c.provider).where(attempts.c.job == job)
    return connection.execute(
        query.order_by(attempts.c.created_at.desc(), attempts.c.id).limit(1)
    ).scalar_one_or_none()


def check_waits(connection: Connection, check: RowMapping, why: str) -> None:
    """wanted stays wanted; why is told."""
    amend(connection, checks, _key(check), "wanted", why=why)


def check_ended(
    connection: Connection,
    check: RowMapping,
    said: Verdict,
    now: int,
    truth: str | None,
    why: str | None,
) -> None:
    """wanted -> right, wrong or unclear, with a finding about each paid result that it speaks of. truth: the
    root that holds, by which every answer is judged, also one that had no voice; None: nobody can tell."""
    move(connection, _ENDS[said], _key(check), why=why)
    if truth is None:
        return
    found(connection, (check["deal"], check["opening"]), check["provider"], said == "right", now)
    for answer in answers_of(connection, check) or ():
        if answer.deal is not None and answer.provider is not None:
            found(connection, answer.deal, answer.provider, answer.root == truth, now)


def found(connection: Connection, deal: tuple[str, int], provider: str, right: bool, now: int) -> None:
    """A finding about a paid result; the same twice is once."""
    known = select(findings.c.number).where(
        findings.c.deal == deal[0], findings.c.opening == deal[1], findings.c.right == right
    )
    if connection.execute(known).first() is not None:
        return
    newest = int(connection.execute(select(func.coalesce(func.max(findings.c.number), 0))).scalar_one())
    row = {"deal": deal[0], "opening": deal[1], "provider": provider, "right": right, "at": now}
    connection.execute(insert(findings).values(number=newest + 1, **row))


def swept(connection: Connection, provider: str, since: int, by: RowMapping) -> int:
    """A provider was caught: what it settled at or after a time, and what its re-runs cleared then, is
    wanted. by: the check that caught it, which is over. How many results that makes."""
    others = (checks.c.deal != by["deal"]) | (checks.c.opening != by["opening"])
    wanting = moving(states.CHECK_WANTED).where(checks.c.time >= since, others)
    own = wanting.where(checks.c.provider == provider, checks.c.state == "spared")
    ran = select(attempts.c.job).where(attempts.c.provider == provider)
    cleared = (
        select(reruns.c.deal).where(
            reruns.c.job.in_(ran), reruns.c.deal == checks.c.deal, reruns.c.opening == checks.c.opening
        )
    ).exists()
    return sum(connection.execute(each).rowcount for each in (own, wanting.where(cleared)))


def to_challenge(connection: Connection, since: int) -> Sequence[RowMapping]:
    """Deals whose results were found wrong, settled at or after a time, of which there was no case yet."""
    query = (
        select(deals)
        .join(findings, (findings.c.deal == deals.c.id) & (findings.c.opening == deals.c.opening))
        .where(findings.c.right.is_(False), deals.c.state == "settled")
        .where(deals.c.id.not_in(select(cases.c.deal)))
        .order_by(findings.c.number)
    )
    rows = connection.execute(query).mappings().all()
    return [row for row in rows if Fact.unpack(int(row["fact"])).time >= since]


def claim_of(connection: Connection, deal: str, opening: int) -> tuple[Claim, list[bytes]] | None:
    """What a challenge of a deal says: the first task whose leaf no honest re-run gives, with its proof. None
    when what its worker reported is not known."""
    standing = standing_of(connection, deal, opening)
    told = standing.attempts[0]["tasks"] if standing.attempts else None
    if told is None:
        return None
    own = _leaves(told)
    place = _first_difference(own, _others(connection, deal, opening))
    index, (status, digest) = place, own[place]
    leaves = lot_leaves(own)
    assert leaves[place] == leaf(index, status, digest)
    return Claim(Ground.WRONG, index, status, digest), list(merkle_proof(leaves, place))


def _leaves(told: Sequence[dict[str, Any]]) -> list[tuple[int, bytes]]:
    return [(each["status"], OutputManifest.from_json(each["outputs"]).digest) for each in told]


def _others(connection: Connection, deal: str, opening: int) -> list[list[tuple[int, bytes]]]:
    """What others reported of the same work: the re-runs of a deal, or what a re-run was bought to check."""
    checked = select(reruns.c.deal, reruns.c.opening).join(deals, deals.c.job == reruns.c.job)
    of = connection.execute(checked.where(deals.c.id == deal, deals.c.opening == opening)).first()
    key = (deal, opening) if of is None else (of.deal, of.opening)
    ran = select(reruns.c.job).where(reruns.c.deal == key[0], reruns.c.opening == key[1])
    same = (attempts.c.job.in_(ran)) | ((attempts.c.deal == key[0]) & (attempts.c.opening == key[1]))
    rows = connection.execute(select(attempts.c.tasks, attempts.c.deal).where(same)).all()
    return [_leaves(row.tasks) for row in rows if row.tasks is not None and row.deal != deal]


def _first_difference(own: list[tuple[int, bytes]], others: list[list[tuple[int, bytes]]]) -> int:
    for place, told in enumerate(own):
        if others and all(len(each) > place and each[place] != told for each in others):
            return place
    return 0


def _key(check: RowMapping) -> dict[str, Any]:
    return {"deal": check["deal"], "opening": check["opening"]}
