"""The ledger in Python and a deployed contract, called side by side and compared after every call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, Final, Protocol

from prixfixe.chain import artefacts, events
from prixfixe.chain.abi import Function
from prixfixe.chain.events import LogPosition
from prixfixe.chain.parameters import Roles
from prixfixe.protocol.addresses import address_bytes
from prixfixe.protocol.deals import Deal, lot_key
from prixfixe.protocol.ledger import (
    ADMIN_ROLE,
    ENDLESS,
    PAUSER_ROLE,
    PRICING_ROLE,
    Event,
    Item,
    Ledger,
    LedgerError,
    Token,
    word_of,
)
from prixfixe.protocol.ledger.batches import EntryPoint
from prixfixe.protocol.ledger.rebuilding import rebuilt
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask, SignedAsk
from prixfixe.protocol.policy import Policy
from prixfixe.protocol.typed_data import Domain
from tests.ledger.people import ADMIN, PAUSER, PRICING, SCHEDULER, Written

CHAIN_ID: Final = 31337
ROLES: Final = Roles(admin=ADMIN, pricing=PRICING, scheduler=SCHEDULER, pauser=PAUSER)

_MARKET: Final = artefacts.load("Market")
_TOKEN: Final = artefacts.load("DevDollar")
# Of `Skipped`, by the error's name.
_CODES: Final = {"": bytes(4)} | {
    error.name: error.selector for artefact in (_TOKEN, _MARKET) for error in artefact.errors.values()
}
_NOWHERE: Final = LogPosition(0, "0x", "0x", 0)

Log = tuple[list[bytes], bytes]


class Contract(Protocol):
    """A deployed market and its token."""

    market: str
    token: str

    def soonest(self, now: int) -> int:
        """The first time from `now` on at which the next call can be made."""
        ...

    def call(self, sender: str, to: str, data: bytes, now: int) -> tuple[str, list[Log]]:
        """The reason of the refusal, "" when accepted, and the market's logs."""
        ...

    def read(self, to: str, data: bytes) -> bytes: ...


class Sides:
    """A ledger and a contract that have seen the same calls. `now` is the time of the next call.

    seen: how often each entry point was accepted ("") or refused, by the error's name; the items of batches
    count too.
    """

    def __init__(self, contract: Contract, policy: Policy, seen: Counter[tuple[str, str]]) -> None:
        start = contract.soonest(0)
        self.contract, self.seen = contract, seen
        # Everything that happened, with the time of its block.
        self.told: list[tuple[int, Event]] = []
        self.ledger = Ledger(
            policy=policy,
            domain=Domain(CHAIN_ID, contract.market),
            token=Token(Domain(CHAIN_ID, contract.token, name="Dev Dollar")),
            scheduler=ROLES.scheduler,
            deposit_cap=policy.deposit_cap,
            now=start,
            roles=frozenset({(ADMIN_ROLE, ADMIN), (PRICING_ROLE, PRICING), (PAUSER_ROLE, PAUSER)}),
        )
        self.start = self.ledger

    @property
    def now(self) -> int:
        return self.ledger.now

    def move_to(self, now: int) -> None:
        """The clock, forwards only."""
        self.ledger = self.ledger.at(max(now, self.now))

    def call(self, entry: EntryPoint, sender: str, *arguments: Any) -> str:
        """Calls both; the reason of the refusal, "" when accepted. Everything that both know is compared."""
        self.ledger = self.ledger.at(self.contract.soonest(self.now))
        before, reason = self.ledger, ""
        try:
            self.ledger = entry(before, sender, *arguments)
        except LedgerError as error:
            reason = error.reason
        data = encode(entry, arguments)
        answer, logs = self.contract.call(sender, self.contract.market, data, self.now)
        assert answer == reason, (
            f"{entry.__name__}: contract {answer or 'accepts'}, ledger {reason or 'accepts'}"
        )
        self.seen[entry.__name__, reason] += 1
        if reason:
            return reason
        happened = self.ledger.log[len(before.log) :]
        assert [decoded(log) for log in logs] == [_on_chain(event) for event in happened]
        self.told += [(self.now, event) for event in happened]
        self._count_items(arguments, happened)
        self.compare()
        return reason

    def compare(self) -> None:
        """Every account, lot, offer, key and balance that the ledger has ever touched, and its settings."""
        ledger = self.ledger
        expected: dict[tuple[str, Any], Any] = {("config", ()): (
            ledger.scheduler, ledger.fee_bps, ledger.paused, ledger.deposit_cap, ledger.held
        )}  # fmt: skip
        for owner in ledger.accounts:
            account = ledger.account(owner)
            expected["account", (owner,)] = (account.free, account.cur, account.prev, account.era)
        for order, index in {*ledger.lots, *self._touched(ledger)}:
            expected["lots", (lot_key(order, index),)] = word_of(ledger.lot(order, index))
        for digest in ledger.spent:
            expected["lots", (digest,)] = (1).to_bytes(32, "big")
        for offer_id, bundle in ledger.bundles.items():
            expected["bundles", (offer_id,)] = (bundle.until, bundle.float_)
        for key, until in ledger.workers.items():
            expected["workers", key] = until
        for (name, arguments), value in expected.items():
            found = self.contract.read(self.contract.market, _question(_MARKET.name, name, arguments))
            assert found == _words(value if isinstance(value, tuple) else (value,)), (name, arguments)
        for owner, balance in ledger.token.balances.items():
            found = self.contract.read(self.contract.token, _question(_TOKEN.name, "balanceOf", (owner,)))
            assert found == _words((balance,)), owner
        assert ledger.token.balances[self.contract.market] >= ledger.held

    def rebuild(self) -> None:
        """What happened is enough to know everything by."""
        ledger, start = self.ledger, self.start
        found = rebuilt(start, self.told).at(ledger.now)
        for name in (
            "held",
            "bundles",
            "lots",
            "workers",
            "spent",
            "roles",
            "scheduler",
            "fee_bps",
            "paused",
        ):
            assert getattr(found, name) == getattr(ledger, name), f"rebuilt {name}"
        assert found.deposit_cap == ledger.deposit_cap
        for owner in {*ledger.accounts, *found.accounts}:
            assert found.account(owner) == ledger.account(owner), f"rebuilt account of {owner}"

    # ------------------------------------------------------------------------------- the token alone

    def mint(self, to: str, amount: int) -> None:
        """Play money into a wallet; into the market's own: sent without a call."""
        self._token_call(ADMIN, "mint", to, amount)
        token = self.ledger.token
        balances = {**token.balances, to: token.balances.get(to, 0) + amount}
        self.ledger = replace(self.ledger, token=replace(token, balances=balances))

    def approve(self, owner: str, amount: int = ENDLESS) -> None:
        self._token_call(owner, "approve", self.contract.market, amount)
        token = self.ledger.token
        allowances = {**token.allowances, owner: amount}
        self.ledger = replace(self.ledger, token=replace(token, allowances=allowances))

    def _token_call(self, sender: str, name: str, *arguments: Any) -> None:
        self.ledger = self.ledger.at(self.contract.soonest(self.now))
        data = _TOKEN.function(name).encode_call(arguments)
        assert self.contract.call(sender, self.contract.token, data, self.now)[0] == ""

    # ------------------------------------------------------------------------------- helpers

    def _touched(self, ledger: Ledger) -> set[tuple[bytes, int]]:
        """The lots that events named: those that are free again are to be compared too."""
        named: set[tuple[bytes, int]] = set()
        for event in ledger.log[-20:]:
            deal = event.values.get("data")
            if isinstance(deal, Deal):
                named.add((deal.order, deal.lot))
        return named

    def _count_items(self, arguments: tuple[Any, ...], happened: Iterable[Event]) -> None:
        skipped = {e.values["index"]: e.values["code"] for e in happened if e.name == "Skipped"}
        items = [one for each in arguments if isinstance(each, list) for one in each if isinstance(one, Item)]
        for index, item in enumerate(items):
            self.seen[item.entry.__name__, skipped.get(index, "")] += 1


