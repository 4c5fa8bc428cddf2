"""The market's contract and its token as their callers meet them, with the executable ledger inside.

Call data goes in and revert data, results and logs come out, as from a deployed contract; what a call does is
`prixfixe.protocol.ledger`'s to say. Signatures are real ones of keys (ECDSA); wallets that are contracts
(EIP-1271), EIP-3009 and disputes are not here. A refusal carries its error's name, and zeros for its values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeAlias

from prixfixe.chain import artefacts
from prixfixe.chain.abi import EventType, Function, snake_case
from prixfixe.errors import InvalidInput, SignatureError
from prixfixe.protocol import ledger as on
from prixfixe.protocol.deals import Deal, Leg, Offer, lot_key
from prixfixe.protocol.ledger import NOBODY, Event, Item, Ledger, LedgerError, Signature
from prixfixe.protocol.ledger.batches import EntryPoint
from prixfixe.protocol.orders import Ask, Bid, Bump, Cancel, Purchase, Result, Withdraw
from prixfixe.protocol.signatures import recover

Call: TypeAlias = tuple[EntryPoint, tuple[Any, ...]]

_UNKNOWN: Final = "unknown call"


class Reverted(Exception):
    """The call is refused. data: as the contract gives it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason or "no reason")
        self.data = error_data(reason)


def transact(ledger: Ledger, sender: str, to: str, data: bytes) -> tuple[Ledger, list[Event]]:
    """What a transaction to the market or its token does, and what it tells. Reverted when it is refused."""
    try:
        if to == ledger.token.domain.verifying_contract:
            return _token_call(ledger, sender, data), []
        entry, arguments = _entry(ledger, data)
        after = entry(ledger, sender, *arguments)
    except LedgerError as error:
        raise Reverted(error.reason) from error
    except InvalidInput as error:
        raise Reverted("") from error
    return replace(after, log=()), list(after.log)


def read(ledger: Ledger, to: str, data: bytes) -> bytes | None:
    """The result of a view; None when `data` calls none that is known."""
    token = to == ledger.token.domain.verifying_contract
    function = _functions("DevDollar" if token else "Market").get(data[:4])
    views = _token_views if token else _views
    if function is None or function.name not in views:
        return None
    try:
        values = views[function.name](ledger, *function.decode_call(data).values())
    except InvalidInput as error:
        raise Reverted("") from error
    whole = values if isinstance(values, tuple) else (values,)
    return function.outputs.encode(whole, function.name)


def log_of(event: Event) -> tuple[list[bytes], bytes]:
    """Topics and data of an event."""
    values = {_solidity(name): value for name, value in event.values.items()}
    kind = _events()[event.name]
    if event.name == "DealOpened":
        deal = values.pop("data")
        values |= {
            "bundle": deal.bundle,
            "head": deal.head,
            "money": deal.money,
            "legs": [{"share": leg.share, "key": leg.key} for leg in deal.legs],
        }
    if event.name == "Skipped":
        values["code"] = error_data(values["code"])[:4].ljust(4, b"\0")
    topics = [kind.topic, *(codec.encode(values[name], name) for name, codec in kind.indexed)]
    return topics, kind.plain.encode([values[name] for name in kind.plain.names], event.name)


def error_data(reason: str) -> bytes:
    """Revert data of an error by its name; empty for none."""
    for name in ("Market", "DevDollar"):
        for error in artefacts.load(name).errors.values():
            if error.name == reason:
                return error.selector + bytes(error.inputs.size)
    return b""


# ------------------------------------------------------------------------------------------------ calls in


def _entry(ledger: Ledger, data: bytes) -> Call:
    """The ledger's entry point that call data means, with its arguments."""
    function = _functions("Market").get(data[:4])
    if function is None or function.name not in _ENTRIES:
        raise LedgerError(_UNKNOWN)
    given = function.decode_call(data)
    return _ENTRIES[function.name], _arguments(ledger, function.name, given)


def _arguments(ledger: Ledger, name: str, given: Mapping[str, Any]) -> tuple[Any, ...]:
    match name:
        case "matchPurchase" | "matchBid":
            order = _order(given)
            signature = _signed(given["signature"], ledger.digest(order))
            offer = (_struct(Offer, given["offer"]),) if name == "matchPurchase" else ()
            return order, signature, *offer, given["index"], _asks(ledger, given["asks"])
        case "matchMany" | "settleMany" | "expireMany":
            return (_items(ledger, given["calls"]),)
        case "clear":
            return given["price"], given["batch"], _items(ledger, given["bids"])
        case "settle":
            deal = _deal(ledger, given["deal"])
            digest = ledger.digest(Result(deal.id, given["root"], given["done"]))
            signatures = [_signed(each, digest) if each else None for each in given["signatures"]]
            return deal, given["due"], given["root"], given["done"], signatures
        case "expire" | "hasten":
            return _deal(ledger, given["deal"]), given["due"]
        case "cancel" | "cancelBid":
            return _order(given), given["index"]
        case "cancelBySig" | "cancelBidBySig":
            order = _order(given)
            cancel = ledger.digest(Cancel(ledger.digest(order), given["index"]))
            return order, given["index"], _signed(given["signature"], cancel)
        case "withdrawBySig" | "bumpBySig":
            struct = _struct(Withdraw if name == "withdrawBySig" else Bump, given["order"])
            return struct, _signed(given["signature"], ledger.digest(struct))
        case "publish":
            return _struct(Offer, given["offer"]), given["until"], given["float_"]
    return tuple(given.values())


