"""Challenging a result: what it costs, what it can give back, and the way to the judgement.

Works from a receipt and a chain node alone; the service is not asked. What the receipt says is held against
the contract's own word before anything is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from prixfixe.errors import (
    ChainError,
    Conflict,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    Unavailable,
    VerificationFailed,
)
from prixfixe.protocol.deals import Deal, Fact, settled_word
from prixfixe.protocol.disputes import LOT_GUILTY, Case, Claim, Ground, bond_after
from prixfixe.protocol.money import ZERO, Money
from prixfixe.protocol.outputs import TaskStatus, lot_leaves, merkle_proof, merkle_root
from prixfixe.protocol.receipt import Receipt, ReceiptLot
from prixfixe.protocol.typed_data import parse_bytes32

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.client.evidence import ChainEvidence, DealEvent
    from prixfixe.keys import Signer

_PAUSE_SECONDS: Final = 0.5
GROUNDS: Final = {ground.word: ground for ground in Ground}

# Called with a few words and the share of the arbiter's time that is over.
Told = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge that could be sent now, and what it means.

    bond: taken from the challenger's free money; it doubles with each of `past_cases`. refund: what goes back
    to the customer when the arbiter agrees. closes: last second in which it can be sent. judged_within:
    seconds that the arbiter then has. task: index in the job. Times are the chain's.
    """

    deal: Deal
    root: bytes
    fact: int
    claim: Claim
    proof: tuple[bytes, ...]
    task: int
    bond: Money
    past_cases: int
    refund: Money
    closes: int
    judged_within: int
    arbiter: str
    now: int

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "ground": Ground(self.claim.ground).word,
            "bond": str(self.bond.units),
            "past_cases": self.past_cases,
            "refund": str(self.refund.units),
            "closes": self.closes,
            "judged_within": self.judged_within,
            "arbiter": self.arbiter,
        }


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A challenge that was sent. block, transaction: where it is on the chain."""

    case: Case
    challenge: Challenge
    block: int
    transaction: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a case ended.

    guilty: the customer has `returned` back and the challenger its bond. acquitted: the arbiter has the bond.
    lapsed: the arbiter said nothing in its time; the bond is back and the result stands.
    """

    outcome: Literal["guilty", "acquitted", "lapsed"]
    returned: Money
    bond_returned: Money
    transaction: str

    def to_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "returned": str(self.returned.units),
            "bond_returned": str(self.bond_returned.units),
            "transaction": self.transaction,
        }


def prepare(
    market: MarketClient,
    chain: ChainEvidence,
    receipt: Receipt,
    challenger: str,
    *,
    task: int = 0,
    ground: str = "wrong",
) -> Challenge:
    """The challenge of a receipt's task, checked against the chain as it is now.

    ground: wrong, missing or count. Errors say why it cannot be: nothing was paid (`nothing-to-challenge`),
    the bundle is not disputable (`not-disputable`), its time is over (`window-closed`), a case runs or was
    won already (`already-disputed`, `already-guilty`), or the bond is not there (`bond-short`).
    """
    if ground not in GROUNDS:
        raise InvalidInput(f"{ground!r} is no ground", hint="grounds are " + ", ".join(GROUNDS))
    kind = GROUNDS[ground]
    lot, place = _lot_of(receipt, task)
    if not lot.deal.disputable:
        raise Conflict(
            "it was sold as not disputable: its results cannot be challenged",
            code="not-disputable",
            hint="run it again on replicas, or compare with a run of your own",
        )
    claim, proof = _claim(lot, place, kind)
    root = parse_bytes32(lot.root, name="root")
    policy, now = market.policy(), market.time()
    fact = _present_fact(chain, lot, root)
    known = Fact.unpack(fact)
    closes = known.time + policy.window
    if now > closes:
        raise Conflict(
            f"the result of task {task} could be challenged until {_utc(closes)}, and it is {_utc(now)}",
            code="window-closed",
            hint="look at results within the window that `prixfixe chain show` names",
            closes=closes,
            now=now,
        )
    bond = bond_after(Money(policy.bond), known.past_cases)
    _require_bond(market, challenger, bond, Money(policy.surety))
    return Challenge(
        deal=lot.deal,
        root=root,
        fact=fact,
        claim=claim,
        proof=proof,
        task=task,
        bond=bond,
        past_cases=known.past_cases,
        refund=lot.kept,
        closes=closes,
        judged_within=policy.window,
        arbiter=policy.arbiter,
        now=now,
    )


def send(market: MarketClient, signer: Signer, challenge: Challenge) -> OpenCase:
    """Put up the bond and open the case. ChainError when somebody was faster."""
    from prixfixe.chain.events import Challenged

    outcome = market.challenge(
        signer, challenge.deal, challenge.root, challenge.fact, challenge.claim, challenge.proof
    )
    event = outcome.one(Challenged)
    case = Case(
        deal=challenge.deal,
        root=challenge.root,
        fact=challenge.fact,
        challenger=event.challenger,
        until=event.until,
        claim=event.claim.hash,
        fees=tuple(fee.units for fee in event.fees),
    )
    return OpenCase(case, challenge, outcome.block_number, outcome.transaction_hash)


