"""What a verification asks of a chain: a handful of reads, so that tests can answer them from memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from prixfixe.protocol.deals import Deal
from prixfixe.protocol.disputes import Claim


@dataclass(frozen=True, slots=True)
class DealEvent:
    """An event of the market about one deal, in a mined transaction.

    deal: the whole deal, at its opening only. due: packed; at its opening and when hastened. root, done,
    fact: of a settlement, and of a case's end without guilt. returned: units that went back to the customer.
    time: the block's. challenger, claim, until, bond, fees: of a challenge. guilty: of a judgement.
    """

    kind: Literal["opened", "hastened", "settled", "refused", "expired", "challenged", "judged", "lapsed"]
    deal_id: bytes
    block: int
    log_index: int
    transaction: str
    time: int
    deal: Deal | None = None
    due: int | None = None
    root: bytes | None = None
    done: int | None = None
    returned: int | None = None
    fact: int | None = None
    challenger: str | None = None
    claim: Claim | None = None
    until: int | None = None
    bond: int | None = None
    fees: tuple[int, ...] = ()
    guilty: bool | None = None


class ChainEvidence(Protocol):
    """One contract on one chain, as a node of the verifier's choice tells it. Raises PrixfixeError when it
    cannot."""

    def chain_id(self) -> int: ...

    def now(self) -> int:
        """Time of the latest block."""
        ...

    def operator(self) -> str:
        """The contract's present scheduler."""
        ...

    def lot_word(self, order: bytes, index: int) -> bytes: ...

    def offer_until(self, offer: bytes) -> int:
        """When an offer ends; 0 when it was never published."""
        ...

    def events_in(self, transaction: str) -> tuple[DealEvent, ...]:
        """The market's deal events in a mined transaction; empty when there is no such transaction."""
        ...

    def events_of(self, order: bytes) -> tuple[DealEvent, ...]:
        """All deal events of an order, in the chain's order."""
        ...
