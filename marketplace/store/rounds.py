"""The round of a deal with several legs: every replica commits, then opens; a quorum agrees, one delivers.

The states and who moves them are in `marketplace.store.states`, the rules in `prixfixe.market.quorum`. All
take the connection of a `Store.write()`; each change wakes the workers of the deal (`round:<deal>`).
"""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, update

from marketplace.store import attempting, pauses, states, transitions
from marketplace.store.database import notify
from marketplace.store.moves import move, moving
from marketplace.store.settling import Standing, settle_when_signed, standing_of
from marketplace.store.tables import rounds
from marketplace.store.upsert import insert_missing
from prixfixe.errors import Conflict
from prixfixe.market import quorum
from prixfixe.protocol.orders import Result
from prixfixe.protocol.wire import Reason

# Once a quorum has committed, the others have as long again as it took, and never less than this.
STRAGGLER_SECONDS: Final = 30.0


def topic(deal: str) -> str:
    """What a worker waits for while it waits for its replicas."""
    return f"round:{deal}"


def round_begun(connection: Connection, deal: str, opening: int) -> None:
    """A new round, committing. One that a re-organisation took back goes on where it was."""
    row = {"deal": deal, "opening": opening, "state": "committing", "created_at": time.time()}
    insert_missing(connection, rounds, [row])


def attempt_committed(connection: Connection, attempt: str, commitment: str) -> None:
    """running, assigned or lost -> committed, while the round is. Conflict when it is too late, or when the
    hash is another replica's: whoever copies one could never open it."""
    row = attempting.attempt_row(connection, attempt)
    standing = _round(connection, attempt)
    assert standing.round is not None
    if row["commitment"] == commitment and standing.round["state"] != "committing":
        return  # it was lost, and is back in time to open
    if any(each["commitment"] == commitment for each in standing.attempts if each["id"] != attempt):
        raise Conflict(
            "another replica has given this very commitment",
            code="commitment-copied",
            hint="commit to a result of your own, with a salt of your own",
            fault="provider",
        )
    _require_round(standing, "committing")
    move(
        connection,
        states.ATTEMPT_COMMITTED,
        {"id": attempt},
        commitment=commitment,
        reason=None,
        ended_at=None,
    )
    standing = _again(connection, standing)
    done = sum(replica.committed for replica in standing.replicas)
    transitions.stage_said(
        connection, row["job"], f"{done} of {len(standing.attempts)} replicas have a result"
    )
    advance(connection, row["deal"], row["opening"])


def attempt_opened(connection: Connection, attempt: str, result: Result, signature: str) -> None:
    """committed (or lost since) -> opened, once the round is opening; it may be the one that decides it.

    The caller has checked the signature, and root and salt against the commitment.
    """
    row = attempting.attempt_row(connection, attempt)
    _require_round(_round(connection, attempt), "opening", "agreed", "delivered")
    move(
        connection,
        states.ATTEMPT_OPENED,
        {"id": attempt},
        result=result.to_json(),
        signature=signature,
        reason=None,
        ended_at=None,
    )
    advance(connection, row["deal"], row["opening"])


def advance(connection: Connection, deal: str, opening: int) -> bool:
    """Take the round as far as what its replicas have said allows; whether it is now being settled. Nothing
    for a deal of one leg."""
    standing = standing_of(connection, deal, opening)
    if standing.round is None:
        return False
    state, needed = standing.round["state"], standing.deal.quorum
    replicas = standing.replicas
    if state == "committing" and quorum.all_committed(replicas, needed):
        _move(connection, standing, states.ROUND_OPENING)
    elif state == "committing" and quorum.have_committed(replicas, needed):
        if standing.round["quorum_at"] is None:
            connection.execute(update(rounds).where(_key(standing)).values(quorum_at=time.time()))
    elif state == "opening" and (vote := quorum.agreed_root(replicas, needed)) is not None:
        root, _, done = vote.partition(":")
        _move(connection, standing, states.ROUND_AGREED, root=root, done=int(done), agreed_at=time.time())
        transitions.stage_said(connection, standing.row["job"], "a quorum agrees; delivering")
    elif state == "opening" and quorum.is_split(replicas, needed):
        _move(connection, standing, states.ROUND_SPLIT)
    _end_losers(connection, _again(connection, standing))
    if any(each["state"] == "succeeded" for each in standing.attempts):
        _move(connection, standing, states.ROUND_DELIVERED)
    return settle_when_signed(connection, deal, opening)


