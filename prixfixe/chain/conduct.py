"""The reputation of a market's providers, computed from the events that a node gives, without the service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prixfixe.chain.client import MarketClient
from prixfixe.chain.events import DealOpened, Expired, Judged, MarketEvent, Refused, Settled
from prixfixe.market.reputation import MEMORY, Conduct
from prixfixe.protocol.deals import Fact

OF_CONDUCT: Final = (DealOpened, Settled, Refused, Expired, Judged)
_CHUNK: Final = 2_000  # blocks asked for at once; nodes for others refuse more


def conduct_at(market: MarketClient) -> tuple[Conduct, int, int]:
    """What the deals of the last thirty days say, with the newest block's number and the time that it is
    for."""
    newest, now = market.block(), market.time()
    conduct = Conduct()
    first = _first_block(market, newest.number, now - MEMORY)
    for start in range(first, newest.number + 1, _CHUNK):
        last = min(start + _CHUNK - 1, newest.number)
        _read(conduct, market, market.events(start, last, of=OF_CONDUCT))
    return conduct, newest.number, now


def _first_block(market: MarketClient, last: int, time: int) -> int:
    """The first block of this second or later; the one after `last` when there is none."""
    low, high = 0, last + 1
    while low < high:
        middle = (low + high) // 2
        if market.block(middle).time < time:
            low = middle + 1
        else:
            high = middle
    return low


def _read(conduct: Conduct, market: MarketClient, found: Iterable[MarketEvent]) -> None:
    times: dict[int, int] = {}
    for event in found:
        match event:
            case DealOpened():
                number = event.at.block_number
                if number not in times:
                    told = event.at.block_time
                    times[number] = market.block(number).time if told is None else told
                providers = [leg.provider for leg in event.data.legs]
                conduct.opened(event.deal, times[number], event.customer, providers)
            case Settled():
                conduct.settled(event.deal, Fact.unpack(event.fact).signed)
            case Refused():
                conduct.refused(event.deal)
            case Expired():
                conduct.expired(event.deal)
            case Judged() if event.guilty:
                conduct.found_guilty(event.deal)
