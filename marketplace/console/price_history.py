"""How the price of each tier moved from version to version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from prixfixe.protocol.money import Money
from prixfixe.protocol.wire import BundleListing, ListedTier


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a bundle. sold: whether a quote that names none is for it. tiers: each with its price in
    the version before, None where that had no such tier. first: whether there was no version before."""

    listing: BundleListing
    sold: bool
    first: bool
    tiers: tuple[tuple[ListedTier, Money | None], ...]


def histories(listings: Iterable[BundleListing]) -> Iterator[tuple[str, tuple[Version, ...]]]:
    """Of each bundle its versions. listings: those of a bundle beside one another, the newest first."""
    for bundle, group in groupby(listings, lambda each: each.id):
        known = tuple(group)
        sold = next((each for each in known if not each.retired), None)
        yield (
            bundle,
            tuple(
                Version(listing, listing is sold, before is None, tuple(_compared(listing, before)))
                for listing, before in pairwise((*known, None))
                if listing is not None
            ),
        )


def _compared(
    listing: BundleListing, before: BundleListing | None
) -> Iterator[tuple[ListedTier, Money | None]]:
    prices = {} if before is None else {tier.label: tier.price for tier in before.tiers}
    for tier in listing.tiers:
        yield tier, prices.get(tier.label)


def percent(now: Money, before: Money) -> str:
    """`+12.5 %`, rounded to a tenth."""
    if before.units == 0:
        return ""
    tenths = round((now.units - before.units) * 1000 / before.units)
    return f"{'+' if tenths >= 0 else '-'}{abs(tenths) / 10:,.1f} %"
