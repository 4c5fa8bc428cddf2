"""Checks of paid results: which were drawn, what was bought to check them, what was found.

The only module that writes `check_days`, `checks`, `reruns` and `findings`; the arithmetic is
`prixfixe.market.verification`. All that writes takes the connection of a `Store.write()`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, or_, select
from sqlalchemy.engine import RowMapping

from marketplace.store import looks, states
from marketplace.store.canaries import Canary, chosen_for
from marketplace.store.moves import amend, move, moving
from marketplace.store.pauses import provider_cooled
from marketplace.store.settling import PAID, standing_of
from marketplace.store.tables import (
    attempts,
    canaries,
    cases,
    check_days,
    checks,
    deals,
    findings,
    jobs,
    offers,
    reruns,
    tasks,
    trades,
)
from marketplace.store.upsert import insert_missing
from prixfixe.market.verification import Rule, Verdict, commitment, is_drawn, pause, rate, record, unlike
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
CAUGHT_SECONDS: Final = 3600.0  # without a new deal, for who answered a canary wrongly


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
    """Trades from a block and a time on that nobody has decided about: of one leg each, of bundles that are
    disputable or have a canary, and not bought by the service. At most `A_ROUND`, in the chain's order."""
    watched = (
        select(canaries.c.number)
        .where(
            canaries.c.bundle == offers.c.bundle,
            canaries.c.version == offers.c.version,
            canaries.c.removed_at.is_(None),
        )
        .exists()
    )
    disputable = offers.c.offer["disputable"].as_boolean()
    query = (
        select(
            trades,
            disputable.label("disputable"),
            offers.c.bundle.label("bundle_id"),
            offers.c.version.label("bundle_version"),
        )
        .join(deals, (deals.c.id == trades.c.deal) & (deals.c.opening == trades.c.opening))
        .join(jobs, jobs.c.id == deals.c.job)
        .join(offers, offers.c.offer_id == jobs.c.offer_id)
        .outerjoin(checks, (checks.c.deal == deals.c.id) & (checks.c.opening == deals.c.opening))
        .outerjoin(reruns, reruns.c.job == deals.c.job)
        .where(
            trades.c.block >= block,
            trades.c.time >= since,
            or_(disputable, watched),
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
    """A result is looked at for the first time: -> wanted when it is drawn, else spared. Whether it is. What
    cannot be disputed is checked by a canary: its provider is drawn, not the result."""
    canary = None
    if not trade["disputable"]:
        canary = chosen_for(connection, trade["bundle_id"], trade["bundle_version"], trade["provider"])
        if canary is None:
            return False  # the last one was removed since
    day = trade["time"] // DAY
    days_begun(connection, trade["time"])
    secret = connection.execute(select(check_days.c.secret).where(check_days.c.day == day)).scalar_one()
    gain = trade["price"] * trade["tasks"]
    provider = trade["provider"]
    passed = passed_of(connection, provider)
    if passed and canary is None:  # else one that leaves canaries alone would be drawn for ever more
        passed = record(passed, looks.gone_by(connection, provider))
    chance = rate(gain, stake, passed, rule)
    drawn = is_drawn(bytes.fromhex(secret), parse_bytes32(trade["deal"]), trade["opening"], chance)
    row = {
        "deal": trade["deal"],
        "opening": trade["opening"],
        "provider": provider,
        "time": trade["time"],
        "day": day,
        "gain": gain,
        "stake": stake,
        "passed": passed,
        "rate": chance,
        "drawn": drawn,
        "canary": canary,
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


def progress(connection: Connection) -> tuple[int, int]:
    """How much was found, and how much of it the arbiter did not share: while both are the same, so is
    `without_record`."""
    newest = select(func.coalesce(func.max(findings.c.number), 0))
    acquitted = select(func.count()).select_from(cases).where(cases.c.state == "acquitted")
    return connection.execute(newest).scalar_one(), connection.execute(acquitted).scalar_one()


def without_record(connection: Connection) -> frozenset[str]:
    """Providers that were caught and have had no result found right since."""
    caught = select(findings.c.provider).where(findings.c.right.is_(False)).distinct()
    return frozenset(
        each
        for each in connection.execute(caught).scalars().all()
        if last_caught(connection, each) and not passed_of(connection, each)
    )


def wanted(connection: Connection) -> Sequence[RowMapping]:
    """Checks that wait for a verdict, oldest first."""
    query = select(checks).where(checks.c.state == "wanted").order_by(checks.c.time, checks.c.deal)
    return connection.execute(query).mappings().all()


def counted(connection: Connection) -> dict[tuple[bool, Any], int]:
    """How many draws there are: by whether they are of a result, else of a provider for a canary, and by
    state (a `CheckState`)."""
    of_result = checks.c.canary.is_(None)
    found = connection.execute(
        select(of_result, checks.c.state, func.count()).group_by(of_result, checks.c.state)
    )
    return {(bool(rerun), state): count for rerun, state, count in found}


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
    bought = _bought(connection, check)
    return None if bought is None else [_answer(connection, **row) for row in bought]


def _bought(connection: Connection, check: RowMapping) -> Sequence[RowMapping] | None:
    """The jobs that were bought for a check, in order; None while one is not over."""
    query = (
        select(reruns.c.job, jobs.c.state, jobs.c.reason)
        .join(jobs, jobs.c.id == reruns.c.job)
        .where(reruns.c.deal == check["deal"], reruns.c.opening == check["opening"])
        .order_by(reruns.c.number)
    )
    found = connection.execute(query).mappings().all()
    return found if all(row["state"] in ("settled", "refunded") for row in found) else None


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


@dataclass(frozen=True, slots=True)
class Sung:
    """What came of one purchase of a canary. deal: that was paid for it; None: nobody was. unlike: paths of
    the expected files that were not delivered as the operator knows them; None: its worker settled by itself
    and has not reported yet, so nobody knows what it delivered."""

    job: str
    deal: tuple[str, int] | None
    unlike: tuple[str, ...] | None = ()


def sung(connection: Connection, check: RowMapping, canary: Canary) -> list[Sung] | None:
    """What came of each purchase of a check's canary, in order; None while one is not over."""
    bought = _bought(connection, check)
    return None if bought is None else [_sung(connection, row["job"], canary) for row in bought]


def _sung(connection: Connection, job: str, canary: Canary) -> Sung:
    paid = connection.execute(
        select(deals.c.id, deals.c.opening).where(deals.c.job == job, deals.c.state.in_(PAID))
    ).one_or_none()
    if paid is None:
        return Sung(job, None)
    outputs = connection.execute(select(tasks.c.outputs).where(tasks.c.job == job)).scalar_one()
    if outputs is None:
        return Sung(job, (paid.id, paid.opening), None)
    told = {file.path: file.sha256 for file in OutputManifest.from_json(outputs).files}
    return Sung(job, (paid.id, paid.opening), unlike(told, canary.expected))


def canary_due(connection: Connection, check: RowMapping, within: int) -> int:
    """From when on (chain clock) a check's canary is bought: some time after the result, which nobody can
    foretell, so that who is paid does not know the next order for one. within: seconds."""
    secret = connection.execute(
        select(check_days.c.secret).where(check_days.c.day == check["day"])
    ).scalar_one()
    waits = pause(bytes.fromhex(secret), parse_bytes32(check["deal"]), check["opening"], within)
    return int(check["time"]) + waits


def canary_rests(connection: Connection, check: RowMapping) -> bool:
    """Whether a check's canary is in use and nobody was given it for this check yet."""
    bought = reruns.c.deal == check["deal"], reruns.c.opening == check["opening"]
    in_use = select(canaries.c.number).where(
        canaries.c.number == check["canary"],
        canaries.c.removed_at.is_(None),
        ~select(reruns.c.job).where(*bought).exists(),
    )
    return connection.execute(in_use).first() is not None


def canary_ended(
    connection: Connection, check: RowMapping, answer: Sung | None, now: int, why: str | None
) -> None:
    """wanted -> right or wrong, with a finding about the canary's own paid result; no answer, or none that
    anybody knows: -> unclear. Who answered wrongly has no record any more and gets nothing for a while."""
    if answer is None or answer.deal is None or answer.unlike is None:
        move(connection, states.CHECK_UNCLEAR, _key(check), why=why)
        return
    right = not answer.unlike
    move(connection, states.CHECK_RIGHT if right else states.CHECK_WRONG, _key(check), why=why)
    found(connection, answer.deal, check["provider"], right, now)
    if not right:
        provider_cooled(connection, check["provider"], CAUGHT_SECONDS)


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
    *,
    confirmed: bool = True,
) -> None:
    """wanted -> right, wrong or unclear, with a finding about each paid result that it speaks of. truth: the
    root that holds, by which every answer is judged, also one that had no voice; None: nobody can tell.
    confirmed: whether who gave it in a re-run is known to be right; else nothing is found of that one."""
    move(connection, _ENDS[said], _key(check), why=why)
    if truth is None:
        return
    found(connection, (check["deal"], check["opening"]), check["provider"], said == "right", now)
    for answer in answers_of(connection, check) or ():
        right = answer.root == truth
        if answer.deal is not None and answer.provider is not None and (confirmed or not right):
            found(connection, answer.deal, answer.provider, right, now)


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


def swept(connection: Connection, provider: str, since: int, by: RowMapping | None) -> int:
    """A provider was caught: what it settled at or after a time, and what its re-runs cleared then, is
    wanted, where a re-run can tell. by: the check that caught it, which is over; None: the arbiter did. How
    many results that makes."""
    wanting = moving(states.CHECK_WANTED).where(checks.c.time >= since, checks.c.canary.is_(None))
    if by is not None:
        wanting = wanting.where((checks.c.deal != by["deal"]) | (checks.c.opening != by["opening"]))
    own = wanting.where(checks.c.provider == provider, checks.c.state == "spared")
    ran = select(attempts.c.job).where(attempts.c.provider == provider)
    cleared = (
        select(reruns.c.deal).where(
            reruns.c.job.in_(ran), reruns.c.deal == checks.c.deal, reruns.c.opening == checks.c.opening
        )
    ).exists()
    return sum(connection.execute(each).rowcount for each in (own, wanting.where(cleared)))


def to_challenge(connection: Connection, since: int) -> Sequence[RowMapping]:
    """Disputable deals whose results were found wrong, settled at or after a time, of which there was no case
    yet."""
    query = (
        select(deals)
        .join(findings, (findings.c.deal == deals.c.id) & (findings.c.opening == deals.c.opening))
        .where(findings.c.right.is_(False), deals.c.state == "settled")
        .where(deals.c.deal["disputable"].as_boolean())
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