@lru_cache(maxsize=4096)
def _question(contract: str, name: str, arguments: tuple[Any, ...]) -> bytes:
    """The call data of a view."""
    return artefacts.load(contract).function(name).encode_call(arguments)


def _words(values: Iterable[int | str | bytes]) -> bytes:
    """The answer of a view whose values are one word each."""
    found = b""
    for value in values:
        match value:
            case int():
                found += value.to_bytes(32, "big")
            case str():
                found += address_bytes(value).rjust(32, b"\0")
            case _:
                found += value
    return found


def encode(entry: EntryPoint, arguments: tuple[Any, ...] | None) -> bytes:
    """The call data of an entry point; of one whose arguments are None, data that does not decode."""
    function = _function(entry)
    if arguments is None:
        return function.selector + b"\xff"
    values = [_to_abi(value) for value in arguments]
    if function.inputs.names[-3:] == ("v", "r", "s"):
        raw = values.pop()
        values += [raw[64], raw[:32], raw[32:64]]
    return function.encode_call(values)


def _function(entry: EntryPoint) -> Function:
    first, *rest = entry.__name__.split("_")
    return _MARKET.function(first + "".join(word.capitalize() for word in rest))


def _to_abi(value: Any) -> Any:
    match value:
        case None:
            return b""
        case Written():
            return value.raw
        case (Ask() as ask, Written() as signature):
            return SignedAsk(ask, signature.raw)
        case Item(entry, arguments):
            return encode(entry, arguments)
        case list() | tuple():
            return [_to_abi(one) for one in value]
    return value


def event_of(log: Log) -> events.MarketEvent | None:
    """An event as a machine without blocks tells it; None for one that is not the market's."""
    topics, data = log
    return events.decode(
        {
            "topics": ["0x" + topic.hex() for topic in topics],
            "data": "0x" + data.hex(),
            "blockNumber": "0x0",
            "blockHash": "0x",
            "transactionHash": "0x",
            "logIndex": "0x0",
        }
    )


def decoded(log: Log) -> Event:
    """An event of the contract in the ledger's form."""
    found = event_of(log)
    assert found is not None, f"an event that nobody knows: {log}"
    values = {field.name: _plain(getattr(found, field.name)) for field in fields(found) if field.name != "at"}
    return Event(type(found).__name__, values)


def _on_chain(event: Event) -> Event:
    values: Mapping[str, Any] = {name: _plain(value) for name, value in event.values.items()}
    if event.name == "Skipped":
        values = {**values, "code": _CODES[event.values["code"]]}
    return Event(event.name, values)


def _plain(value: Any) -> Any:
    """Amounts in units; structs by their fields, since chain and ledger may use classes of their own."""
    if isinstance(value, Money):
        return value.units
    if isinstance(value, tuple):
        return tuple(_plain(one) for one in value)
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