_ENTRIES: Final[Mapping[str, EntryPoint]] = {
    entry.__name__.split("_")[0] + "".join(word.capitalize() for word in entry.__name__.split("_")[1:]): entry
    for entry in on.ENTRY_POINTS
    if entry not in (on.deposit_with_permit, on.deposit_with_authorization, on.challenge, on.judge, on.lapse)
}


def _items(ledger: Ledger, calls: Sequence[bytes]) -> list[Item]:
    items = []
    for data in calls:
        try:
            items.append(Item(*_entry(ledger, data)))
        except InvalidInput:
            function = _functions("Market").get(data[:4])
            items.append(Item(_ENTRIES[function.name] if function else on.bump, None))
    return items


def _order(given: Mapping[str, Any]) -> Purchase | Bid:
    cls, name = (Purchase, "purchase") if "purchase" in given else (Bid, "bid")
    order: Purchase | Bid = _struct(cls, given[name])
    return order


def _asks(ledger: Ledger, given: Sequence[Mapping[str, Any]]) -> list[tuple[Ask, Signature]]:
    asks = [(_struct(Ask, each["ask"]), each["signature"]) for each in given]
    return [(ask, _signed(signature, ledger.digest(ask))) for ask, signature in asks]


def _deal(ledger: Ledger, given: Mapping[str, Any]) -> Deal:
    """A deal of the contract's words, which name its bundle only through its order: the one that is open, if
    it is that one."""
    legs = tuple(Leg.unpack(**leg) for leg in given["legs"])
    deal = Deal.unpack(given["order"], bytes(32), given["head"], given["money"], legs)
    lot = ledger.lot(deal.order, deal.lot)
    return lot.deal if isinstance(lot, on.Open) and lot.deal.id == deal.id else deal


def _signed(signature: bytes, digest: bytes) -> Signature:
    try:
        return Signature(recover(digest, signature), digest)
    except SignatureError:
        return NOBODY


def _struct(cls: type[Any], given: Mapping[str, Any]) -> Any:
    return cls(**{snake_case(name): value for name, value in given.items()})


def _token_call(ledger: Ledger, sender: str, data: bytes) -> Ledger:
    """Play money: made by anyone, and approvals."""
    function = _functions("DevDollar").get(data[:4])
    token = ledger.token
    match function.name if function is not None else "", function and function.decode_call(data):
        case "mint", {"to": to, "amount": amount}:
            balances = {**token.balances, to: token.balances.get(to, 0) + amount}
            return replace(ledger, token=replace(token, balances=balances))
        case "approve", dict() as given:
            _, amount = given.values()
            allowances = {**token.allowances, sender: amount}
            return replace(ledger, token=replace(token, allowances=allowances))
        case _:
            raise LedgerError(_UNKNOWN)


# ------------------------------------------------------------------------------------------------ results out


def _account(ledger: Ledger, owner: str) -> tuple[int, int, int, int]:
    account = ledger.account(owner)
    return account.free, account.cur, account.prev, account.era


def _word(ledger: Ledger, key: bytes) -> bytes:
    if key in ledger.spent:
        return (1).to_bytes(32, "big")
    found = (lot for (order, index), lot in ledger.lots.items() if lot_key(order, index) == key)
    return on.word_of(next(found, None))


def _bundle(ledger: Ledger, offer: bytes) -> tuple[int, int]:
    bundle = ledger.bundle(offer)
    return bundle.until, bundle.float_


_views: Final[Mapping[str, Callable[..., Any]]] = {
    "account": _account,
    "lots": _word,
    "lot": lambda ledger, order, index: on.word_of(ledger.lot(order, index)),
    "bundles": _bundle,
    "workers": lambda ledger, provider, key: ledger.workers.get((provider, key), 0),
    "policy": lambda ledger: (ledger.policy,),
    "config": lambda ledger: (
        ledger.scheduler,
        ledger.fee_bps,
        ledger.paused,
        ledger.deposit_cap,
        ledger.held,
    ),
    "hasRole": lambda ledger, role, account: (role, account) in ledger.roles,
    "token": lambda ledger: ledger.token.domain.verifying_contract,
    "asksArbiter": lambda ledger: False,
}

_token_views: Final[Mapping[str, Callable[..., Any]]] = {
    "balanceOf": lambda ledger, owner: ledger.token.balances.get(owner, 0),
    "allowance": lambda ledger, owner, _: ledger.token.allowances.get(owner, 0),
    "symbol": lambda _: "USD",
    "decimals": lambda _: 6,
}


@lru_cache(maxsize=2)
def _functions(contract: str) -> Mapping[bytes, Function]:
    return {each.selector: each for each in artefacts.load(contract).functions.values()}


@lru_cache(maxsize=1)
def _events() -> Mapping[str, EventType]:
    return {event.name: event for event in artefacts.load("Market").events.values()}


def _solidity(name: str) -> str:
    """The ABI's name of a value: `deposit_cap` is depositCap, `from_` is from, and `float_` stays."""
    if name in ("from_",):
        return "from"
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest) + ("_" if name.endswith("_") else "")
