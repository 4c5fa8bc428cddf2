"""A customer's way through the service: quote, upload, buy, wait, download, receipt."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from marketplace.chain import AccountView
from prixfixe.client import AsyncClient, Client, Context
from prixfixe.client.files import describe_input
from prixfixe.errors import (
    AboveTier,
    ConfigurationError,
    Conflict,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    PriceChanged,
    QuoteExpired,
)
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.wire import Job, Quote
from tests.support.finished import RESULT, TOTALS, deliver, refuse
from tests.support.service import CUSTOMER, DOLLAR, HOST, PRICING, InProcess, World


def quoted(client: Client, *tables: Path, units: int = 50) -> Quote:
    return client.quote("echo", parameters={"word": "hello"}, inputs=tables, units=units)


def bought(client: Client, table: Path) -> Job:
    return client.buy(quoted(client, table))


def test_a_quote_is_for_what_was_asked_with_defaults_filled_in(client: Client, table: Path) -> None:
    quote = quoted(client, table)
    assert quote.customer == CUSTOMER.address == client.address
    assert quote.manifest.parameters == {"word": "hello", "times": 1}
    assert quote.manifest.inputs == (describe_input(table),)
    assert (quote.tier, quote.total.units) == ("small", 4 * DOLLAR)


def test_a_job_is_bought_run_downloaded_and_has_a_receipt(
    client: Client, world: World, table: Path, tmp_path: Path
) -> None:
    job = bought(client, table)
    assert job.state == "queued"
    deliver(world, job)
    ended = client.wait(job)
    assert ended.state == "settled"
    assert ended.charged == ended.quoted
    paths = client.download(ended, tmp_path / "out")
    assert sorted(path.name for path in paths) == ["out.csv", "totals.json"]
    assert (tmp_path / "out" / "out.csv").read_bytes() == RESULT
    assert client.receipt(job).charged == ended.charged
    assert [each.id for each in client.jobs()] == [job.id]


def test_a_refused_job_costs_nothing_and_says_why(client: Client, world: World, table: Path) -> None:
    job = bought(client, table)
    refuse(world, job)
    ended = client.wait(job)
    assert (ended.state, ended.charged.units) == ("refunded", 0)
    assert ended.reason is not None
    assert ended.reason.message == "there is no column 'x'"


def test_a_job_that_nobody_took_can_be_cancelled(client: Client, table: Path) -> None:
    job = bought(client, table)
    assert client.cancel(job).state == "refunded"
    assert client.cancel(job).state == "refunded"  # once more changes nothing
    told = client.forget(job)
    assert ([each.kind for each in told.deletions.items], told.kept) == (["file"], ())
    assert client.deletions(job) == told.deletions


def test_a_job_that_runs_cannot_be_cancelled(client: Client, world: World, table: Path) -> None:
    job = bought(client, table)
    world.running(job)
    with pytest.raises(Conflict):
        client.cancel(job)


def test_an_input_that_the_service_holds_is_not_sent_again(client: Client, world: World, table: Path) -> None:
    sent: list[int] = []
    client.upload(table, progress=lambda done, _: sent.append(done))
    table_again = client.upload(table, progress=lambda done, _: sent.append(-done))
    assert table_again == sha256_hex(table.read_bytes())
    assert sent == [table.stat().st_size, -table.stat().st_size]


def test_a_file_that_changed_after_the_price_is_refused_while_it_is_sent(
    client: Client, world: World, table: Path
) -> None:
    quote = quoted(client, table)
    table.write_bytes(b"a,b\n1,3\n")  # as long as before
    with pytest.raises(InvalidInput, match="changed after it was priced") as caught:
        client.buy(quote)
    assert caught.value.code == "file-changed"
    assert client.jobs() == ()


def test_too_little_money_is_refused_and_the_account_named_what_is_missing(
    client: Client, world: World, table: Path
) -> None:
    world.chain.accounts[CUSTOMER.address] = AccountView(3 * DOLLAR, 0, 3)
    with pytest.raises(InsufficientFunds, match=r"\$1\.00 is missing") as caught:
        bought(client, table)
    assert "prixfixe account deposit 1.00" in str(caught.value.hint)
    assert client.jobs() == ()


def test_an_expired_quote_buys_nothing(client: Client, world: World, table: Path) -> None:
    quote = quoted(client, table)
    world.clock.now += 10_000
    with pytest.raises(QuoteExpired):
        client.buy(quote)
    assert client.jobs() == ()


def test_an_offer_that_ended_meanwhile_buys_nothing(client: Client, world: World, table: Path) -> None:
    quote = quoted(client, table)
    world.chain.offers = {}
    with pytest.raises(PriceChanged):
        client.buy(quote)
    assert client.jobs() == ()


def test_a_listing_is_quoted_as_its_bundle_is(client: Client, table: Path) -> None:
    listing = client.bundle("echo")
    quote = client.quote(listing, parameters={"word": "hello"}, inputs=(table,), units=50)
    assert (quote.manifest, quote.offer) == (quoted(client, table).manifest, quoted(client, table).offer)


def test_wrong_parameters_and_too_many_units_are_refused_before_the_price(
    client: Client, table: Path
) -> None:
    with pytest.raises(InvalidInput, match="word"):
        client.quote("echo", parameters={}, inputs=[table], units=1)
    with pytest.raises(AboveTier):
        quoted(client, table, units=1_000_000)
    with pytest.raises(NotFound, match="no bundle other"):
        client.quote("other", parameters={}, inputs=[table], units=1)


def test_the_order_is_kept_on_this_machine_before_it_is_sent(
    client: Client, world: World, table: Path
) -> None:
    from prixfixe.client.keeping import complete_job_id, kept_order

    client.upload(table)
    order = client.order(quoted(client, table))
    kept = kept_order(order.job)
    assert kept == order
    assert complete_job_id(order.job[:8]) == order.job
    first, second = client.buy(order), client.buy(order)
    assert first.id == second.id == order.job
    assert len(client.jobs()) == 1


def test_a_download_never_replaces_a_file_unless_told_to(
    client: Client, world: World, table: Path, tmp_path: Path
) -> None:
    job = bought(client, table)
    deliver(world, job)
    target = tmp_path / "mine.csv"
    target.write_text("mine")
    with pytest.raises(Conflict, match="exists already"):
        client.download_file(job, "out.csv", target)
    assert target.read_text() == "mine"
    client.download_file(job, "out.csv", target, overwrite=True)
    assert target.read_bytes() == RESULT


def test_a_context_without_a_key_quotes_for_nobody(world: World, context: Context, table: Path) -> None:
    nameless = Context("test", context.service, context.chain_id, context.contract)
    with Client(nameless, transport=InProcess(world.app)) as client:
        assert client.market().name == "test"
        with pytest.raises(ConfigurationError, match="names no key"):
            quoted(client, table)


async def whole_way(client: AsyncClient, world: World, table: Path, folder: Path) -> Job:
    import asyncio

    quote = await client.quote("echo", parameters={"word": "hello"}, inputs=[table], units=50)
    job = await client.buy(quote)
    # The test's own helpers run a loop of theirs, which needs a thread of its own.
    await asyncio.to_thread(deliver, world, job)
    ended = await client.wait(job)
    await client.download(ended, folder)
    await client.receipt(job)
    world.chain.time += 10_000  # beyond the window
    assert (await client.forget(job)).kept == ()
    return ended


def test_the_asynchronous_client_goes_the_same_way(
    world: World, context: Context, table: Path, tmp_path: Path
) -> None:
    import asyncio

    async def main() -> Job:
        transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)
        async with AsyncClient(context, transport=transport) as client:
            assert await client.address() == CUSTOMER.address
            return await whole_way(client, world, table, tmp_path / "out")

    ended = asyncio.run(main())
    assert ended.state == "settled"
    assert (tmp_path / "out" / "totals.json").read_bytes() == TOTALS


def test_a_session_is_kept_for_the_next_command_and_only_for_this_user(
    world: World, context: Context, home: Path
) -> None:
    for _ in range(2):
        with Client(context, keep_sessions=True, transport=InProcess(world.app)) as client:
            client.jobs()
    kept = home / "sessions.json"
    assert kept.stat().st_mode & 0o077 == 0
    assert f"http://{HOST} {CUSTOMER.address}" in kept.read_text()
    with world.store.read() as connection:
        opened = connection.exec_driver_sql(
            "SELECT count(*) FROM sessions WHERE address = ?", (CUSTOMER.address,)
        ).scalar_one()
    assert opened == 1


def test_a_session_that_the_service_forgot_is_opened_anew(client: Client, world: World) -> None:
    client.jobs()
    with world.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM sessions")
    assert client.jobs() == ()


def test_lists_are_followed_to_their_end(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("2.0.0", "3.0.0"):
        world.publish(version=version)
    bundles, desk = world.services.bundles, world.services.desk
    one, notes = bundles.page, desk.history
    monkeypatch.setattr(bundles, "page", lambda cursor, limit: one(cursor, 1))
    monkeypatch.setattr(
        desk, "history", lambda asker, bundle, cursor, limit: notes(PRICING.address, bundle, cursor, 1)
    )
    assert sorted(each.version for each in client.bundles()) == ["1.0.0", "2.0.0", "3.0.0"]
    assert [each.version for each in client.perform(client.operations.price_history(None, 2))] == [
        "3.0.0",
        "2.0.0",
    ]
    assert len(client.perform(client.operations.price_history("echo", 1000))) == 3
