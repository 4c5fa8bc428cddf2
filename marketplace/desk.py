"""The pricing desk's side of the service: inputs of a price, its stop rules, its history, its exposure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, Final

from sqlalchemy import Connection, Select, func, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.chain import ChainReader
from marketplace.paging import numbered
from marketplace.store.database import Store
from marketplace.store.settling import PAID_STATES
from marketplace.store.tables import bundles, deals, jobs, offers, price_notes, trades, transactions
from marketplace.trades import RULES, Trades, paid_since
from prixfixe.errors import Conflict, Forbidden, InvalidInput
from prixfixe.market.index import price_index
from prixfixe.market.pricing import DAY_SECONDS, Signs, spread_bps, stops
from prixfixe.protocol.deals import Deal, Offer
from prixfixe.protocol.desk import (
    MOST_INPUT_BYTES,
    DeskInputs,
    Exposure,
    OfferExposure,
    PriceNote,
)
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import format_bytes32

_FAILED: Final = ("refused", "expired")
_GAS_SAMPLES: Final = 200  # of each call, the newest
_MARGIN_DAYS: Final = 7
_FAILURE_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Note:
    """What is kept of an act of the desk. inputs: JSON, at most 32 KiB."""

    act: str
    by: str
    note: str = ""
    inputs: Mapping[str, Any] | None = None
    override: str = ""


class Desk:
    """For the contract's pricing role alone: a suggestion tells what a competitor would like to know."""

    def __init__(
        self, store: Store, chain: ChainReader, market: Trades, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._chain = chain
        self._trades = market
        self._clock = clock

    def inputs(self, asker: str, product: Product, replicas: int, bundle: str | None) -> DeskInputs:
        """What a price of the product with so many replicas rests on, and what stops the bundle."""
        self._require_pricing(asker)
        now = self._chain.look().time
        index = self._trades.index(product, now)
        code = format_bytes32(product.to_bytes())
        with self._store.read() as connection:
            settled, failed = _ended(connection, code, now - _FAILURE_DAYS * DAY_SECONDS)
            match, settle = (_gas(connection, call, replicas) for call in ("match", "settle"))
        gas = median_low(match) + median_low(settle) if match and settle else None
        return DeskInputs(
            product=product,
            replicas=replicas,
            index=index,
            settled=settled,
            failed=failed,
            gas=gas,
            gas_samples=min(len(match), len(settle)) if gas is not None else 0,
            stops=self.stops(product, bundle, now),
        )

    def stops(self, product: Product, bundle: str | None, now: int | None = None) -> tuple[str, ...]:
        """Why no new version may be published now, in words."""
        time_ = self._chain.look().time if now is None else now
        index = self._trades.index(product, time_)
        code = format_bytes32(product.to_bytes())
        p10, p50, p90 = (None if each is None else each.units for each in (index.p10, index.p50, index.p90))
        week = time_ - _MARGIN_DAYS * DAY_SECONDS
        with self._store.read() as connection:
            then = time_ - DAY_SECONDS
            known = [each for each in paid_since(connection, code, then - RULES.memory) if each.time <= then]
            margin = None if bundle is None else _margin(connection, bundle, week)
        before = price_index(known, then, RULES)
        return stops(
            Signs(
                status=index.status,
                spread=spread_bps(p10, p50, p90, index.status),
                spread_before=spread_bps(before.p10, before.p50, before.p90, before.status),
                margin=margin,
            )
        )

    def require_free(self, product: Product, bundle: str, override: str) -> None:
        """Conflict when a stop rule freezes new versions and nobody said why this one goes out all the
        same."""
        found = self.stops(product, bundle)
        if found and not override.strip():
            raise Conflict(
                f"new versions of {bundle} are frozen: {'; '.join(found)}",
                code="prices-frozen",
                hint="wait, or say why it is right all the same: --override WHY, which is kept",
                stops=list(found),
            )

    def history(
        self, asker: str, bundle: str | None, cursor: str | None, limit: int
    ) -> tuple[list[PriceNote], str | None]:
        """The desk's acts, newest first, and the cursor of the next page; of one bundle, or of all."""
        self._require_pricing(asker)
        query = select(price_notes).order_by(price_notes.c.number.desc())
        if bundle is not None:
            query = query.where(price_notes.c.bundle == bundle)
        with self._store.read() as connection:
            rows, following = numbered(connection, query, price_notes.c.number, cursor, limit)
        return [PriceNote(**{**row, "inputs": row["inputs"] or {}}) for row in rows], following

    def exposure(self, asker: str) -> Exposure:
        """Every offer that lives or has deals that run, with what these cost above the price."""
        self._require_pricing(asker)
        now = self._chain.look().time
        with self._store.read() as connection:
            running = _open_deals(connection)
            rows = connection.execute(_all_offers()).mappings().all()
        found = []
        for row in rows:
            open_ = running.get(row["offer_id"], [])
            if row["until"] < now and not open_:
                continue
            found.append(_exposure(row, open_))
        return Exposure(offers=tuple(found), time=now)

    def _require_pricing(self, asker: str) -> None:
        require_pricing(self._chain, asker)


def require_pricing(chain: ChainReader, asker: str) -> None:
    """Forbidden unless the contract gives `asker` its pricing role."""
    if not chain.may_price(asker):
        raise Forbidden(
            f"{asker} does not have the pricing role of the contract",
            code="not-pricing",
            hint="use the pricing desk's key with --key, on a devnet dev:1; or let the admin grant the role",
        )


def noted(connection: Connection, bundle: str, version: str, note: Note, now: float) -> None:
    """Keep an act of the desk."""
    inputs = dict(note.inputs or {})
    size = len(json.dumps(inputs, allow_nan=False))
    if size > MOST_INPUT_BYTES:
        raise InvalidInput(f"the inputs of a price have {size:,} bytes, not at most {MOST_INPUT_BYTES:,}")
    newest = select(func.coalesce(func.max(price_notes.c.number), 0))
    connection.execute(
        insert(price_notes).values(
            number=int(connection.execute(newest).scalar_one()) + 1,
            bundle=bundle,
            version=version,
            act=note.act,
            by=note.by,
            at=int(now),
            note=note.note,
            inputs=inputs,
            override=note.override.strip(),
        )
    )


def _ended(connection: Connection, product: str, since: int) -> tuple[int, int]:
    """(paid, not paid): deals of a product that ended since then."""
    query = (
        select(deals.c.state, func.count())
        .join(jobs, jobs.c.id == deals.c.job)
        .where(jobs.c.product == product, deals.c.ended["time"].as_integer() >= since)
        .group_by(deals.c.state)
    )
    counts = {row[0]: row[1] for row in connection.execute(query)}
    failed = sum(counts.get(state, 0) for state in _FAILED)
    return sum(counts.values()) - failed, failed


def _gas(connection: Connection, call: str, replicas: int) -> list[int]:
    """What such calls with so many legs have cost, the newest."""
    query = (
        select(transactions.c.gas_used, transactions.c.arguments)
        .where(
            transactions.c.call == call,
            transactions.c.state == "confirmed",
            transactions.c.gas_used.is_not(None),
        )
        .order_by(transactions.c.id.desc())
        .limit(_GAS_SAMPLES)
    )
    legs = {"match": "asks", "settle": "signatures"}[call]
    return [row.gas_used for row in connection.execute(query) if len(row.arguments[legs]) == replicas]


def _margin(connection: Connection, bundle: str, since: int) -> int | None:
    """What a bundle's deals settled since then left: kept of the customers' money minus what the legs got."""
    paid = (
        select(trades.c.deal, trades.c.opening)
        .join(offers, offers.c.offer_id == trades.c.bundle)
        .where(offers.c.bundle == bundle, trades.c.time >= since)
        .distinct()
        .subquery()
    )
    rows = connection.execute(
        select(deals.c.deal, deals.c.paid, deals.c.returned)
        .join(paid, (paid.c.deal == deals.c.id) & (paid.c.opening == deals.c.opening))
        .where(deals.c.state.in_(PAID_STATES))
    ).all()
    if not rows:
        return None
    return sum(int(Deal.from_json(row.deal).total.units - row.returned - row.paid) for row in rows)


def _open_deals(connection: Connection) -> dict[str, list[Deal]]:
    """Running deals of bundles by their offer."""
    found: dict[str, list[Deal]] = {}
    for value in connection.execute(select(deals.c.deal).where(deals.c.state == "open")).scalars():
        deal = Deal.from_json(value)
        found.setdefault(format_bytes32(deal.bundle), []).append(deal)
    return found


def _all_offers() -> Select[Any]:
    return (
        select(*offers.c, bundles.c.retired_at)
        .join(bundles, (bundles.c.id == offers.c.bundle) & (bundles.c.version == offers.c.version))
        .order_by(offers.c.bundle, offers.c.version, offers.c.position)
    )


def _exposure(row: RowMapping, open_: Sequence[Deal]) -> OfferExposure:
    offer = Offer.from_json(row["offer"])
    above = sum(max(sum(leg.pay for leg in deal.legs) - deal.price, 0) * deal.count for deal in open_)
    return OfferExposure(
        offer_id=row["offer_id"],
        bundle=row["bundle"],
        version=row["version"],
        tier=row["tier"],
        replicas=row["replicas"],
        product=Product.from_bytes(offer.product),
        price=Money(offer.price),
        max_cost=Money(offer.max_cost),
        until=row["until"],
        retired=row["retired_at"] is not None,
        open=len(open_),
        above=Money(above),
    )
