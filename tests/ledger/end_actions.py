"""Random ends of deals, challenges, and ends of cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prixfixe.protocol import ledger as on
from prixfixe.protocol.deals import Deal, Due, Fact, refusal_root
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.ledger import Item, Settled
from prixfixe.protocol.orders import Result
from tests.ledger.choices import Choices
from tests.ledger.people import (
    ALICE,
    ARBITER,
    BOB,
    OTHER_WORKER,
    PROVIDERS,
    SPOILT,
    STRANGER,
    Written,
    spoilt,
    unchecked,
)
from tests.ledger.play import root_of, wrong_leaf


class EndActions(Choices):
    """What ends deals and cases."""

    def deal(self, twist: str) -> tuple[Deal, int]:
        """An open one; for the twist "past" one that was open at some time."""
        if twist == "past":
            return self.pick(*self.deals)
        lot = self.pick(*self.play.open_lots())
        return lot.deal, lot.due

    def settle_arguments(self) -> tuple[Any, ...]:
        twist = self.twist("past", "other deal", "due", "signer", "spoilt", "quorum", "none", "length",
                           "done", "refusal root", "result")  # fmt: skip
        deal, due = self.deal(twist)
        done = self.pick(0, 1, deal.count, deal.count, deal.count)
        given = {"other deal": unchecked(deal, price=deal.price + 1), "due": deal}.get(twist, deal)
        if twist == "due":
            due = self.pick(due + 1, due ^ 1 << 40, due | 1 << 47)
        root = root_of(deal.count, done, self.salt) if done else refusal_root(due)
        if twist == "refusal root":
            done, root = 0, refusal_root(due + 1)
        if twist == "done":
            done = self.pick(min(deal.count + 1, 65_535), 65_535)
        signatures = self.play.results(deal, root, done)
        if twist == "signer":
            signatures[-1] = self.play.signed(STRANGER, Result(deal.id, root, done))
        elif twist == "spoilt":
            signatures[-1] = spoilt(
                self.play.results(deal, root, done)[-1] or Written("", b""), self.pick(*SPOILT)
            )
        elif twist == "quorum" or self.number(0, 3) == 0:
            signatures[self.number(0, len(signatures) - 1)] = None
        elif twist == "none":
            signatures = [None] * len(signatures)
        elif twist == "length":
            signatures = self.pick([*signatures, None], signatures[:-1])
        elif twist == "result":
            done = min(done + 1, deal.count)
        return given, due, root, done, signatures

    def a_deal_is_settled(self) -> None:
        if self.number(0, 5) == 0:  # to where those without the scheduler may settle with a quorum
            lot, grace = self.pick(*self.play.open_lots()), self.ledger.policy.grace
            self.play.move_to(Due.unpack(lot.due).deadline - self.pick(grace, grace, grace + 1, 0))
        sender = self.pick(STRANGER, self.ledger.scheduler)
        self.call(on.settle, sender, *self.settle_arguments())

    def deals_are_settled_together(self) -> None:
        items = [Item(on.settle, self.settle_arguments()) for _ in range(self.number(1, 3))]
        sender = self.pick(STRANGER, self.ledger.scheduler)
        self.call(on.settle_many, sender, self.spoil_batch(items, on.settle))

    def late(self) -> None:
        """Past the deadline of an open deal, most of the time."""
        if self.number(0, 3):
            lot = self.pick(*self.play.open_lots())
            self.play.move_to(Due.unpack(lot.due).deadline + self.pick(0, 1, 1, 1))

    def a_deal_expires(self) -> None:
        self.late()
        deal, due = self.deal(self.twist("past"))
        self.call(on.expire, STRANGER, deal, due)

    def deals_expire_together(self) -> None:
        self.late()
        items = [Item(on.expire, self.deal(self.twist("past"))) for _ in range(self.number(1, 3))]
        self.call(on.expire_many, STRANGER, self.spoil_batch(items, on.expire))

    def a_deal_is_hastened(self) -> None:
        twist = self.twist("past", "sender", "due")
        deal, due = self.deal(twist)
        sender = STRANGER if twist == "sender" else self.ledger.scheduler
        self.call(on.hasten, sender, deal, due + (twist == "due"))

    def disputable(self) -> list[Settled]:
        """The settled lots in their windows."""
        since = self.ledger.now - self.ledger.policy.window
        return [lot for lot in self.play.settled_lots() if lot.deal.disputable and _time(lot) >= since]

    def a_deal_is_challenged(self) -> None:
        lots = self.play.settled_lots()
        twist = self.twist(
            "any", "poor", "late", "last second", *["root", "fact", "proof"] * 2, *["ground", "index"] * 3
        )
        window = self.ledger.policy.window
        live = self.disputable()
        settled: Settled = self.pick(*(lots if twist == "any" or not live else live))
        if twist in ("late", "last second"):
            self.play.move_to(_time(settled) + window + (twist == "late"))
        claim, proof = Claim(2, 0, 0, bytes(32), bytes(32)), list[bytes]()
        if settled.deal.count <= 16 and self.number(0, 2):
            index = self.number(0, settled.deal.count - 1)
            claim, proof = wrong_leaf(settled, index, self.salt, self.pick(0, 1))
        if twist == "ground":
            claim = unchecked(claim, ground=self.pick(3, 255))
        elif twist == "index":
            claim = unchecked(claim, ground=0, index=self.pick(claim.index + 1, 2**32 - 1))
        elif twist == "proof":
            claim, proof = (
                replace(claim, ground=1),
                self.pick([*proof, bytes(32)], proof[:-1], [b"\x01" * 32]),
            )
        root = bytes(32) if twist == "root" else settled.root
        fact = settled.fact ^ (1 << self.pick(0, 16, 32, 72, 90)) if twist == "fact" else settled.fact
        sender = (
            self.pick(OTHER_WORKER, PROVIDERS[3])
            if twist == "poor"
            else self.pick(ALICE, BOB, *PROVIDERS[:3])
        )
        self.call(on.challenge, sender, settled.deal, root, fact, claim, proof)

    def a_case_ends(self) -> None:
        case = self.pick(*self.play.cases())
        if self.number(0, 2) == 0:
            self.play.move_to(case.until + self.pick(0, 1))
        twist = self.twist("fees", "until", "claim", "challenger")
        given = {
            "fees": replace(case, fees=(*case.fees, 0)),
            "until": replace(case, until=case.until + 1),
            "claim": replace(case, claim=bytes(32)),
            "challenger": replace(case, challenger=STRANGER),
        }.get(twist, case)
        if self.number(0, 2) == 0 or (self.ledger.now > case.until and self.number(0, 2)):
            self.call(on.lapse, STRANGER, given)
        else:
            sender = self.pick(*[ARBITER] * 4, STRANGER)
            self.call(on.judge, sender, given, self.pick(True, False))


def _time(settled: Settled) -> int:
    return Fact.unpack(settled.fact).time
