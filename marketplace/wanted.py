"""A lot of the tables as the market's rules see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause
from sqlalchemy.engine import RowMapping

from marketplace.store.tables import jobs, lots, offers
from prixfixe.market.auction import leg_limit
from prixfixe.market.rules import Wanted
from prixfixe.protocol.manifest import needs_of
from prixfixe.protocol.orders import KIND_BIDS, KIND_BUNDLES

# What `wanted_of` reads of a lot, its job and its offer.
COLUMNS: Final[tuple[ColumnElement[Any], ...]] = (
    lots.c.job,
    lots.c.lot,
    lots.c.count,
    jobs.c.customer,
    jobs.c.expiry,
    jobs.c.deliver_by,
    jobs.c.kind,
    jobs.c.product,
    jobs.c.price,
    jobs.c.replicas,
    jobs.c.providers,
    jobs.c.image,
    jobs.c.manifest["inputs"].label("inputs"),
    jobs.c.manifest["matrix"]["sha256"].as_string().label("matrix"),
    jobs.c.manifest["isolation"].as_string().label("isolation"),
    jobs.c.manifest["network"].as_string().label("network"),
    jobs.c.manifest["secrets"].as_string().label("secrets"),
    offers.c.offer,
)
SOURCE: Final[FromClause] = lots.join(jobs, jobs.c.id == lots.c.job).outerjoin(
    offers, offers.c.offer_id == jobs.c.offer_id
)


def wanted_of(
    row: RowMapping,
    tried: Mapping[str, str],
    fee_bps: int,
    providers: frozenset[str] = frozenset(),
) -> Wanted:
    """The lot of a row of `COLUMNS`. tried: how its earlier attempts ended, by worker. providers: whose."""
    offer = row["offer"]
    inputs = [each["sha256"] for each in row["inputs"] or ()]
    # Flat, the legs share the price as they ask; in an auction each leg is paid the same.
    legs = row["replicas"] if row["kind"] == "auction" else 1
    return Wanted(
        job=row["job"],
        lot=row["lot"],
        customer=row["customer"],
        product=bytes.fromhex(row["product"][2:]),
        max_cost=leg_limit(row["price"], legs, fee_bps) if offer is None else int(offer["maxCost"]),
        disputable=offer is not None and offer["disputable"],
        count=row["count"],
        expiry=row["expiry"],
        deliver_by=row["deliver_by"],
        failed_on=frozenset(worker for worker, state in tried.items() if state == "failed"),
        lost_on=frozenset(worker for worker, state in tried.items() if state == "lost"),
        tried=providers,
        uses=frozenset((row["image"], *inputs, *([] if row["matrix"] is None else [row["matrix"]]))),
        replicas=row["replicas"],
        kind=KIND_BIDS if offer is None else KIND_BUNDLES,
        providers=None if row["providers"] is None else frozenset(row["providers"]),
        cost=row["price"] * row["count"],
        needs=needs_of(
            row["isolation"],
            calls=row["network"] not in (None, "none"),
            # Left out of a manifest that has none; a batch of the auction does not tell asks by it.
            secret=row["secrets"] is not None and row["kind"] != "auction",
        ),
    )
