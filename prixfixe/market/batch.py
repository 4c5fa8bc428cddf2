"""A published batch of the auction: everything that anyone needs to clear it again and compare.

Its digest is SHA-256 of its canonical JSON and is what `clear` writes on the chain, so that a publication
cannot be changed afterwards. The seed is the hash of the block that closed the batch: nobody chose it who
also knew the orders. What a reader cannot recompute from the publication alone are the facts that the
operator observed (which worker answered, how many slots were free); they are published as such, order by
order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from prixfixe.errors import InvalidInput, PrixfixeError
from prixfixe.market.auction import Cleared, Collar, Fill, clear, leg_limit
from prixfixe.market.book import Buy, Sell
from prixfixe.protocol.addresses import ZERO_ADDRESS, parse_address
from prixfixe.protocol.canonical import canonical_digest
from prixfixe.protocol.orders import KIND_BIDS, Ask, Bid
from prixfixe.protocol.signatures import parse_signature, recover
from prixfixe.protocol.typed_data import Domain, format_bytes32, parse_bytes32

VERSION: Final = 1
MOST_REPLICAS: Final = 16  # the contract's most legs


@dataclass(frozen=True, slots=True)
class BatchBid:
    """A bid that took part. free_lots: which of its lots were free, ascending. replicas: providers of each
    lot, at least the quorum that the bid signs. whole: all lots or none. providers: whom the bid admits,
    sorted: those that its customer named, less those that were too slow for it or failed it before; None:
    anyone."""

    bid: Bid
    signature: bytes
    free_lots: tuple[int, ...]
    replicas: int = 1
    whole: bool = False
    providers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class BatchAsk:
    """An ask that took part. key: who signed it, the provider or a worker that it authorised. slots: lots
    that it could take, as observed."""

    ask: Ask
    signature: bytes
    key: str
    slots: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """An order that rested and took no part. order: its digest. reason: the rule that kept it out."""

    order: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One call of the auction of one product. block, seed: number and hash of the newest block when it
    closed. time: the chain's then, of a block to come. fee_bps: the contract's. set_aside: by order."""

    domain: Domain
    product: bytes
    number: int
    block: int
    seed: bytes
    time: int
    fee_bps: int
    collar: Collar
    bids: tuple[BatchBid, ...]
    asks: tuple[BatchAsk, ...]
    set_aside: tuple[SetAside, ...]
    cleared: Cleared

    @classmethod
    def close(
        cls,
        *,
        domain: Domain,
        product: bytes,
        number: int,
        block: int,
        seed: bytes,
        time: int,
        fee_bps: int,
        collar: Collar,
        bids: tuple[BatchBid, ...],
        asks: tuple[BatchAsk, ...],
        set_aside: tuple[SetAside, ...],
    ) -> Self:
        """Clear what rests, and put it down."""
        cleared = _cleared(domain, fee_bps, seed, collar, bids, asks)
        return cls(
            domain, product, number, block, seed, time, fee_bps, collar, bids, asks, set_aside, cleared
        )

    def digest(self) -> bytes:
        """The 32 bytes on the chain."""
        return canonical_digest(self.to_json())

    def faults(self) -> list[str]:
        """What is wrong with the publication by itself, in words; nothing when it is honest as far as it can
        be told without the chain: orders signed by whom they name, for this market and product, alive at the
        time, none twice, and price, fills and exclusions what the auction gives for them."""
        found = [fault for bid in self.bids for fault in self._of_bid(bid)]
        found += [fault for ask in self.asks for fault in self._of_ask(ask)]
        ids = [bid.bid.digest(self.domain) for bid in self.bids]
        ids += [ask.ask.digest(self.domain) for ask in self.asks]
        ids += [each.order for each in self.set_aside]
        found += [
            f"order 0x{order.hex()} is in the batch {count} times"
            for order, count in sorted(Counter(ids).items())
            if count > 1
        ]
        if found:
            return found
        again = _cleared(self.domain, self.fee_bps, self.seed, self.collar, self.bids, self.asks)
        if again.price != self.cleared.price:
            found.append(f"the price is {self.cleared.price}; these orders clear at {again.price}")
        missing = set(again.fills) - set(self.cleared.fills)
        made_up = set(self.cleared.fills) - set(again.fills)
        found += [f"the auction fills lot {fill.lot} of 0x{fill.bid.hex()}: left out" for fill in missing]
        found += [f"lot {fill.lot} of 0x{fill.bid.hex()} is not what the auction fills" for fill in made_up]
        if dict(again.excluded) != dict(self.cleared.excluded):
            found.append("the exclusions are not those of the auction")
        return sorted(found)

    def _of_bid(self, each: BatchBid) -> list[str]:
        bid, name = each.bid, f"bid 0x{each.bid.digest(self.domain).hex()}"
        faults = _signed(name, bid.digest(self.domain), each.signature, bid.customer)
        if bid.product != self.product:
            faults.append(f"{name} is for another product")
        if bid.expiry < self.time:
            faults.append(f"{name} had expired")
        lots = each.free_lots
        if list(lots) != sorted(set(lots)) or (lots and not 0 <= lots[0] <= lots[-1] < bid.lots):
            faults.append(f"{name} has no such lots")
        if not bid.quorum <= each.replicas <= MOST_REPLICAS:
            faults.append(f"{name} cannot have {each.replicas} replicas")
        return faults

    def _of_ask(self, each: BatchAsk) -> list[str]:
        ask, name = each.ask, f"ask 0x{each.ask.digest(self.domain).hex()}"
        faults = _signed(name, ask.digest(self.domain), each.signature, each.key)
        if ask.product != self.product:
            faults.append(f"{name} is for another product")
        if ask.expiry < self.time:
            faults.append(f"{name} had expired")
        if not ask.kinds & KIND_BIDS:
            faults.append(f"{name} is not for bids")
        return faults

    # ------------------------------------------------------------------------------------------------- JSON

    def to_json(self) -> dict[str, Any]:
        """As published; integers beyond 2^53 are text."""
        return {
            "version": VERSION,
            "domain": self.domain.to_json(),
            "product": format_bytes32(self.product),
            "number": self.number,
            "block": self.block,
            "seed": format_bytes32(self.seed),
            "time": self.time,
            "fee_bps": self.fee_bps,
            "collar": [str(self.collar.low), str(self.collar.high)],
            "bids": [
                {
                    "bid": each.bid.to_json(),
                    "signature": "0x" + each.signature.hex(),
                    "free_lots": list(each.free_lots),
                    "replicas": each.replicas,
                    "whole": each.whole,
                    "providers": None if each.providers is None else list(each.providers),
                }
                for each in self.bids
            ],
            "asks": [
                {
                    "ask": each.ask.to_json(),
                    "signature": "0x" + each.signature.hex(),
                    "key": each.key,
                    "slots": each.slots,
                }
                for each in self.asks
            ],
            "set_aside": [
                {"order": format_bytes32(each.order), "reason": each.reason} for each in self.set_aside
            ],
            "price": None if self.cleared.price is None else str(self.cleared.price),
            "fills": [
                [format_bytes32(fill.bid), fill.lot, [format_bytes32(ask) for ask in fill.asks]]
                for fill in self.cleared.fills
            ],
            "excluded": {
                format_bytes32(order): reason for order, reason in sorted(self.cleared.excluded.items())
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The batch of a publication; InvalidInput when it is none."""
        try:
            if value["version"] != VERSION:
                raise InvalidInput(
                    f"batch format {value['version']!r} is not {VERSION}",
                    code="bad-batch",
                    hint="update prixfixe",
                )
            low, high = value["collar"]
            return cls(
                domain=Domain.from_json(value["domain"]),
                product=parse_bytes32(value["product"], name="product"),
                number=_whole(value["number"]),
                block=_whole(value["block"]),
                seed=parse_bytes32(value["seed"], name="seed"),
                time=_whole(value["time"]),
                fee_bps=_whole(value["fee_bps"]),
                collar=Collar(int(low), int(high)),
                bids=tuple(_bid(each) for each in value["bids"]),
                asks=tuple(_ask(each) for each in value["asks"]),
                set_aside=tuple(
                    SetAside(parse_bytes32(each["order"], name="order"), str(each["reason"]))
                    for each in value["set_aside"]
                ),
                cleared=Cleared(
                    None if value["price"] is None else int(value["price"]),
                    tuple(
                        Fill(
                            parse_bytes32(bid, name="bid"),
                            _whole(lot),
                            tuple(parse_bytes32(ask, name="ask") for ask in asks),
                        )
                        for bid, lot, asks in value["fills"]
                    ),
                    {
                        parse_bytes32(order, name="order"): reason
                        for order, reason in value["excluded"].items()
                    },
                ),
            )
        except PrixfixeError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(
                f"this is not a published batch: {type(error).__name__} at {error}",
                code="bad-batch",
                hint="pass the JSON of GET /v1/batches/{number} unchanged",
            ) from error


def _cleared(
    domain: Domain,
    fee_bps: int,
    seed: bytes,
    collar: Collar,
    bids: tuple[BatchBid, ...],
    asks: tuple[BatchAsk, ...],
) -> Cleared:
    buys = [
        Buy(
            id=each.bid.digest(domain),
            customer=each.bid.customer,
            limit=leg_limit(each.bid.price, each.replicas, fee_bps),
            lots=len(each.free_lots),
            replicas=each.replicas,
            whole=each.whole,
            providers=None if each.providers is None else frozenset(each.providers),
        )
        for each in bids
    ]
    sells = [
        Sell(
            id=each.ask.digest(domain),
            provider=each.ask.provider,
            price=each.ask.price,
            slots=each.slots,
            customer=None if each.ask.customer == ZERO_ADDRESS else each.ask.customer,
        )
        for each in asks
    ]
    return clear(buys, sells, seed, collar)


def _signed(name: str, digest: bytes, signature: bytes, signer: str) -> list[str]:
    try:
        found = recover(digest, signature)
    except PrixfixeError as error:
        return [f"{name}: {error.message}"]
    return [] if found == signer else [f"{name} was signed by {found}, not by {signer}"]


def _bid(value: Mapping[str, Any]) -> BatchBid:
    providers = value["providers"]
    return BatchBid(
        bid=Bid.from_json(value["bid"]),
        signature=parse_signature(value["signature"]),
        free_lots=tuple(_whole(lot) for lot in value["free_lots"]),
        replicas=_whole(value["replicas"]),
        whole=value["whole"] is True,
        providers=None if providers is None else tuple(parse_address(each) for each in providers),
    )


def _ask(value: Mapping[str, Any]) -> BatchAsk:
    return BatchAsk(
        ask=Ask.from_json(value["ask"]),
        signature=parse_signature(value["signature"]),
        key=parse_address(value["key"]),
        slots=_whole(value["slots"]),
    )


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value
