"""The part of a verification that a chain answers: opened, ended, charged."""

from __future__ import annotations

from prixfixe.client.checks import Checks, require
from prixfixe.client.dispute_checks import check_disputes_on_chain, expected_word
from prixfixe.client.evidence import ChainEvidence, DealEvent
from prixfixe.protocol.deals import LOT_CANCELLED, LOT_FREE, Due
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Purchase
from prixfixe.protocol.receipt import Receipt, ReceiptLot, TransactionReference
from prixfixe.protocol.typed_data import Domain, parse_bytes32


def check_chain(checks: Checks, receipt: Receipt, chain: ChainEvidence, domain: Domain) -> None:
    """Add the chain's checks; when the chain is another one, only that is said."""
    mark = len(checks.done)
    with checks.check("chain", f"the node is on chain {domain.chain_id}"):
        found = chain.chain_id()
        require(found == domain.chain_id, f"the node is on chain {found}, not {domain.chain_id}")
    if not checks.done[mark].ok:
        return
    if isinstance(receipt.order, Purchase):
        offer = receipt.order.bundle
        with checks.check("offer on chain", "the offer was published by the market"):
            require(chain.offer_until(offer) > 0, "the contract does not know this offer")
    for number, lot in enumerate(receipt.lots):
        _check_deal(checks, f"deal {number + 1} on chain", lot, chain)
        check_disputes_on_chain(checks, lot, f"deal {number + 1} on chain", chain)
    _check_completeness(checks, receipt, chain, domain)
    _check_lots(checks, receipt, chain, domain)


def _check_deal(checks: Checks, name: str, lot: ReceiptLot, chain: ChainEvidence) -> None:
    with checks.check(f"{name}: opened", f"in block {lot.opened.block}, with this price and this worker"):
        opened = _named_event(chain, lot.opened, "opened", lot)
        require(opened.deal == lot.deal, "the contract opened it with other terms")
        # A deadline that was brought forward differs from the one at the opening, and carries its mark.
        require(
            opened.due == lot.due or Due.unpack(lot.due).hastened, "the contract gave it another deadline"
        )
    with checks.check(f"{name}: ended", _ending(lot)):
        ended = _named_event(chain, lot.ended, lot.outcome, lot)
        whole = lot.deal.price * lot.deal.count
        if lot.outcome == "settled":
            require(ended.root == parse_bytes32(lot.root), "the contract paid for another root")
            require(ended.done == lot.done, f"the contract paid for {ended.done} tasks, not {lot.done}")
            first = lot.disputes[0].fact if lot.disputes else lot.fact
            require(str(ended.fact) == first, "the contract remembers another settlement")
            kept = whole - (ended.returned or 0)
            require(kept == lot.kept.units, f"the contract kept {Money(kept)}, not {lot.kept}")
        else:
            require(ended.returned == whole, f"the contract gave back {Money(ended.returned or 0)} only")


def _ending(lot: ReceiptLot) -> str:
    back = Money(lot.deal.price * lot.deal.count)
    if lot.outcome == "settled":
        return f"settled in block {lot.ended.block}: {lot.kept} charged"
    return f"{lot.outcome} in block {lot.ended.block}: {back} went back to the customer"


def _named_event(chain: ChainEvidence, place: TransactionReference, kind: str, lot: ReceiptLot) -> DealEvent:
    """The event of this deal at the place that the receipt names."""
    deal_id = parse_bytes32(lot.deal_id)
    for event in chain.events_in(place.transaction):
        if event.log_index != place.log_index:
            continue
        require(
            event.kind == kind and event.deal_id == deal_id,
            f"log {place.log_index} is not '{kind}' of this deal",
        )
        require(event.block == place.block, f"it is in block {event.block}, not {place.block}")
        require(event.time == place.time, f"its block's time is {event.time}, not {place.time}")
        return event
    require(False, f"transaction {place.transaction} has no such event of this contract")
    raise AssertionError


def _check_completeness(checks: Checks, receipt: Receipt, chain: ChainEvidence, domain: Domain) -> None:
    """The receipt tells every deal of the order, and not only those that look well."""
    told = {(lot.opened.transaction, lot.opened.log_index) for lot in receipt.lots}
    with checks.check("deals on chain", f"all {len(told)} deal(s) of this order are in the receipt"):
        for event in chain.events_of(receipt.order.digest(domain)):
            place = (event.transaction, event.log_index)
            require(
                event.kind != "opened" or place in told,
                f"the contract opened another deal for this order in transaction {event.transaction}",
            )


def _now(lot: ReceiptLot) -> str:
    last = lot.disputes[-1].outcome if lot.disputes else None
    return {"open": "case", "guilty": "judgement"}.get(last or "", "settlement")


def _check_lots(checks: Checks, receipt: Receipt, chain: ChainEvidence, domain: Domain) -> None:
    """The slots themselves, as they are now: they prove what was kept without any log."""
    order = receipt.order.digest(domain)
    settled = {lot.deal.lot: lot for lot in receipt.lots if lot.outcome == "settled"}
    for index in range(receipt.order.lots):
        name = "state on chain" if receipt.order.lots == 1 else f"lot {index} on chain"
        lot = settled.get(index)
        if lot is not None:
            with checks.check(name, f"the contract's word of lot {index} is this {_now(lot)}"):
                word = chain.lot_word(order, index)
                require(
                    word == expected_word(lot),
                    "the contract's word is another one; if the result was disputed since, get the receipt "
                    "again",
                )
            continue
        mark = len(checks.done)
        with checks.check(name, "nothing is charged for it"):
            word = chain.lot_word(order, index)
            require(word in (LOT_FREE, LOT_CANCELLED), "the contract holds or has paid its price")
            open_for = receipt.order.expiry - chain.now()
        if checks.done[mark].ok and word == LOT_FREE and open_for >= 0:
            checks.skip(
                f"{name}: order over",
                f"the order could still be matched for {open_for} s; look again after that",
            )
