"""The part of a verification that is about disputes: what a receipt tells of its cases must follow from its
leaves and facts, and be what the contract holds."""

from __future__ import annotations

from prixfixe.client.checks import Checks, require
from prixfixe.client.evidence import ChainEvidence, DealEvent
from prixfixe.protocol.deals import Fact, settled_word
from prixfixe.protocol.disputes import LOT_GUILTY, Case, Ground
from prixfixe.protocol.receipt import ReceiptDispute, ReceiptLot
from prixfixe.protocol.typed_data import parse_bytes32

_ENDS = {"guilty": "judged", "acquitted": "judged", "lapsed": "lapsed"}
_TOLD = {
    "open": "waits for the arbiter",
    "guilty": "judged guilty",
    "acquitted": "judged not guilty",
    "lapsed": "the arbiter was silent",
}


def told(dispute: ReceiptDispute) -> str:
    """A dispute in a few words."""
    back = f"; {dispute.returned} went back to the customer" if dispute.returned else ""
    return f"{Ground(dispute.claim.ground).word}: {_TOLD[dispute.outcome]}{back}"


def require_fact(lot: ReceiptLot) -> None:
    """The fact of a settlement, before any case, says how much was done and when."""
    first = lot.disputes[0].fact if lot.disputes else lot.fact
    require(first is not None, "a settlement has a fact")
    fact = Fact.unpack(int(first or "0"))
    require(
        (fact.done, fact.signed, fact.time, fact.past_cases) == (lot.done, lot.signed, lot.ended.time, 0),
        f"the fact says {fact.done} done at {fact.time}, signed by legs {fact.signed:b}",
    )


def check_disputes(checks: Checks, lot: ReceiptLot, name: str) -> None:
    """Offline: each case is about a leaf of the settlement, and they follow one another."""
    for number, dispute in enumerate(lot.disputes, 1):
        with checks.check(f"{name}: dispute {number}", told(dispute)):
            _check_claim(lot, dispute)
            _check_order(lot, dispute, number)
            kept = lot.kept.units
            require(
                (dispute.returned is not None) == (dispute.outcome == "guilty"),
                "money came back without guilt, or none with it",
            )
            require(
                dispute.returned is None or 0 < dispute.returned.units <= kept,
                f"{dispute.returned} came back of {kept} units",
            )


def check_disputes_on_chain(checks: Checks, lot: ReceiptLot, name: str, chain: ChainEvidence) -> None:
    """The contract's events of each case are what the receipt tells."""
    for number, dispute in enumerate(lot.disputes, 1):
        with checks.check(f"{name}: dispute {number}", f"opened in block {dispute.opened.block}"):
            opened = _event(chain, lot, "challenged", dispute.opened.transaction, dispute.opened.log_index)
            require(
                (opened.challenger, opened.claim, opened.until, opened.bond)
                == (dispute.challenger, dispute.claim, dispute.until, dispute.bond.units),
                "the contract has another challenge there",
            )
            require(opened.time == dispute.opened.time, "it was opened at another time")
            if dispute.ended is None:
                continue
            kind = _ENDS[dispute.outcome]
            ended = _event(chain, lot, kind, dispute.ended.transaction, dispute.ended.log_index)
            require(ended.time == dispute.ended.time, "it ended at another time")
            if kind == "judged":
                require(ended.guilty == (dispute.outcome == "guilty"), "the arbiter judged otherwise")


def expected_word(lot: ReceiptLot) -> bytes:
    """The lot's word as it must be when the receipt of its settlement is true and up to date."""
    last = lot.disputes[-1] if lot.disputes else None
    if last is not None and last.outcome == "guilty":
        return LOT_GUILTY
    if last is not None and last.outcome == "open":
        return case_of(lot, last).word
    return settled_word(lot.deal.id, parse_bytes32(lot.root), int(lot.fact or "0"))


def case_of(lot: ReceiptLot, dispute: ReceiptDispute) -> Case:
    """A dispute as the contract takes it back."""
    return Case(
        deal=lot.deal,
        root=parse_bytes32(lot.root),
        fact=int(dispute.fact),
        challenger=dispute.challenger,
        until=dispute.until,
        claim=dispute.claim.hash,
        fees=tuple(fee.units for fee in dispute.fees),
    )


def _check_claim(lot: ReceiptLot, dispute: ReceiptDispute) -> None:
    claim = dispute.claim
    if claim.ground == Ground.COUNT:
        return
    require(claim.index < len(lot.tasks), f"the lot has no task {claim.index}")
    task = lot.tasks[claim.index]
    require(
        (claim.status, claim.digest) == (task.status, task.outputs.digest),
        "the claim is about another leaf than the one that was settled",
    )


def _check_order(lot: ReceiptLot, dispute: ReceiptDispute, number: int) -> None:
    """Each case began at the fact that the one before left, and only the last may be open or guilty."""
    fact = Fact.unpack(int(dispute.fact))
    require(fact.past_cases == number - 1, f"{fact.past_cases} cases were before it, not {number - 1}")
    require(fact.done == lot.done, f"the fact says {fact.done} tasks done, not {lot.done}")
    last = number == len(lot.disputes)
    require(last or dispute.outcome in ("acquitted", "lapsed"), "a case follows one that is not over")
    require((dispute.ended is None) == (dispute.outcome == "open"), "its end and its outcome do not fit")
    if dispute.outcome in ("open", "guilty") or dispute.ended is None:
        after = fact
    else:
        window = dispute.until - dispute.opened.time
        after = case_of(lot, dispute).fact_after(dispute.ended.time, window)
    following = lot.fact if last else lot.disputes[number].fact
    require(following == str(after.pack()), "the fact after it is another one")


def _event(chain: ChainEvidence, lot: ReceiptLot, kind: str, transaction: str, log_index: int) -> DealEvent:
    for event in chain.events_in(transaction):
        if event.log_index == log_index:
            require(
                event.kind == kind and event.deal_id == lot.deal.id,
                f"log {log_index} of {transaction} is not '{kind}' of this deal",
            )
            return event
    require(False, f"transaction {transaction} has no such event of this contract")
    raise AssertionError
