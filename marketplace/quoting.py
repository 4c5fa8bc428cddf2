"""What every quote is made from, as one value."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from marketplace.chain import ChainReader
from marketplace.issued import IssuedQuotes
from marketplace.live_asks import LiveAsks
from marketplace.resting import MarketTerms
from marketplace.settings import ServiceSettings
from marketplace.store.database import Store


@dataclass(frozen=True, slots=True)
class Quoting:
    """live: the asks that rest. issued: signs and keeps what was quoted. clock: the service's, seconds."""

    store: Store
    settings: ServiceSettings
    chain: ChainReader
    issued: IssuedQuotes
    terms: MarketTerms
    live: LiveAsks
    clock: Callable[[], float] = time.time
