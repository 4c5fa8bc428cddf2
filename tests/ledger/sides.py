"""The ledger in Python and a deployed contract, called side by side and compared after every call."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, Final, Protocol

from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env

from prixfixe.chain import artefacts, events
from prixfixe.chain.abi import Function
from prixfixe.chain.events import LogPosition
from prixfixe.chain.parameters import Roles, constructor_arguments
from prixfixe.protocol.addresses import address_bytes, parse_address
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
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask, SignedAsk
from prixfixe.protocol.policy import Policy
from prixfixe.protocol.typed_data import Domain
from tests.ledger.people import ADMIN, PAUSER, PRICING, SCHEDULER, WALLET, WALLET_CODE, Written

CHAIN_ID: Final = 31337
START: Final = 1_700_000_000
ROLES: Final = Roles(admin=ADMIN, pricing=PRICING, scheduler=SCHEDULER, pauser=PAUSER)

_MARKET: Final = artefacts.load("Market")
_TOKEN: Final = artefacts.load("DevDollar")
_PANIC: Final = bytes.fromhex("4e487b71")
_REASONS: Final = {
    _PANIC: "Panic",
    **{error.selector: error.name for artefact in (_TOKEN, _MARKET) for error in artefact.errors.values()},
}
_CODES: Final = {name: selector for selector, name in _REASONS.items()} | {"": bytes(4)}
_NOWHERE: Final = LogPosition(0, "0x", "0x", 0)

Log = tuple[list[bytes], bytes]


class Contract(Protocol):
    """A deployed market and its token. `call` gives revert data, None when accepted, and the market's
    logs."""

    market: str
    token: str

    def call(self, sender: str, to: str, data: bytes, now: int) -> tuple[bytes | None, list[Log]]: ...

    def read(self, to: str, data: bytes) -> bytes: ...


class Revm:
    """A market in pyrevm, an EVM in this process."""

    _REVERT = re.compile(r"Revert \{.*output: 0x([0-9a-f]*)")

    def __init__(self, policy: Policy, roles: Roles = ROLES) -> None:
        self._evm = EVM(env=Env(cfg=CfgEnv(chain_id=CHAIN_ID)), gas_limit=2**40, spec_id="CANCUN")
        self._move_to(START)
        self.token = parse_address(self._evm.deploy(ADMIN, _TOKEN.creation_code))
        arguments = _MARKET.constructor.encode_call(constructor_arguments(self.token, policy, roles))[4:]
        self.market = parse_address(self._evm.deploy(ADMIN, _MARKET.creation_code + arguments))
        self._evm.insert_account_info(WALLET, AccountInfo(code=WALLET_CODE))

    def call(self, sender: str, to: str, data: bytes, now: int) -> tuple[bytes | None, list[Log]]:
        if now != self._now:
            self._move_to(now)
        try:
            self._evm.message_call(sender, to, data)
        except RuntimeError as error:
            if (reverted := self._REVERT.match(str(error))) is None:
                raise
            return bytes.fromhex(reverted[1]), []
        finally:
            self._evm.reset_transient_storage()
        own = self.market.lower()
        assert self._evm.result is not None
        return None, [log.data for log in self._evm.result.logs if log.address.lower() == own]

    def read(self, to: str, data: bytes) -> bytes:
        return self._evm.message_call(ADMIN, to, data)

    def keep(self) -> None:
        """What `go_back` returns to, the clock too."""
        self._kept = self._evm.snapshot()

    def go_back(self) -> None:
        self._evm.revert(self._kept)
        self._move_to(START)
        self.keep()

    def _move_to(self, now: int) -> None:
        self._now = now
        self._evm.set_block_env(BlockEnv(number=1, timestamp=now, gas_limit=2**40))


class Sides:
    """A ledger and a contract that have seen the same calls. `now` is the time of the next call.

    seen: how often each entry point was accepted ("") or refused, by the error's name; the items of batches
    count too.
    """

    def __init__(self, contract: Contract, policy: Policy, seen: Counter[tuple[str, str]]) -> None:
        self.contract, self.seen = contract, seen
        self.ledger = Ledger(
            policy=policy,
            domain=Domain(CHAIN_ID, contract.market),
            token=Token(Domain(CHAIN_ID, contract.token, name="Dev Dollar")),
            scheduler=ROLES.scheduler,
            deposit_cap=policy.deposit_cap,
            now=START,
            roles=frozenset({(ADMIN_ROLE, ADMIN), (PRICING_ROLE, PRICING), (PAUSER_ROLE, PAUSER)}),
        )

    @property
    def now(self) -> int:
        return self.ledger.now

    def move_to(self, now: int) -> None:
        """The clock, forwards only."""
        self.ledger = self.ledger.at(max(now, self.now))

    def call(self, entry: EntryPoint, sender: str, *arguments: Any) -> str:
        """Calls both; the reason of the refusal, "" when accepted. Everything that both know is compared."""
        before, reason = self.ledger, ""
        try:
            self.ledger = entry(before, sender, *arguments)
        except LedgerError as error:
            reason = error.reason
        data = encode(entry, arguments)
        refused, logs = self.contract.call(sender, self.contract.market, data, self.now)
        answer = "" if refused is None else _REASONS.get(refused[:4], f"unknown 0x{refused.hex()}")
        assert answer == reason, (
            f"{entry.__name__}: contract {answer or 'accepts'}, ledger {reason or 'accepts'}"
        )
        self.seen[entry.__name__, reason] += 1
        if reason:
            return reason
        happened = self.ledger.log[len(before.log) :]
        assert [decoded(log) for log in logs] == [_on_chain(event) for event in happened]
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
        data = _TOKEN.function(name).encode_call(arguments)
        assert self.contract.call(sender, self.contract.token, data, self.now)[0] is None

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


def decoded(log: Log) -> Event:
    """An event of the contract in the ledger's form."""
    topics, data = log
    found = events.decode(
        {
            "topics": ["0x" + topic.hex() for topic in topics],
            "data": "0x" + data.hex(),
            "blockNumber": "0x0",
            "blockHash": "0x",
            "transactionHash": "0x",
            "logIndex": "0x0",
        }
    )
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
