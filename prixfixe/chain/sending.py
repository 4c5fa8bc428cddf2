"""Sends calls of the market: built, signed, sent, waited for, and read back as events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from prixfixe.chain import artefacts, transactions
from prixfixe.chain.events import MarketEvent, Skipped
from prixfixe.chain.reads import MarketReads
from prixfixe.errors import ChainError
from prixfixe.keys import Signer

E = TypeVar("E", bound=MarketEvent)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A mined call: its transaction and the market's events in it."""

    transaction_hash: str
    block_number: int
    gas_used: int
    events: tuple[MarketEvent, ...]

    @property
    def skipped(self) -> dict[int, str]:
        """Items of a batch that changed nothing: place -> name of the contract's error."""
        errors = artefacts.load("Market").errors
        return {
            event.index: errors[event.code].name if event.code in errors else "0x" + event.code.hex()
            for event in self.events
            if isinstance(event, Skipped)
        }

    def one(self, kind: type[E]) -> E:
        """The one event of a class; ChainError when the call made none, or several."""
        found = [event for event in self.events if isinstance(event, kind)]
        if len(found) != 1:
            raise ChainError(
                f"transaction {self.transaction_hash} has {len(found)} events {kind.__name__}, not one",
                code="missing-event",
            )
        return found[0]


class MarketSender(MarketReads):
    """What every kind of call rests on."""

    def encode_call(self, name: str, *arguments: Any) -> bytes:
        """Call data of a function by its Solidity name, from our own values (Purchase, Deal, bytes, int,
        Money's units)."""
        return self._artefact.function(name).encode_call(arguments)

    def send(self, signer: Signer, name: str, *arguments: Any) -> Outcome:
        """Signs, sends and waits until it is mined. ChainError with the reason when it reverts."""
        return self._send(signer, self.contract, self.encode_call(name, *arguments), name)

    def _send(self, signer: Signer, to: str, data: bytes, context: str) -> Outcome:
        unsigned = transactions.prepare(
            self.rpc, chain_id=self.chain_id, sender=signer.address, to=to, data=data, context=context
        )
        signed = unsigned.sign(signer)
        transactions.broadcast(self.rpc, signed)
        receipt = transactions.wait_for_receipt(self.rpc, signed.hash)
        transactions.require_success(self.rpc, signed, receipt, context)
        return Outcome(
            receipt.hash, receipt.block_number, receipt.gas_used, tuple(self.decode_logs(receipt.logs))
        )
