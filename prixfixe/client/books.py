"""The order book and the auction's batches, asked of the service."""

from __future__ import annotations

from urllib.parse import quote as url_quote

from prixfixe.client.calls import Operation, Request
from prixfixe.client.conversation import Conversation, items_of, parsed
from prixfixe.client.prices import product_name
from prixfixe.errors import InvalidInput, NotFound
from prixfixe.protocol.book import (
    AuctionTerms,
    BatchSummary,
    Book,
    Cancelled,
    OwnOrder,
    ProductListing,
    TermsChange,
)
from prixfixe.protocol.canonical import sha256_hex
from prixfixe.protocol.product import Product


class Books(Conversation):
    """What anyone may see of the auction, and what its owner may do with an order."""

    def book(self, product: Product | str, levels: int = 50) -> Operation[Book]:
        """The live order book of a product, best prices first."""
        path = f"/v1/book/{url_quote(product_name(product))}"
        return (yield from self.ask(Book, Request("GET", path, query={"levels": str(levels)})))

    def batches(
        self, product: Product | str | None = None, limit: int = 50, *, number: int | None = None
    ) -> Operation[tuple[BatchSummary, ...]]:
        """The auction's published batches, newest first; of one product, or of all. number: only the one with
        this number."""
        query = {"limit": str(limit)}
        if product is not None:
            query["product"] = product_name(product)
        if number is not None:
            query["number"] = str(number)
        answer = yield from self.send(Request("GET", "/v1/batches", query=query))
        return tuple(parsed(BatchSummary, item) for item in items_of(answer.json()))

    def publication(self, digest: str) -> Operation[bytes]:
        """The publication of a batch, checked against its digest; `prixfixe.market.batch.Batch` reads it.
        InvalidInput when the service sent something else."""
        body = (yield from self.send(Request("GET", f"/v1/batches/{digest}"))).body
        if "0x" + sha256_hex(body) != digest:
            raise InvalidInput(
                f"what the service sent as batch {digest} has another hash",
                code="digest-mismatch",
                hint="the service, or a cache in between, altered it: do not trust it",
                fault="platform",
            )
        return bytes(body)

    def batch_digest(self, product: Product | str, number: int) -> Operation[str]:
        """The digest of a product's batch by its number."""
        found = yield from self.batches(product, 1, number=number)
        if not found:
            raise NotFound(
                f"there is no batch {number} of {product_name(product)}", hint="see `prixfixe market batches`"
            )
        return found[0].digest

    def own_orders(self) -> Operation[tuple[OwnOrder, ...]]:
        """The caller's resting bids and asks, and why each waits."""
        return (yield from self.every(OwnOrder, "/v1/orders", {"limit": "200"}))

    def cancel_order(self, order: str) -> Operation[Cancelled]:
        """Take a resting bid or ask off the book, at once."""
        return (yield from self.ask_signed_in(Cancelled, Request("DELETE", f"/v1/orders/{order}")))

    def products(self) -> Operation[tuple[ProductListing, ...]]:
        """Every product of the market, with the terms of its auction."""
        answer = yield from self.send(Request("GET", "/v1/products"))
        return tuple(parsed(ProductListing, item) for item in items_of(answer.json()))

    def terms(self, product: Product | str) -> Operation[AuctionTerms]:
        """The terms of a product's auction."""
        return (yield from self.book(product, 1)).terms

    def change_terms(self, product: Product | str, change: TermsChange) -> Operation[ProductListing]:
        """Other terms for the auction of a product. For the contract's pricing role."""
        path = f"/v1/products/{url_quote(product_name(product))}/terms"
        request = Request("PUT", path, body=change.model_dump(mode="json"))
        return (yield from self.ask_signed_in(ProductListing, request))
