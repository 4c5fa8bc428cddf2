"""The auction's published batches, and the terms of products."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.auctions import AuctionRules, rules_of
from marketplace.blobs import Blob, Blobs
from marketplace.chain import ChainReader
from marketplace.paging import numbered
from marketplace.store.database import Store
from marketplace.store.tables import batches, product_rules
from marketplace.store.upsert import put
from marketplace.trades import Trades
from prixfixe.errors import Forbidden, InvalidInput, NotFound
from prixfixe.market.auction import Collar
from prixfixe.market.batch import Batch
from prixfixe.protocol.book import AuctionTerms, BatchSummary, ProductListing, TermsChange
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import format_bytes32


def row_of(batch: Batch, price: int, sha256: str) -> dict[str, Any]:
    """The row of a batch that cleared at `price`, without its position. sha256: of its publication."""
    return {
        "digest": "0x" + sha256,
        "product": format_bytes32(batch.product),
        "number": batch.number,
        "block": batch.block,
        "closed_at": batch.time,
        "price": price,
        "bids": len(batch.bids),
        "asks": len(batch.asks),
        "set_aside": len(batch.set_aside),
        "fills": len(batch.cleared.fills),
    }


class Batches:
    """Reads of batches, and the one way to change a product's terms."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        chain: ChainReader,
        trades: Trades,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._chain = chain
        self._trades = trades
        self._clock = clock

    def page(
        self, product: Product | None, number: int | None, cursor: str | None, limit: int
    ) -> tuple[list[BatchSummary], str | None]:
        """Batches, newest first, and the cursor of the next page."""
        query = select(batches).order_by(batches.c.position.desc())
        if product is not None:
            query = query.where(batches.c.product == format_bytes32(product.to_bytes()))
        if number is not None:
            query = query.where(batches.c.number == number)
        with self._store.read() as connection:
            rows, following = numbered(connection, query, batches.c.position, cursor, limit)
        return [summary_of(row) for row in rows], following

    def publication(self, digest: str) -> Blob:
        """The file of a batch; NotFound when there is no such batch."""
        with self._store.read() as connection:
            known = connection.execute(select(batches.c.digest).where(batches.c.digest == digest)).first()
        if known is None:
            raise NotFound(f"there is no batch {digest}", hint="see `prixfixe market batches`")
        return self._blobs.find(digest[2:])

    def products(self) -> list[ProductListing]:
        """Everything that is offered, asked for, was paid for, or has terms of its own."""
        with self._store.read() as connection:
            rows = connection.execute(select(product_rules)).mappings().all()
        known = {row["product"]: row for row in rows}
        codes = {*known, *(format_bytes32(each.to_bytes()) for each in self._trades.products())}
        listed = [_listing(code, dict(known[code]) if code in known else None) for code in codes]
        return sorted(listed, key=lambda listing: listing.product.name)

    def change(self, caller: str, product: Product, change: TermsChange) -> ProductListing:
        """Other terms from the next batch on. For the contract's pricing role."""
        if not self._chain.may_price(caller):
            raise Forbidden(f"{caller} has no pricing role", hint="ask the market's admin for it")
        terms = change.terms
        if terms.least_seconds > terms.most_seconds:
            raise InvalidInput(
                f"a batch of at least {terms.least_seconds} s cannot be one of at most {terms.most_seconds} s"
            )
        if terms.high is not None and terms.low > terms.high:
            raise InvalidInput(f"between {terms.low} and {terms.high} there is no price")
        row: dict[str, Any] = {
            "product": format_bytes32(product.to_bytes()),
            "least_seconds": terms.least_seconds,
            "most_seconds": terms.most_seconds,
            "low": terms.low.require_uint64("low"),
            "high": None if terms.high is None else terms.high.require_uint64("high"),
            "note": change.note,
            "changed_by": caller,
            "changed_at": int(self._clock()),
        }
        with self._store.write() as connection:
            put(connection, product_rules, row)
            self._store.notify(connection, "batches")
        return _listing(row["product"], row)


def last_batch(connection: Connection, product: bytes) -> BatchSummary | None:
    """The newest batch of a product."""
    query = (
        select(batches)
        .where(batches.c.product == format_bytes32(product))
        .order_by(batches.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else summary_of(row)


def terms_of(connection: Connection, product: bytes) -> AuctionTerms:
    """The terms of a product as they cross HTTP."""
    return _terms(rules_of(connection, product))


def summary_of(row: RowMapping) -> BatchSummary:
    return BatchSummary(
        digest=row["digest"],
        product=Product.from_bytes(bytes.fromhex(row["product"][2:])),
        number=row["number"],
        price=Money(row["price"]),
        fills=row["fills"],
        bids=row["bids"],
        asks=row["asks"],
        set_aside=row["set_aside"],
        block=row["block"],
        closed_at=row["closed_at"],
        transaction=None if row["cleared"] is None else row["cleared"]["transaction"],
    )


def _terms(rules: AuctionRules) -> AuctionTerms:
    high = None if rules.collar.high == Collar().high else Money(rules.collar.high)
    return AuctionTerms(
        least_seconds=rules.least_seconds,
        most_seconds=rules.most_seconds,
        low=Money(rules.collar.low),
        high=high,
    )


def _listing(code: str, row: Mapping[str, Any] | None) -> ProductListing:
    product = Product.from_bytes(bytes.fromhex(code[2:]))
    if row is None:
        terms = _terms(AuctionRules())
        return ProductListing(product=product, terms=terms, note=None, changed_by=None, changed_at=None)
    terms = AuctionTerms(
        least_seconds=row["least_seconds"],
        most_seconds=row["most_seconds"],
        low=Money(row["low"]),
        high=None if row["high"] is None else Money(row["high"]),
    )
    return ProductListing(
        product=product,
        terms=terms,
        note=row["note"],
        changed_by=row["changed_by"],
        changed_at=row["changed_at"],
    )
