"""The auction through every real part: bids of one customer meet the asks of three providers in one batch,
run in real containers, are paid one price, and the batch is replayed by the command line."""

from __future__ import annotations

import json

from prixfixe.client import Client
from prixfixe.client.calls import Request
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import BidQuote, BidQuoteRequest, Job
from tests.support.devnet import Devnet, rested


def bid(devnet: Devnet, client: Client, product: Product, price: str) -> Job:
    """An auction bid for one run of the probe's image, sent."""
    listing = next(each for each in client.bundles() if each.id == "probe")
    archive = devnet.folder.service / "blobs" / listing.image_archive[:2] / listing.image_archive[2:]
    client.upload(archive)
    table = client.upload(devnet.table)
    request = BidQuoteRequest(
        customer=client.address,
        kind="auction",
        product=product,
        image=listing.image,
        image_archive=listing.image_archive,
        command=tuple(listing.definition["command"]),
        parameters={"mode": "ok", "number": 1},
        inputs=(InputFile(name="table.csv", sha256=table, size=devnet.table.stat().st_size),),
        price=Money.parse(price),
    )
    asked = Request("POST", "/v1/quotes", body=request.model_dump(mode="json"))
    return client.buy(
        client.perform(client.operations.order(client.perform(client.operations.ask(BidQuote, asked))))
    )


def test_bids_meet_asks_at_one_price_are_run_and_paid_and_the_batch_is_honest(devnet: Devnet) -> None:
    rested(devnet)
    before = devnet.account().free
    with devnet.client() as client:
        listing = next(each for each in client.bundles() if each.id == "probe")
        product = Product.from_bytes(listing.tiers[0].offer.product)
        # Long enough for all three to be there on a slow machine.
        devnet.types(
            *("market", "rules", product.name, "--least", "8", "--most", "8"),
            *("--note", "one batch", "--key", "dev:1"),
        )
        jobs = [bid(devnet, client, product, price) for price in ("1.90", "1.80", "1.70")]
        ended = [client.wait(job.id) for job in jobs]
        assert [job.state for job in ended] == ["settled"] * 3, [job.reason for job in ended]
        (batch,) = client.batches(product)
    assert (batch.fills, batch.bids) == (3, 3)
    assert before - devnet.account().free == sum((job.charged for job in ended), Money(0))
    assert all(job.charged.units >= batch.price.units for job in ended)

    replayed = json.loads(devnet.types("market", "replay", batch.digest, "--json").stdout)
    assert (replayed["honest"], replayed["opened"], replayed["skipped"]) == (True, 3, [])
    book = json.loads(devnet.types("market", "book", product.name, "--json").stdout)
    assert book["bids"] == []
    assert book["batch"]["digest"] == batch.digest
