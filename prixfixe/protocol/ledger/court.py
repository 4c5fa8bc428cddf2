"""Settled deals of disputable bundles are challenged; the arbiter judges, or lets the case lapse.

While a case runs it holds what the deal paid out, taken from the buckets where it waits, a share of the
arbiter's fee from the free money of each provider that signed, and the challenger's bond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prixfixe.protocol.deals import Deal, Fact
from prixfixe.protocol.disputes import Case, Claim, Ground
from prixfixe.protocol.ledger.settling import Shares, signed_legs
from prixfixe.protocol.ledger.state import Bucket, Guilty, Ledger, Settled, require
from prixfixe.protocol.outputs import verify_proof

# No account could pay a bond that was doubled this often.
MOST_CASES: Final = 64


def challenge(
    ledger: Ledger,
    sender: str,
    deal: Deal,
    root: bytes,
    fact: int,
    claim: Claim,
    proof: Sequence[bytes],
) -> Ledger:
    """Disputes a settled deal in its window, for a bond that doubles with each past case of the lot.

    claim: what is wrong. proof: of the leaf that it names, under the root; empty when it names none.
    """
    require(ledger.lot(deal.order, deal.lot) == Settled(deal, root, fact), "MarketNotSettled")
    require(deal.disputable, "MarketNotDisputable")
    settled = Fact.unpack(fact)
    require(ledger.now <= settled.time + ledger.policy.window, "MarketTooLate")
    require(claim.ground in tuple(Ground), "MarketGround")
    if claim.ground != Ground.COUNT:
        named = verify_proof(root, claim.leaf, claim.index, deal.count, proof)
        require(named, "MarketProof")
    bond = bond_of(ledger, settled)
    ledger = ledger.debit_above_surety(sender, bond)

    ledger, fees = hold(ledger, deal, settled)
    until = ledger.now + ledger.policy.window
    case = Case(deal, root, fact, sender, until, claim.hash, fees)
    return ledger.with_lot(deal.order, deal.lot, case).tell(
        "Challenged", deal=deal.id, challenger=sender, claim=claim, until=until, bond=bond, fees=case.fees
    )


def judge(ledger: Ledger, sender: str, case: Case, guilty: bool) -> Ledger:
    """Ends a case in its time. Guilty: the customer has its money back, the challenger its bond, the rest is
    the treasury's. Not guilty: all goes back where it was, the bond to the arbiter. Arbiter."""
    require(sender == ledger.policy.arbiter, "MarketNotArbiter")
    _require_case(ledger, case)
    require(ledger.now <= case.until, "MarketTooLate")
    bond, deal = bond_of(ledger, Fact.unpack(case.fact)), case.deal
    if not guilty:
        ledger, fact = acquit(ledger, case)
        ledger = ledger.credit(sender, bond)
        return ledger.tell("Judged", deal=deal.id, guilty=False, fee=bond, fact=fact)
    ledger, fee = convict(ledger, case)
    ledger = ledger.credit(case.challenger, bond).credit(sender, fee)
    return ledger.tell("Judged", deal=deal.id, guilty=True, fee=fee, fact=0)


def lapse(ledger: Ledger, sender: str, case: Case) -> Ledger:
    """Ends a case that the arbiter let pass: all goes back where it was, the bond too. By anyone."""
    _require_case(ledger, case)
    require(ledger.now > case.until, "MarketTooEarly")
    ledger, fact = acquit(ledger, case)
    ledger = ledger.credit(case.challenger, bond_of(ledger, Fact.unpack(case.fact)))
    return ledger.tell("Lapsed", deal=case.deal.id, fact=fact)


def _require_case(ledger: Ledger, case: Case) -> None:
    require(ledger.lot(case.deal.order, case.deal.lot) == case, "MarketNoCase")


def hold(ledger: Ledger, deal: Deal, settled: Fact) -> tuple[Ledger, tuple[int, ...]]:
    """The ledger after what the deal paid out and the fees were taken for the case; the fee of each leg that
    signed."""
    signed = signed_legs(deal, settled.signed)
    bucket = _bucket(ledger, settled)
    fees = []
    for leg in signed:
        ledger = ledger.take(leg.provider, leg.pay * settled.done, bucket)
        fees.append(min(ledger.account(leg.provider).free, ledger.policy.arbiter_fee // len(signed)))
        ledger = ledger.debit(leg.provider, fees[-1])
    treasury = Shares.of(deal, signed).treasury * settled.done
    return ledger.take(ledger.market, treasury, bucket), tuple(fees)


def bond_of(ledger: Ledger, settled: Fact) -> int:
    require(settled.past_cases < MOST_CASES, "MarketAmountTooLarge")
    return ledger.policy.bond << settled.past_cases


def _bucket(ledger: Ledger, settled: Fact) -> Bucket:
    """Where earnings of this time wait now. They do: nobody is challenged, and nothing put back, more than a
    window after that time."""
    return "cur" if settled.time // ledger.policy.window == ledger.epoch else "prev"


def convict(ledger: Ledger, case: Case) -> tuple[Ledger, int]:
    """The ledger after the customer is repaid, and the arbiter's fee: what the signers gave, and what the
    treasury can add."""
    deal, settled = case.deal, Fact.unpack(case.fact)
    shares = Shares.of(deal, signed_legs(deal, settled.signed))
    refund = deal.price - shares.back
    ledger = ledger.credit(deal.customer, refund * settled.done)
    ledger = ledger.credit(ledger.market, (shares.signers + shares.treasury - refund) * settled.done)
    given = sum(case.fees)
    added = min(ledger.account(ledger.market).free, ledger.policy.arbiter_fee - given)
    ledger = ledger.debit(ledger.market, added)
    return ledger.with_lot(deal.order, deal.lot, Guilty()), given + added


def acquit(ledger: Ledger, case: Case) -> tuple[Ledger, int]:
    """The ledger with the lot settled again, and its new fact: the window stood still during the case."""
    fact = case.fact_after(ledger.now, ledger.policy.window)
    signed = signed_legs(case.deal, fact.signed)
    bucket = _bucket(ledger, fact)
    for leg, fee in zip(signed, case.fees, strict=True):
        ledger = ledger.credit(leg.provider, leg.pay * fact.done, bucket).credit(leg.provider, fee)
    ledger = ledger.credit(ledger.market, Shares.of(case.deal, signed).treasury * fact.done, bucket)
    settled = Settled(case.deal, case.root, fact.pack())
    return ledger.with_lot(case.deal.order, case.deal.lot, settled), settled.fact
