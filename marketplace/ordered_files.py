"""The files that orders read: whether all of them are here, and their customer has shown that it has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection

from marketplace.blobs import known_sizes, owned
from prixfixe.errors import Conflict, InvalidInput
from prixfixe.protocol import wire


@dataclass(frozen=True, slots=True)
class Files:
    """What the store has of the files of some quotes. sizes: by digest. own: by customer, digests."""

    sizes: dict[str, int]
    own: dict[str, set[str]]

    @classmethod
    def of(cls, connection: Connection, wanted: Iterable[tuple[wire.Quote | wire.BidQuote, str]]) -> Self:
        """Read what the quotes name, each for the customer who orders by it."""
        digests: dict[str, set[str]] = {}
        for quote, customer in wanted:
            digests.setdefault(customer, set()).update(_names(quote))
        return cls(
            sizes=known_sizes(connection, sorted(set().union(*digests.values()))),
            own={customer: owned(connection, sorted(names), customer) for customer, names in digests.items()},
        )

    def require(self, quote: wire.Quote | wire.BidQuote, customer: str) -> None:
        """Everything that the job reads, its image's archive too, is here, and the customer has shown that it
        has the bytes."""
        names, own = _names(quote), self.own[customer]
        missing = [sha256 for sha256 in names if sha256 not in self.sizes or sha256 not in own]
        if missing:
            raise Conflict(
                f"not uploaded yet: {', '.join(names[sha256] for sha256 in missing)}; nothing was charged",
                code="inputs-missing",
                hint="upload each (PUT /v1/blobs/{sha256}) and send the same order again",
                retryable=True,
                missing=missing,
            )
        for file in quote.manifest.files:
            if self.sizes[file.sha256] != file.size:
                raise InvalidInput(
                    f"input {file.name} has {self.sizes[file.sha256]} bytes, the quote says {file.size}",
                    code="input-size",
                    hint="ask for a quote with the file's true size",
                    file=file.name,
                )


def _names(quote: wire.Quote | wire.BidQuote) -> dict[str, str]:
    """By digest, what people call the file."""
    names = {file.sha256: file.name for file in quote.manifest.files}
    if isinstance(quote, wire.BidQuote) and quote.image_archive is not None:
        names[quote.image_archive] = "the image's archive"
    return names
