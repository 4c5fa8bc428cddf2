"""How an action of a random sequence chooses, and what it calls."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, Final, TypeVar

from prixfixe.protocol import ledger as on
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.ledger import Item, Ledger
from prixfixe.protocol.ledger.batches import EntryPoint
from prixfixe.protocol.orders import Bid, Bump, Purchase, Withdraw
from prixfixe.protocol.policy import Policy
from tests.ledger.contracts import START, Revm
from tests.ledger.people import Written
from tests.ledger.play import Play

T = TypeVar("T")

MOST_96: Final = 2**96 - 1
MOST_64: Final = 2**64 - 1


class Furnished:
    """A deployed market with people in it, to which every sequence returns at its start."""

    def __init__(self, policy: Policy, seen: Counter[tuple[str, str]]) -> None:
        self.contract = Revm(policy)
        play = Play(self.contract, policy, seen)
        play.furnish()
        self.ledger, self.told = play.ledger, play.told
        self.contract.keep()


class Choices:
    """What every action rests on. `calls` are all that were made, to be shown."""

    def __init__(self, start: Furnished, policy: Policy, seen: Counter[tuple[str, str]]) -> None:
        self.start = start
        start.contract.go_back()
        self.play = Play(start.contract, policy, seen)
        self.play.ledger, self.play.told = start.ledger, list(start.told)
        self.random = Random()
        self.calls: list[tuple[Any, ...]] = []
        self.salt = 0
        self.orders: list[tuple[Purchase | Bid, Written]] = []
        self.deals: list[tuple[Deal, int]] = []
        self.withdrawals: list[tuple[Withdraw, Written]] = []
        self.authorisations: list[tuple[Any, ...]] = []
        self.bumps: list[tuple[Bump, Written]] = []

    def pick(self, *options: T) -> T:
        return self.random.choice(options)

    def twist(self, *names: str) -> str:
        """Nothing ("") in two of three cases."""
        return self.pick(*names) if self.number(0, 2) == 0 else ""

    def number(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def pick_order(self, kind: type[Purchase] | type[Bid]) -> tuple[Any, Written] | None:
        found = [(order, signature) for order, signature in self.orders if isinstance(order, kind)]
        return self.pick(*found) if found else None

    @property
    def ledger(self) -> Ledger:
        return self.play.ledger

    def call(self, entry: EntryPoint, sender: str, *arguments: Any) -> str:
        before = len(self.ledger.log)
        self.calls.append((self.ledger.now - START, entry.__name__, sender, *arguments))
        reason = self.play.call(entry, sender, *arguments)
        for event in self.ledger.log[before:]:
            if event.name == "DealOpened":
                self.deals.append((event.values["data"], event.values["due"]))
        return reason

    def spoil_batch(self, items: list[Item], entry: EntryPoint) -> list[Item]:
        """Often as it is; else with an item twice, one that says nothing, or one that does not belong."""
        match self.twist("twice", "nothing", "stranger"):
            case "twice":
                return items * 2
            case "nothing":
                return [*items, Item(entry, None)]
            case "stranger":
                return [*items, Item(on.bump, (0,))]
        return items
