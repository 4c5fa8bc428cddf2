"""The state machines of the service: every state, and every transition by its name.

The one place where they are written. `tables` makes the CHECKs and the triggers from it, so the database
itself refuses a change that is no transition here, whoever asks for it; the functions of the same names in
`transitions`, `openings`, `deals`, `disputes`, `rounds`, `reports`, `rewind` and `outbox` take their states
from it; docs/states.md is drawn from it. A new or changed transition needs a migration that makes its
table's triggers anew (`refusals` gives the statements), and so does a step that has SQLite copy the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """What goes through states. noun: one row of `table`, whose column `state` says where it is. states: with
    what each means, in the order in which they come; the first is where a row begins, or any of `begins`.
    reasoned: states into which no row comes without a reason."""

    noun: str
    table: str
    states: dict[str, str]
    begins: tuple[str, ...] = ()
    reasoned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """A named change. sources, target: states. who: the part that makes it. when: in words. rewinds: it takes
    back what a re-organisation of the chain took back."""

    machine: Machine
    name: str
    sources: tuple[str, ...]
    target: str
    who: str
    when: str
    rewinds: bool = False

    @property
    def pairs(self) -> Iterator[tuple[str, str]]:
        """(from, to) of each change that it stands for."""
        return ((source, self.target) for source in self.sources if source != self.target)


JOB: Final = Machine(
    "job",
    "jobs",
    {
        "queued": "placed; no deal was opened yet",
        "running": "a deal was opened; some lot is not over",
        "settled": "over: something was done and paid",
        "refunded": "over: nothing was paid",
    },
)
LOT: Final = Machine(
    "lot",
    "lots",
    {
        "free": "waits for workers",
        "matching": "its `match` or `clear` is on its way to the contract",
        "open": "the contract holds the money of its deal",
        "settled": "over: paid once",
        "ended": "over: nothing paid",
    },
    reasoned=("ended",),
)
DEAL: Final = Machine(
    "deal",
    "deals",
    {
        "open": "the contract holds the money",
        "settled": "paid",
        "disputed": "paid, and challenged",
        "guilty": "over: judged wrong, the customer's money went back",
        "refused": "over: its workers signed done = 0, the money went back",
        "expired": "over: the deadline passed, the money went back",
    },
    reasoned=("refused", "expired"),
)
CASE: Final = Machine(
    "case",
    "cases",
    {
        "open": "waits for the arbiter",
        "guilty": "over: the customer's money went back, the challenger has its bond",
        "acquitted": "over: the arbiter has the bond, the lot is settled again",
        "lapsed": "over: the challenger has its bond, the lot is settled again",
    },
)
TASK: Final = Machine(
    "task",
    "tasks",
    {
        "queued": "no worker has started it",
        "running": "a worker has started it",
        "succeeded": "its worker signed that it was done",
        "failed": "its worker signed that it was not",
    },
)
ATTEMPT: Final = Machine(
    "attempt",
    "attempts",
    {
        "assigned": "its worker has not started",
        "running": "its worker has started",
        "committed": "one of several replicas gave the salted hash of its result",
        "opened": "one of several replicas showed its result",
        "succeeded": "over: reported as done",
        "failed": "over: reported as not done, or outvoted",
        "lost": "its worker was given up; it may still come back while the deal is open",
    },
    reasoned=("failed", "lost"),
)
ROUND: Final = Machine(
    "round",
    "rounds",
    {
        "committing": "the replicas run",
        "opening": "all have committed or given up; each shows its result",
        "agreed": "a quorum has opened one root",
        "delivered": "over: one of them has brought the outputs; it settles",
        "split": "over: no root can have a quorum; the deal is hastened and expires",
    },
)
TRANSACTION: Final = Machine(
    "transaction",
    "transactions",
    {
        "pending": "in the outbox",
        "sent": "given to the chain",
        "confirmed": "the chain carried it out",
        "failed": "over: reverted, or refused before it was sent",
    },
)
CHECK: Final = Machine(
    "check",
    "checks",
    {
        "spared": "a paid result that was not drawn; one that is drawn begins as wanted",
        "wanted": "it is run again or its provider is given a canary, or it waits for that",
        "right": "a re-run agrees, or the canary's answer is the known one",
        "wrong": "over: it is challenged, or the canary's answer was another",
        "unclear": "over: nobody can tell",
    },
    begins=("spared", "wanted"),
)
MACHINES: Final = (JOB, LOT, DEAL, CASE, TASK, ATTEMPT, ROUND, CHECK, TRANSACTION)

JOB_STARTED: Final = Transition(JOB, "started", ("queued",), "running", "indexer", "its first deal opened")
JOB_SETTLED: Final = Transition(
    JOB, "settled", ("running",), "settled", "indexer", "its last lot is over, and a lot was paid"
)
JOB_REFUNDED: Final = Transition(
    JOB,
    "refunded",
    ("queued", "running"),
    "refunded",
    "indexer, reaper, API",
    "its last lot is over, and none was paid",
)
JOB_RESUMED: Final = Transition(
    JOB,
    "resumed",
    ("settled", "refunded"),
    "running",
    "indexer",
    "the chain took the end of a lot back",
    rewinds=True,
)
JOB_UNSTARTED: Final = Transition(
    JOB,
    "unstarted",
    ("running", "refunded"),
    "queued",
    "indexer",
    "the chain took its only deal, or a cancellation, back",
    rewinds=True,
)

LOT_MATCHED: Final = Transition(
    LOT, "matched", ("free",), "matching", "matcher, auctioneer", "asks fit, or a batch filled it"
)
LOT_UNMATCHED: Final = Transition(
    LOT, "unmatched", ("matching",), "free", "relayer, indexer", "the contract opened no deal; after a pause"
)
LOT_OPENED: Final = Transition(LOT, "opened", ("free", "matching"), "open", "indexer", "`DealOpened`")
LOT_SETTLED: Final = Transition(LOT, "settled", ("open",), "settled", "indexer", "`Settled`")
LOT_FREED: Final = Transition(
    LOT, "freed", ("open",), "free", "indexer", "`Expired`, or `Refused` by the provider's fault; tries left"
)
LOT_ENDED: Final = Transition(
    LOT,
    "ended",
    ("open",),
    "ended",
    "indexer",
    "`Expired` or `Refused` with no try left, for the customer's fault, or because no replicas agreed",
)
LOT_GIVEN_UP: Final = Transition(
    LOT,
    "given up",
    ("free",),
    "ended",
    "reaper, relayer, indexer, matcher",
    "its order is over, its deadline cannot be met any more, the contract refuses the order itself, or it "
    "failed on every worker",
)
LOT_CANCELLED: Final = Transition(LOT, "cancelled", ("free",), "ended", "API", "its customer took it back")
LOT_CLOSED: Final = Transition(
    LOT,
    "closed",
    ("free", "matching"),
    "ended",
    "indexer",
    "`Cancelled`: its customer closed it on the chain",
)
LOT_REOPENED: Final = Transition(
    LOT,
    "reopened",
    ("free", "matching", "settled", "ended"),
    "open",
    "indexer",
    "the chain took the end of its deal back",
    rewinds=True,
)
LOT_UNOPENED: Final = Transition(
    LOT, "unopened", ("open",), "free", "indexer", "the chain took its deal back", rewinds=True
)
LOT_UNCANCELLED: Final = Transition(
    LOT, "uncancelled", ("ended",), "free", "indexer", "the chain took `Cancelled` back", rewinds=True
)

DEAL_SETTLED: Final = Transition(DEAL, "settled", ("open",), "settled", "indexer", "`Settled`")
DEAL_REFUSED: Final = Transition(DEAL, "refused", ("open",), "refused", "indexer", "`Refused`")
DEAL_EXPIRED: Final = Transition(DEAL, "expired", ("open",), "expired", "indexer", "`Expired`")
DEAL_DISPUTED: Final = Transition(DEAL, "disputed", ("settled",), "disputed", "indexer", "`Challenged`")
DEAL_CLEARED: Final = Transition(
    DEAL, "cleared", ("disputed",), "settled", "indexer", "`Judged` not guilty, or `Lapsed`"
)
DEAL_CONVICTED: Final = Transition(
    DEAL,
    "convicted",
    ("disputed",),
    "guilty",
    "indexer",
    "`Judged` guilty: its job was charged that much less",
)
DEAL_REOPENED: Final = Transition(
    DEAL,
    "reopened",
    ("settled", "refused", "expired"),
    "open",
    "indexer",
    "the chain took its end back",
    rewinds=True,
)
DEAL_UNDISPUTED: Final = Transition(
    DEAL, "undisputed", ("disputed",), "settled", "indexer", "the chain took `Challenged` back", rewinds=True
)
DEAL_DISPUTED_AGAIN: Final = Transition(
    DEAL,
    "disputed again",
    ("settled", "guilty"),
    "disputed",
    "indexer",
    "the chain took the end of its case back",
    rewinds=True,
)

CASE_GUILTY: Final = Transition(CASE, "guilty", ("open",), "guilty", "indexer", "`Judged` guilty")
CASE_ACQUITTED: Final = Transition(
    CASE, "acquitted", ("open",), "acquitted", "indexer", "`Judged` not guilty"
)
CASE_LAPSED: Final = Transition(
    CASE, "lapsed", ("open",), "lapsed", "indexer", "`Lapsed`: the arbiter was silent and anyone said so"
)
CASE_REOPENED: Final = Transition(
    CASE,
    "reopened",
    ("guilty", "acquitted", "lapsed"),
    "open",
    "indexer",
    "the chain took its end back",
    rewinds=True,
)

TASK_STARTED: Final = Transition(TASK, "started", ("queued",), "running", "API", "its attempt started")
TASK_SUCCEEDED: Final = Transition(
    TASK, "succeeded", ("queued", "running"), "succeeded", "API", "its worker's report"
)
TASK_FAILED: Final = Transition(TASK, "failed", ("queued", "running"), "failed", "API", "its worker's report")
TASK_QUEUED_AGAIN: Final = Transition(
    TASK,
    "queued again",
    ("running", "succeeded", "failed"),
    "queued",
    "reaper, indexer",
    "its attempts were lost or agreed on nothing, or its lot is free again",
)
TASK_RESUMED: Final = Transition(
    TASK,
    "resumed",
    ("queued", "succeeded", "failed"),
    "running",
    "indexer",
    "the chain took the end of its deal back, or the deal, and gave it again: its report counts anew",
    rewinds=True,
)

ATTEMPT_STARTED: Final = Transition(ATTEMPT, "started", ("assigned",), "running", "API", "its worker says so")
ATTEMPT_COMMITTED: Final = Transition(
    ATTEMPT,
    "committed",
    ("assigned", "running", "lost"),
    "committed",
    "API",
    "one of several replicas has a result, in time",
)
ATTEMPT_OPENED: Final = Transition(
    ATTEMPT,
    "opened",
    ("committed", "lost"),
    "opened",
    "API",
    "one of several replicas shows what it committed to",
)
ATTEMPT_SUCCEEDED: Final = Transition(
    ATTEMPT,
    "succeeded",
    ("assigned", "running", "opened", "lost"),
    "succeeded",
    "API",
    "its worker's report, while the deal is open or settled with it",
)
ATTEMPT_FAILED: Final = Transition(
    ATTEMPT, "failed", ("assigned", "running", "opened", "lost"), "failed", "API", "its worker's report"
)
ATTEMPT_OUTVOTED: Final = Transition(
    ATTEMPT,
    "outvoted",
    ("opened",),
    "failed",
    "API, reaper",
    "a quorum signed another result, or none agreed",
)
ATTEMPT_LOST: Final = Transition(
    ATTEMPT,
    "lost",
    ("assigned", "running", "committed", "opened"),
    "lost",
    "reaper, indexer, API",
    "its lease ran out, its deal ended, or its replicas did not wait for it",
)
ATTEMPT_ASSIGNED_AGAIN: Final = Transition(
    ATTEMPT,
    "assigned again",
    ("running", "failed", "lost"),
    "assigned",
    "indexer",
    "the chain took its deal back and gave it again",
    rewinds=True,
)

ROUND_OPENING: Final = Transition(
    ROUND,
    "opening",
    ("committing",),
    "opening",
    "API, reaper",
    "all have committed or given up; or a quorum has, and the others had their time",
)
ROUND_AGREED: Final = Transition(
    ROUND, "agreed", ("opening",), "agreed", "API, reaper", "a quorum opened one root"
)
ROUND_SPLIT: Final = Transition(
    ROUND, "split", ("opening",), "split", "API, reaper", "no root can have a quorum any more"
)
ROUND_DELIVERED: Final = Transition(
    ROUND, "delivered", ("agreed",), "delivered", "API", "one of the quorum reported"
)

CHECK_WANTED: Final = Transition(
    CHECK,
    "wanted",
    ("spared", "right"),
    "wanted",
    "verifier",
    "its provider was caught with another result, or who had cleared it was",
)
CHECK_RIGHT: Final = Transition(
    CHECK, "right", ("wanted",), "right", "verifier", "a re-run agrees with it, or a canary came back right"
)
CHECK_WRONG: Final = Transition(
    CHECK,
    "wrong",
    ("wanted",),
    "wrong",
    "verifier",
    "re-runs agree with each other and not with it, or a canary came back wrong",
)
CHECK_UNCLEAR: Final = Transition(
    CHECK,
    "unclear",
    ("wanted",),
    "unclear",
    "verifier",
    "no two agree, the canary was not answered, or its window is over",
)

TRANSACTION_SENT: Final = Transition(
    TRANSACTION, "sent", ("pending", "sent"), "sent", "relayer", "it leaves; again, with a higher fee"
)
TRANSACTION_DROPPED: Final = Transition(
    TRANSACTION, "dropped", ("sent",), "pending", "relayer", "the pool lost it, its nonce went to another"
)
TRANSACTION_CONFIRMED: Final = Transition(
    TRANSACTION, "confirmed", ("sent",), "confirmed", "relayer", "its receipt"
)
TRANSACTION_FAILED: Final = Transition(
    TRANSACTION,
    "failed",
    ("pending", "sent"),
    "failed",
    "relayer",
    "its receipt, or refused before it was sent; with the decoded reason",
)
TRANSACTION_REVIVED: Final = Transition(
    TRANSACTION,
    "revived",
    ("confirmed",),
    "sent",
    "relayer",
    "the chain took its block back",
    rewinds=True,
)
TRANSITIONS: Final = tuple(each for each in list(globals().values()) if isinstance(each, Transition))


def refusals(machine: Machine, dialect: str) -> tuple[str, ...]:
    """The statements that make the triggers which refuse every change of state that is no transition, and one
    into a state that wants a reason without any. On PostgreSQL they call the functions of `REFUSE`."""
    pairs = sorted({pair for each in TRANSITIONS if each.machine is machine for pair in each.pairs})
    moves = ", ".join(f"'{source}>{target}'" for source, target in pairs)
    unnamed = f"OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({moves})"
    made = [_trigger(machine, "state", unnamed, "transition", "no such transition of", dialect)]
    if machine.reasoned:
        bad = ", ".join(f"'{state}'" for state in machine.reasoned)
        untold = f"OLD.state <> NEW.state AND NEW.state IN ({bad}) AND NEW.reason IS NULL"
        made.append(_trigger(machine, "reason", untold, "unreasoned", "no reason for", dialect))
    return tuple(made)


def _trigger(machine: Machine, name: str, refused: str, function: str, says: str, dialect: str) -> str:
    table = machine.table
    create = f"CREATE TRIGGER tr_{table}_{name} BEFORE UPDATE OF state ON {table} FOR EACH ROW WHEN"
    if dialect == "postgresql":
        return f"{create} ({refused}) EXECUTE FUNCTION refuse_{function}()"
    return f"{create} {refused} BEGIN SELECT RAISE(ABORT, '{says} {table}.state'); END"


REFUSE: Final = (
    """CREATE FUNCTION refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE check_violation USING
    MESSAGE = 'no such transition of ' || TG_TABLE_NAME || '.state: ' || OLD.state || ' to ' || NEW.state;
END $$""",
    """CREATE FUNCTION refuse_unreasoned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE check_violation USING
    MESSAGE = 'no reason for ' || TG_TABLE_NAME || '.state: ' || OLD.state || ' to ' || NEW.state;
END $$""",
)