def wait(market: MarketClient, signer: Signer, opened: OpenCase, told: Told | None = None) -> Verdict:
    """The case's end: the arbiter's judgement, or, when its time is over, silence, which the signer then
    says."""
    began = opened.challenge.now
    while (verdict := ended(market, opened)) is None:
        now, until = market.time(), opened.case.until
        if now > until:
            _lapse(market, signer, opened.case)
            continue
        if told is not None:
            told("waiting for the arbiter", min(1.0, max(0.0, (now - began) / max(1, until - began))))
        time.sleep(_PAUSE_SECONDS)
    return verdict


def ended(market: MarketClient, opened: OpenCase) -> Verdict | None:
    """How a case ended, None while it runs."""
    from prixfixe.chain.events import Judged, Lapsed

    found = market.events(opened.block, of=[Judged, Lapsed], id=opened.case.deal.id)
    if not found:
        return None
    event, bond = found[0], opened.challenge.bond
    if isinstance(event, Lapsed):
        return Verdict("lapsed", ZERO, bond, event.at.transaction_hash)
    assert isinstance(event, Judged)
    if event.guilty:
        return Verdict("guilty", opened.challenge.refund, bond, event.at.transaction_hash)
    return Verdict("acquitted", ZERO, ZERO, event.at.transaction_hash)


def _lapse(market: MarketClient, signer: Signer, case: Case) -> None:
    try:
        market.lapse(signer, case)
    except ChainError as error:
        if error.revert != "MarketNoCase":  # somebody else said so first
            raise


def _lot_of(receipt: Receipt, task: int) -> tuple[ReceiptLot, int]:
    """The settled deal that a task of the job belongs to, and the task's place in it."""
    settled = [lot for lot in receipt.lots if lot.outcome == "settled"]
    if not settled:
        raise Conflict(
            f"nothing was paid for job {receipt.job}: there is no result to challenge",
            code="nothing-to-challenge",
        )
    for lot in settled:
        for place, found in enumerate(lot.tasks):
            if found.index == task:
                return lot, place
    tasks = sorted(found.index for lot in settled for found in lot.tasks)
    raise NotFound(
        f"job {receipt.job} has no paid task {task}",
        hint=f"its paid tasks: {', '.join(map(str, tasks[:20]))}",
    )


def _claim(lot: ReceiptLot, place: int, ground: Ground) -> tuple[Claim, tuple[bytes, ...]]:
    """What is claimed about a lot's task, with the proof of its leaf."""
    leaves = lot_leaves((task.status, task.outputs.digest) for task in lot.tasks)
    if merkle_root(leaves) != parse_bytes32(lot.root):
        raise VerificationFailed(
            "the receipt's tasks are not those under the root that was settled",
            hint="check it first: prixfixe verify RECEIPT",
        )
    if ground is Ground.COUNT:
        succeeded = sum(task.status == TaskStatus.SUCCEEDED for task in lot.tasks)
        if succeeded >= lot.done:
            raise Conflict(
                f"{lot.done} tasks were paid and the leaves show {succeeded} that succeeded",
                code="nothing-to-challenge",
                hint="challenge a task's result with --ground wrong, or its delivery with --ground missing",
            )
        return Claim(ground, 0, 0, bytes(32)), ()
    task = lot.tasks[place]
    claim = Claim(ground, place, task.status, task.outputs.digest)
    return claim, tuple(merkle_proof(leaves, place))


def _present_fact(chain: ChainEvidence, lot: ReceiptLot, root: bytes) -> int:
    """The fact that the contract holds of a settlement now; Conflict while it is disputed."""
    mine = [event for event in chain.events_of(lot.deal.order) if event.deal_id == lot.deal.id]
    word = chain.lot_word(lot.deal.order, lot.deal.lot)
    if word == LOT_GUILTY:
        raise Conflict("this result was judged guilty already: the money is back", code="already-guilty")
    facts = [event.fact for event in mine if event.fact is not None]
    if facts and word == settled_word(lot.deal.id, root, facts[-1]):
        return facts[-1]
    if (case := _running(mine)) is not None:
        raise Conflict(
            f"{case.challenger} has challenged this result already; the arbiter has until "
            f"{_utc(case.until or 0)}",
            code="already-disputed",
            hint="see how it stands: prixfixe jobs show JOB",
            until=case.until,
        )
    raise Unavailable(
        "the contract's word of this lot is not the settlement that the receipt tells",
        code="chain-behind",
        hint="is the chain node up to date? check the receipt: prixfixe verify RECEIPT",
    )


def _running(events: list[DealEvent]) -> DealEvent | None:
    """The challenge that has no end yet."""
    last = next(
        (event for event in reversed(events) if event.kind in ("challenged", "judged", "lapsed")), None
    )
    return last if last is not None and last.kind == "challenged" else None


def _require_bond(market: MarketClient, challenger: str, bond: Money, surety: Money) -> None:
    account = market.account(challenger)
    needed = bond + surety if account.cur or account.prev else bond
    if account.free < needed:
        why = f", of which {surety} must stay while earnings wait" if needed != bond else ""
        raise InsufficientFunds(
            f"the bond is {bond} and {challenger} has {account.free} free{why}",
            code="bond-short",
            hint=f"deposit the difference: prixfixe account deposit {(needed - account.free).plain}",
            bond=str(bond.units),
            free=str(account.free.units),
        )


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
