"""`ChainEvidence` from a node: the market's client of `prixfixe.chain`, asked what a verification needs."""

from __future__ import annotations

from collections.abc import Iterable

from prixfixe.chain import events
from prixfixe.chain.client import MarketClient
from prixfixe.chain.events import (
    Challenged,
    DealOpened,
    Expired,
    Hastened,
    Judged,
    Lapsed,
    MarketEvent,
    Refused,
    Settled,
)
from prixfixe.chain.rpc import Rpc
from prixfixe.client.evidence import DealEvent
from prixfixe.errors import NotFound

# What can happen to a deal after its opening.
_LATER = (Settled, Refused, Expired, Hastened, Challenged, Judged, Lapsed)


class NodeEvidence:
    """Reads of one contract through one node. from_block: nothing of the market lies before it."""

    def __init__(self, rpc: Rpc | str, contract: str, *, from_block: int = 0) -> None:
        self.market = MarketClient(rpc, contract)
        self._from_block = from_block
        self._times: dict[int, int] = {}

    def chain_id(self) -> int:
        return self.market.chain_id

    def now(self) -> int:
        return self.market.block().time

    def operator(self) -> str:
        return self.market.config().scheduler

    def lot_word(self, order: bytes, index: int) -> bytes:
        return self.market.lot(order, index)

    def offer_until(self, offer: bytes) -> int:
        return self.market.bundle(offer).until

    def events_in(self, transaction: str) -> tuple[DealEvent, ...]:
        try:
            return self._translated(self.market.transaction_events(transaction))
        except NotFound:
            return ()

    def events_of(self, order: bytes) -> tuple[DealEvent, ...]:
        opened = self._logs([_topic(DealOpened)], None, "0x" + order.hex())
        deals = sorted({"0x" + event.deal.hex() for event in opened if isinstance(event, DealOpened)})
        later = self._logs([_topic(cls) for cls in _LATER], deals) if deals else []
        return self._translated(
            sorted([*opened, *later], key=lambda event: (event.at.block_number, event.at.log_index))
        )

    def _logs(self, *topics: object) -> list[MarketEvent]:
        query = {
            "address": self.market.contract,
            "fromBlock": hex(self._from_block),
            "toBlock": "latest",
            "topics": list(topics),
        }
        return self.market.decode_logs(self.market.rpc.call("eth_getLogs", query))

    def _translated(self, found: Iterable[MarketEvent]) -> tuple[DealEvent, ...]:
        return tuple(event for event in map(self._deal_event, found) if event is not None)

    def _deal_event(self, event: MarketEvent) -> DealEvent | None:
        at = event.at
        time = at.block_time if at.block_time is not None else self._time_of(at.block_number)
        place = (at.block_number, at.log_index, at.transaction_hash, time)
        match event:
            case DealOpened():
                return DealEvent("opened", event.deal, *place, deal=event.data, due=event.due)
            case Hastened():
                return DealEvent("hastened", event.deal, *place, due=event.due)
            case Settled():
                return DealEvent(
                    "settled",
                    event.deal,
                    *place,
                    root=event.root,
                    done=event.done,
                    returned=event.returned.units,
                    fact=event.fact,
                )
            case Refused():
                return DealEvent("refused", event.deal, *place, returned=event.returned.units)
            case Expired():
                return DealEvent("expired", event.deal, *place, returned=event.returned.units)
            case Challenged():
                return DealEvent(
                    "challenged",
                    event.deal,
                    *place,
                    challenger=event.challenger,
                    claim=event.claim,
                    until=event.until,
                    bond=event.bond.units,
                    fees=tuple(fee.units for fee in event.fees),
                )
            case Judged():
                fact = None if event.guilty else event.fact
                return DealEvent("judged", event.deal, *place, guilty=event.guilty, fact=fact)
            case Lapsed():
                return DealEvent("lapsed", event.deal, *place, fact=event.fact)
        return None

    def _time_of(self, block: int) -> int:
        if block not in self._times:
            self._times[block] = self.market.block(block).time
        return self._times[block]


def _topic(cls: type[MarketEvent]) -> str:
    return "0x" + events.topic_of(cls).hex()
