"""When an open deal can be settled, and with which signatures.

With one leg its report is enough. With several, a quorum must have opened the same root and one of them must
have brought the outputs; those who committed and have not opened yet are waited for a little, so that who did
the work is paid. A refusal counts when a quorum refuses. Signatures are given one a leg, "0x" for none: with
all of them anyone could settle, with fewer the contract takes it from its scheduler.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.engine import RowMapping

from marketplace.store import outbox
from marketplace.store.tables import attempts, deals, rounds
from marketplace.store.terms import terms_of
from prixfixe.market.quorum import Replica
from prixfixe.protocol.deals import Deal, refusal_root
from prixfixe.protocol.typed_data import format_bytes32

NO_SIGNATURE: Final = "0x"
PAID_STATES: Final = ("settled", "disputed")  # of a deal: its result is paid, or about to be judged
PAID: Final = (*PAID_STATES, "guilty")  # of a deal that was paid, whatever came after
PATIENCE_SECONDS: Final = 5.0  # after a quorum, for those who have committed and not opened yet
GONE: Final = ("failed", "lost")  # of an attempt: nothing more is expected of it
# Made once: making a statement takes longer than running it.
_DEAL, _ATTEMPTS, _ROUND = (
    select(table).where(key == bindparam("of"), table.c.opening == bindparam("opened"))
    for table, key in ((deals, deals.c.id), (attempts, attempts.c.deal), (rounds, rounds.c.deal))
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A deal with all that its workers have said. attempts: in the order of its legs."""

    row: RowMapping
    deal: Deal
    attempts: Sequence[RowMapping]
    round: RowMapping | None

    @property
    def replicas(self) -> list[Replica]:
        """The legs as the rules of a round see them."""
        return [
            Replica(
                key=each["worker"],
                committed=each["commitment"] is not None,
                root=vote_of(each),
                gone=each["state"] in GONE,
            )
            for each in self.attempts
        ]

    def signatures(self, root: str, done: int | None = None) -> list[str]:
        """One a leg: over a result with this root."""
        return [each["signature"] if _says(each, root, done) else NO_SIGNATURE for each in self.attempts]


def vote_of(attempt: RowMapping) -> str | None:
    """What an attempt that opened its result stands for: root and tasks done, since both are signed."""
    result = attempt["result"]
    return f"{result['root']}:{result['done']}" if result is not None and result["done"] else None


def standing_of(connection: Connection, deal: str, opening: int) -> Standing:
    """Read it; both rows must exist."""
    key = {"of": deal, "opened": opening}
    row = connection.execute(_DEAL, key).mappings().one()
    value = terms_of(row)
    by_key = {each["worker"]: each for each in connection.execute(_ATTEMPTS, key).mappings()}
    several = len(value.legs) > 1
    return Standing(
        row,
        value,
        [by_key[leg.key] for leg in value.legs if leg.key in by_key],
        connection.execute(_ROUND, key).mappings().one_or_none() if several else None,
    )


def standings_of(connection: Connection, job: str) -> dict[tuple[str, int], Standing]:
    """All the deals of a job, by id and opening, in a few reads: a job may have thousands of lots."""
    found: dict[tuple[str, int], dict[str, RowMapping]] = {}
    for each in connection.execute(select(attempts).where(attempts.c.job == job)).mappings():
        found.setdefault((each["deal"], each["opening"]), {})[each["worker"]] = each
    own = select(deals.c.id).where(deals.c.job == job).scalar_subquery()
    of_round = connection.execute(select(rounds).where(rounds.c.deal.in_(own))).mappings()
    by_deal = {(each["deal"], each["opening"]): each for each in of_round}
    standings = {}
    for row in connection.execute(select(deals).where(deals.c.job == job)).mappings():
        key, value = (row["id"], row["opening"]), terms_of(row)
        by_key = found.get(key, {})
        ordered = [by_key[leg.key] for leg in value.legs if leg.key in by_key]
        standings[key] = Standing(row, value, ordered, by_deal.get(key) if len(value.legs) > 1 else None)
    return standings


def settle_when_signed(connection: Connection, deal: str, opening: int) -> bool:
    """Put `settle` of an open deal in the outbox as soon as it can be paid or given back."""
    return settle_when_said(connection, [standing_of(connection, deal, opening)])


def settle_when_said(connection: Connection, standings: Sequence[Standing]) -> bool:
    """As `settle_when_signed`, of several deals and what is known of them; whether any was put in."""
    wishes = []
    for each in standings:
        result = _result(each) if each.row["state"] == "open" else None
        if result is not None:
            root, done = result
            signatures = each.signatures(root, done)
            key = {"deal": each.row["id"], "opening": each.row["opening"]}
            wishes.append({**key, "root": root, "done": done, "signatures": signatures})
    return outbox.queue_settles(connection, wishes)


def _result(standing: Standing) -> tuple[str, int] | None:
    """(root, done) to settle with now; None while there is none."""
    legs, quorum = len(standing.deal.legs), standing.deal.quorum
    if len(standing.attempts) != legs:
        return None
    refusal = format_bytes32(refusal_root(standing.row["due"]))
    if sum(_says(each, refusal, 0) for each in standing.attempts) >= quorum:
        return refusal, 0
    if standing.round is None:
        result = standing.attempts[0]["result"]
        return (result["root"], result["done"]) if result is not None and result["done"] else None
    if standing.round["state"] != "delivered":
        return None
    waited = time.time() - standing.round["agreed_at"] >= PATIENCE_SECONDS
    if any(replica.committed and replica.may_open for replica in standing.replicas) and not waited:
        return None
    return standing.round["root"], standing.round["done"]


def _says(attempt: RowMapping, root: str, done: int | None = None) -> bool:
    """Whether the attempt's worker signed a result with this root."""
    result: dict[str, Any] | None = attempt["result"]
    if result is None or attempt["signature"] is None:
        return False
    return bool(result["root"] == root and done in (None, result["done"]))
