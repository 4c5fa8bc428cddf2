"""The market's events as frozen values, one class each, with the names and order of the contract's interface.

`due` and `fact` are packed as in `prixfixe.protocol.deals`. Ids and roots are 32 bytes; hashes of blocks and
transactions, which nothing computes with, are 0x-hex.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeAlias, get_type_hints

from prixfixe.chain import artefacts
from prixfixe.chain.abi import EventType, snake_case
from prixfixe.errors import InvalidInput
from prixfixe.protocol.deals import Deal, Fact, Leg, Offer
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.money import Money


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Where a log lies. block_time: unix seconds, None when the node does not say."""

    block_number: int
    block_hash: str
    transaction_hash: str
    log_index: int
    block_time: int | None = None

    @staticmethod
    def from_rpc(log: Mapping[str, Any]) -> LogPosition:
        """Position of a mined log; InvalidInput for a pending one."""
        if log.get("blockNumber") is None or log.get("blockHash") is None:
            raise InvalidInput("the log is not in a block yet", code="bad-log", fault="platform")
        time = log.get("blockTimestamp")
        return LogPosition(
            block_number=int(log["blockNumber"], 16),
            block_hash=log["blockHash"],
            transaction_hash=log["transactionHash"],
            log_index=int(log["logIndex"], 16),
            block_time=int(time, 16) if time is not None else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketEvent:
    """Base of all. at: where it lies on the chain."""

    at: LogPosition


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposited(MarketEvent):
    """`amount` came from `from_` and was added to the free money of `account`."""

    account: str
    from_: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(MarketEvent):
    """`amount` left the free money of `account` and was sent to `to`."""

    account: str
    to: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorised(MarketEvent):
    """`key` may sign for `provider` up to the second `until`; 0: no longer."""

    provider: str
    key: str
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bumped(MarketEvent):
    """`account` is now in `era`."""

    account: str
    era: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(MarketEvent):
    """The offer is live up to `until`; `float_` was added to its float."""

    id: bytes
    offer: Offer
    until: int
    float_: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired(MarketEvent):
    """The offer ends at `until`."""

    id: bytes
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimed(MarketEvent):
    """The float of an ended offer went back to the treasury."""

    id: bytes
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class DealOpened(MarketEvent):
    """A lot was matched and its money is held until `due`."""

    deal: bytes
    order: bytes
    data: Deal
    due: int

    @property
    def customer(self) -> str:
        """Account that paid."""
        return self.data.customer


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(MarketEvent):
    """A deal was paid: `paid` to its legs, `returned` to the customer, the rest to the treasury."""

    deal: bytes
    root: bytes
    paid: Money
    returned: Money
    fact: int

    @property
    def done(self) -> int:
        """Tasks that were paid."""
        return Fact.unpack(self.fact).done


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(MarketEvent):
    """The deal's legs refused it: the whole price went back and the lot is free again."""

    deal: bytes
    returned: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(MarketEvent):
    """The deadline passed: the whole price went back and the lot is free again."""

    deal: bytes
    returned: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Hastened(MarketEvent):
    """The deal's deadline was brought forward."""

    deal: bytes
    due: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(MarketEvent):
    """The customer closed a free lot."""

    order: bytes
    lot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent(MarketEvent):
    """The signed withdrawal with this digest was used."""

    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared(MarketEvent):
    """The deals of the call were matched with every leg paid `price`; `batch` is the published batch's
    hash."""

    batch: bytes
    price: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(MarketEvent):
    """Item `index` of a batch changed nothing; `code` is the selector of its error."""

    index: int
    code: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenged(MarketEvent):
    """What the deal paid out, `fees` of its signers and the bond wait for a judgement up to `until`."""

    deal: bytes
    challenger: str
    claim: Claim
    until: int
    bond: Money
    fees: tuple[Money, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(MarketEvent):
    """The arbiter judged and got `fee`; `fact` is the lot's new one, 0 when it is guilty."""

    deal: bytes
    guilty: bool
    fee: Money
    fact: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapsed(MarketEvent):
    """The arbiter was silent: the lot is settled again with this `fact`."""

    deal: bytes
    fact: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSet(MarketEvent):
    """The fee of later matches, in hundredths of a percent."""

    fee_bps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSet(MarketEvent):
    """Who matches purchases and hastens deals from now on."""

    scheduler: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositCapRaised(MarketEvent):
    """The most that the market may hold."""

    deposit_cap: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedSet(MarketEvent):
    """New matches were stopped, or allowed again."""

    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleGranted(MarketEvent):
    """`account` has `role` (a hash; OpenZeppelin AccessControl)."""

    role: bytes
    account: str
    sender: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRevoked(MarketEvent):
    """`account` no longer has `role`."""

    role: bytes
    account: str
    sender: str


EventClass: TypeAlias = type[MarketEvent]

EVENTS: tuple[EventClass, ...] = (
    *(Deposited, Withdrawn, Authorised, Bumped, Published, Retired, Reclaimed),
    *(DealOpened, Settled, Refused, Expired, Hastened, Cancelled),
    *(Spent, Cleared, Skipped, Challenged, Judged, Lapsed),
    *(FeeSet, SchedulerSet, DepositCapRaised, PausedSet, RoleGranted, RoleRevoked),
)


def decode(log: Mapping[str, Any]) -> MarketEvent | None:
    """The event of a log as `eth_getLogs` and receipts give it; None for one that is not the market's.

    The caller has checked that the log's address is the contract's.
    """
    topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
    reader = _readers().get(topics[0]) if topics else None
    if reader is None:
        return None
    values = reader.event.decode(topics, bytes.fromhex(log["data"][2:]))
    return reader.build(values, LogPosition.from_rpc(log))


def topic_of(event: EventClass) -> bytes:
    """First topic of an event's logs, for filters."""
    return next(topic for topic, reader in _readers().items() if reader.cls is event)


def offer_from_abi(values: Mapping[str, Any]) -> Offer:
    """An Offer as the ABI decodes it."""
    return Offer(**{snake_case(name): value for name, value in values.items()})


_CONVERSIONS: dict[Any, Callable[[Any], Any]] = {
    Money: Money,
    Offer: offer_from_abi,
    Claim: lambda values: Claim(**values),
    tuple[Money, ...]: lambda values: tuple(Money(value) for value in values),
}


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one event's values become its class."""

    event: EventType
    cls: EventClass
    conversions: Mapping[str, Callable[[Any], Any]]

    def build(self, values: Mapping[str, Any], at: LogPosition) -> MarketEvent:
        given = {snake_case(name): value for name, value in values.items()}
        for name, convert in self.conversions.items():
            given[name] = convert(given[name])
        if self.cls is DealOpened:
            given = _opened(**given)
        return self.cls(**given, at=at)


def _opened(deal: bytes, due: int, legs: Sequence[Mapping[str, Any]], **words: Any) -> dict[str, Any]:
    """The contract logs a deal as its packed words."""
    unpacked = Deal.unpack(legs=tuple(Leg.unpack(**leg) for leg in legs), **words)
    return {"deal": deal, "order": unpacked.order, "data": unpacked, "due": due}


@lru_cache(maxsize=1)
def _readers() -> dict[bytes, _Reader]:
    classes: dict[str, EventClass] = {cls.__name__: cls for cls in EVENTS}
    readers = {}
    for topic, event in artefacts.load("Market").events.items():
        cls = classes.get(event.name)
        if cls is None:
            continue
        hints = get_type_hints(cls)
        names = [field.name for field in fields(cls) if field.name != "at"]
        readers[topic] = _Reader(
            event, cls, {name: _CONVERSIONS[hints[name]] for name in names if hints[name] in _CONVERSIONS}
        )
    return readers