def close_commitments(connection: Connection, deal: str, opening: int) -> None:
    """committing -> opening without those who have not committed: a quorum has, and they took too long."""
    standing = standing_of(connection, deal, opening)
    if standing.round is None or standing.round["state"] != "committing":
        return
    if not quorum.have_committed(standing.replicas, standing.deal.quorum):
        return
    # First the round, so that losing the last of them does not open it a second time.
    _move(connection, standing, states.ROUND_OPENING)
    for each in standing.attempts:
        if each["state"] in ("assigned", "running") and each["commitment"] is None:
            attempting.attempt_lost(connection, each["id"], "its replicas did not wait for it any longer")


def is_late(standing: Standing, now: float) -> bool:
    """Whether those who have not committed have had their time (`now`: the service's clock)."""
    row = standing.round
    if row is None or row["state"] != "committing" or row["quorum_at"] is None:
        return False
    patience = max(STRAGGLER_SECONDS, row["quorum_at"] - row["created_at"])
    return bool(now >= row["quorum_at"] + patience)


NO_CONSENSUS: Final = Reason(
    code="no-consensus",
    message="the replicas gave different results, and no quorum agreed",
    hint="the whole price comes back; order again",
    fault="provider",
)


def _end_losers(connection: Connection, standing: Standing) -> None:
    """opened -> failed for those whose root is not the agreed one, or when there is none. Their pay stays
    with the customer; who was outvoted gets no new deal for a while."""
    assert standing.round is not None
    state, root, done = (standing.round[name] for name in ("state", "root", "done"))
    if state not in ("agreed", "delivered", "split"):
        return
    reason = NO_CONSENSUS
    if root is not None:
        reason = Reason(
            code="outvoted",
            message="its result is not the one that a quorum of its replicas signed",
            hint="nothing is paid for it",
            fault="provider",
        )
    for each in standing.attempts:
        if each["state"] != "opened" or (each["result"]["root"], each["result"]["done"]) == (root, done):
            continue
        move(
            connection,
            states.ATTEMPT_OUTVOTED,
            {"id": each["id"]},
            reason=reason.model_dump(mode="json"),
            ended_at=int(time.time()),
        )
        if root is not None:
            pauses.provider_cooled(connection, each["provider"])
            pauses.worker_failed(connection, each["worker"])
        notify(connection, f"worker:{each['worker']}")


def _round(connection: Connection, attempt: str) -> Standing:
    row = attempting.attempt_row(connection, attempt)
    standing = standing_of(connection, row["deal"], row["opening"])
    if standing.round is None:
        raise Conflict(
            "the deal has one leg: its worker reports, and commits to nothing",
            code="no-round",
            fault="provider",
        )
    if standing.row["state"] != "open":
        raise Conflict(
            f"the deal is {standing.row['state']}: this came too late",
            code="deal-over",
            hint="nothing is paid for it; stop working on it",
            fault="provider",
        )
    return standing


def _require_round(standing: Standing, *states: str) -> None:
    assert standing.round is not None
    state = standing.round["state"]
    if state not in states:
        early = state == "committing"
        raise Conflict(
            "its replicas have not all committed yet" if early else f"the round is {state} already",
            code="round-not-open" if early else "round-closed",
            hint="wait until the round is opening" if early else "nothing is paid for it; stop working on it",
            fault="provider",
        )


def _again(connection: Connection, standing: Standing) -> Standing:
    return standing_of(connection, standing.row["id"], standing.row["opening"])


def _key(standing: Standing) -> ColumnElement[bool]:
    return and_(rounds.c.deal == standing.row["id"], rounds.c.opening == standing.row["opening"])


def _move(connection: Connection, standing: Standing, how: states.Transition, **values: object) -> None:
    """The round's transition; nothing when it is past it."""
    connection.execute(moving(how).where(_key(standing)).values(**values))
    notify(connection, topic(standing.row["id"]))
