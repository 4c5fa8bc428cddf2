"""Open deals end: paid, refused or expired. Or they are hastened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prixfixe.protocol.deals import Deal, Due, Fact, Leg, refusal_root
from prixfixe.protocol.ledger.state import Bucket, Ledger, Open, Settled, Signature, require
from prixfixe.protocol.orders import Result


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the money of one task that is done goes: to the legs that signed, back to the customer for those
    that did not, the rest to the treasury. held: all of it, the larger of price and cost."""

    signers: int
    back: int
    treasury: int
    held: int

    @staticmethod
    def of(deal: Deal, signed: Sequence[Leg]) -> Shares:
        cost, signers = sum(leg.pay for leg in deal.legs), sum(leg.pay for leg in signed)
        held, back = max(deal.price, cost), min(cost - signers, deal.price)
        return Shares(signers, back, held - signers - back, held)


def signed_legs(deal: Deal, mask: int) -> list[Leg]:
    """The legs whose bit is set, the first leg lowest."""
    return [leg for index, leg in enumerate(deal.legs) if mask >> index & 1]


def settle(
    ledger: Ledger,
    sender: str,
    deal: Deal,
    due: int,
    root: bytes,
    done: int,
    signatures: Sequence[Signature | None],
) -> Ledger:
    """Pays a deal up to its deadline, once; or with `done` 0 ends it by a refusal, which gives everything
    back and frees the lot. signatures: one a leg, None where it did not sign."""
    _require_open(ledger, deal, due)
    deadline = Due.unpack(due).deadline
    require(ledger.now <= deadline, "MarketTooLate")
    require(done <= deal.count, "MarketDone")

    require(len(signatures) == len(deal.legs), "MarketLegCount")
    result, mask = ledger.digest(Result(deal.id, root, done)), 0
    for index, (leg, signature) in enumerate(zip(deal.legs, signatures, strict=True)):
        if signature is not None:
            ledger.require_signed(signature, leg.key, result)
            mask |= 1 << index
    signed = signed_legs(deal, mask)
    if len(signed) < len(deal.legs):
        require(len(signed) >= deal.quorum, "MarketQuorum")
        # The scheduler may settle without the others at once; nobody needs it, for near the end anyone may.
        near_the_end = ledger.now + ledger.policy.grace >= deadline
        require(near_the_end or sender == ledger.scheduler, "MarketNotScheduler")

    if done == 0:
        # A refusal names this match by its due, so that it cannot end a later match of the same deal.
        require(root == refusal_root(due), "MarketRefusalRoot")
        ledger = give_back(ledger, deal).with_lot(deal.order, deal.lot, None)
        return ledger.tell("Refused", deal=deal.id, returned=deal.price * deal.count)
    fact = Fact(done, mask, ledger.now).pack()
    ledger, returned = pay(ledger, deal, done, signed)
    return ledger.with_lot(deal.order, deal.lot, Settled(deal, root, fact)).tell(
        "Settled",
        deal=deal.id,
        root=root,
        paid=sum(leg.pay for leg in signed) * done,
        returned=returned,
        fact=fact,
    )


def expire(ledger: Ledger, sender: str, deal: Deal, due: int) -> Ledger:
    """Gives everything back and frees the lot, strictly after the deadline. By anyone."""
    _require_open(ledger, deal, due)
    require(ledger.now > Due.unpack(due).deadline, "MarketTooEarly")
    ledger = give_back(ledger, deal).with_lot(deal.order, deal.lot, None)
    return ledger.tell("Expired", deal=deal.id, returned=deal.price * deal.count)


def hasten(ledger: Ledger, sender: str, deal: Deal, due: int) -> Ledger:
    """Gives up on a silent worker: brings the deadline forward to the grace from now. Scheduler."""
    require(sender == ledger.scheduler, "MarketNotScheduler")
    _require_open(ledger, deal, due)
    sooner = ledger.now + ledger.policy.grace
    require(sooner < Due.unpack(due).deadline, "MarketNotSooner")
    hastened = Due(sooner, hastened=True).pack()
    ledger = ledger.with_lot(deal.order, deal.lot, Open(deal, hastened))
    return ledger.tell("Hastened", deal=deal.id, due=hastened)


def _require_open(ledger: Ledger, deal: Deal, due: int) -> None:
    require(ledger.lot(deal.order, deal.lot) == Open(deal, due), "MarketNotOpen")


def pay(ledger: Ledger, deal: Deal, done: int, signed: Sequence[Leg]) -> tuple[Ledger, int]:
    """The ledger after the payment, and what went back to the customer. Earnings of a disputable deal wait,
    the treasury's too, so that they can be taken back."""
    bucket: Bucket = "cur" if deal.disputable else "free"
    for leg in signed:
        free = ledger.account(leg.provider).free
        require(free >= ledger.policy.surety or not deal.disputable, "MarketSuretyMissing")
        ledger = ledger.credit(leg.provider, leg.pay * done, bucket)
    shares, undone = Shares.of(deal, signed), deal.count - done
    returned = shares.back * done + deal.price * undone
    ledger = ledger.credit(deal.customer, returned)
    ledger = ledger.credit(ledger.market, shares.treasury * done, bucket)
    return ledger.credit(ledger.market, (shares.held - deal.price) * undone), returned


def give_back(ledger: Ledger, deal: Deal) -> Ledger:
    """The whole price to the customer, and what the float gave to the treasury."""
    shares = Shares.of(deal, ())
    ledger = ledger.credit(deal.customer, deal.price * deal.count)
    return ledger.credit(ledger.market, (shares.held - deal.price) * deal.count)
