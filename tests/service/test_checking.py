"""A result bought once more by the operator: an order like any other, and what is told of it later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from marketplace import figures
from marketplace.canaries import Wish, keep
from marketplace.chain import AccountView
from marketplace.checking import Checking
from marketplace.store import checks as store_checks
from marketplace.store import looks
from marketplace.store.canaries import canary_of
from marketplace.store.checks import DAY
from marketplace.store.tables import asks, check_days, checks, findings, jobs, reruns, workers
from prixfixe.errors import Conflict, InsufficientFunds, PrixfixeError
from prixfixe.keys import development_signer
from prixfixe.market.verification import Among, Rule, commitment, is_drawn
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.orders import Purchase
from prixfixe.protocol.prices import WorkerWhy
from prixfixe.protocol.typed_data import format_bytes32, parse_bytes32
from prixfixe.protocol.verification import Draw, Verification
from scheduler.commands import admin
from tests.support.rows import least
from tests.support.service import (
    CHAIN_TIME,
    DOLLAR,
    DOMAIN,
    PROVIDER,
    STRANGER,
    WORKER,
    World,
    manifest_of,
    settle_on_chain,
    success,
)

BUYERS = (development_signer(17), development_signer(18))
OUTPUTS = manifest_of(out_csv=b"1\n")


@pytest.fixture
def world(world: World) -> World:
    """With a paid result of the worker's, and another provider who asks."""
    world.publish()
    for buyer in BUYERS:
        world.chain.accounts[buyer.address] = AccountView(50 * DOLLAR, 0, 0)
    return world


def paid(world: World) -> Deal:
    job = world.placed()
    assert world.register().status_code == 200
    world.beat([world.ask()])
    deal = world.open_deal(job.id)
    report = success(deal, OUTPUTS)
    settle_on_chain(world, deal, report)
    own = {"worker": STRANGER.address, "key": STRANGER.address, "provider": STRANGER.address}
    with world.store.write() as connection:
        for table in (workers, asks):
            row = dict(connection.execute(select(table)).mappings().one())
            connection.execute(table.insert().values({name: own.get(name, row[name]) for name in row}))
    return deal


def checking(world: World) -> Checking:
    services = world.services
    buyers = (services.quotes, services.orders, BUYERS, world.clock)
    return Checking(world.store, world.chain, services.terms, DOMAIN, *buyers)


def row_of(world: World, job: str) -> Any:
    with world.store.read() as connection:
        return connection.execute(select(jobs).where(jobs.c.id == job)).mappings().one()


def test_a_rerun_is_an_order_like_its_customers_for_everybody_but_the_checked(world: World) -> None:
    deal = paid(world)
    checked = row_of(world, format_bytes32(deal.order))
    found = row_of(world, checking(world).buy(format_bytes32(deal.id), 1, {PROVIDER.address}))
    assert found["manifest"] == checked["manifest"]
    assert (found["offer_id"], found["price"], found["kind"]) == (
        checked["offer_id"],
        checked["price"],
        "bundle",
    )
    assert found["providers"] == [STRANGER.address]
    order = Purchase.from_json(found["order"])
    assert order.customer in {buyer.address for buyer in BUYERS}
    assert order.job == Purchase.from_json(checked["order"]).job
    again = row_of(world, checking(world).buy(format_bytes32(deal.id), 1, {PROVIDER.address}))
    assert Purchase.from_json(again["order"]).nonce != order.nonce


def other_seller(world: World, number: int, **changes: Any) -> str:
    """One more provider with an ask for the same product as PROVIDER's worker; changes: of ask or worker."""
    seller = development_signer(6 + number + (number > 3)).address  # 10 is the worker
    world.chain.accounts[seller] = AccountView(50 * DOLLAR, 0, 1)
    own = {"worker": seller, "key": seller, "provider": seller, "name": f"w{number}"}
    with world.store.write() as connection:
        for table, key in ((workers, workers.c.key), (asks, asks.c.worker)):
            row = dict(connection.execute(select(table).where(key == WORKER.address)).mappings().one())
            given = own | changes
            if table is asks:
                row["ask"] = {
                    **row["ask"],
                    "provider": seller,
                    "price": str(given.get("price", row["price"])),
                }
            connection.execute(table.insert().values({name: given.get(name, row[name]) for name in row}))
    return seller


def looked_at(world: World, provider: str, at: int, later: int) -> None:
    """A finding at this time, and so many results of the provider after it."""
    with world.store.write() as connection:
        newest = connection.execute(select(func.count()).select_from(findings)).scalar_one()
        deal = {"deal": f"{newest}-{provider}", "opening": 1, "provider": provider}
        connection.execute(findings.insert().values(number=newest + 1, right=True, at=at, **deal))
        rows = [
            least(checks) | {"deal": f"{number}-{provider}", "provider": provider, "time": at + number}
            for number in range(later + 1)
        ]
        connection.execute(checks.insert(), rows)


@pytest.mark.both_databases
def test_a_rerun_is_for_one_who_sold_most_since_it_was_looked_at_and_can_take_it(world: World) -> None:
    deal = paid(world)
    key = format_bytes32(deal.id), 1
    sellers = [other_seller(world, number) for number in range(5)]
    gone = other_seller(world, 5, heartbeat_at=world.clock.now - 1000)
    dear = other_seller(world, 6, price=4 * DOLLAR)
    broke = other_seller(world, 7)
    world.chain.accounts[broke] = AccountView(0, 0, 1)
    for number, seller in enumerate(sellers):
        looked_at(world, seller, CHAIN_TIME - 500 + 60 * number, later=number)
    others = {*sellers, gone, dear, broke, STRANGER.address}
    with world.store.read() as connection:
        told = looks.unseen(connection, sorted(others))
    assert told == {seller: number for number, seller in enumerate(sellers)} | dict.fromkeys(
        (gone, dear, broke, STRANGER.address)
    )
    buying = checking(world)

    def given(chosen: Among) -> list[str]:
        providers: list[str] = row_of(world, buying.buy(*key, {PROVIDER.address}, chosen))["providers"]
        return providers

    first = [given("unseen") for _ in range(12)]
    assert {len(each) for each in first} == {1}
    assert {each[0] for each in first} <= set(sellers[2:])
    some = given("some")
    assert len(some) == 3
    assert set(some) <= set(sellers)
    assert set(given("all")) == others, "whoever comes back in time may have it"


def test_when_nobody_can_take_it_now_it_waits_for_those_who_ask(world: World) -> None:
    deal = paid(world)
    world.clock.now += 1000
    found = row_of(world, checking(world).buy(format_bytes32(deal.id), 1, {PROVIDER.address}, "unseen"))
    assert found["providers"] == [STRANGER.address]


def test_the_checked_provider_is_not_told_of_it_when_it_asks_what_it_missed(world: World) -> None:
    deal = paid(world)
    job = checking(world).buy(format_bytes32(deal.id), 1, {PROVIDER.address})
    with world.store.write() as connection:
        row = {"deal": format_bytes32(deal.id), "opening": 1}
        connection.execute(reruns.insert().values(number=1, job=job, **row))
    answer = world.http.get(f"/v1/workers/{WORKER.address}/why", headers=world.sign_in(PROVIDER))
    assert WorkerWhy.model_validate(answer.json()).misses == ()


def test_without_another_provider_or_without_money_nothing_is_bought(world: World) -> None:
    deal = paid(world)
    with pytest.raises(Conflict, match="nobody else"):
        checking(world).buy(format_bytes32(deal.id), 1, {PROVIDER.address, STRANGER.address})
    for buyer in BUYERS:
        world.chain.accounts[buyer.address] = AccountView(DOLLAR, 0, 0)
    with pytest.raises(InsufficientFunds):
        checking(world).buy(format_bytes32(deal.id), 1, {PROVIDER.address})
    with world.store.read() as connection:
        assert len(connection.execute(select(jobs.c.id)).all()) == 1


def test_draws_are_told_with_their_secret_when_no_result_of_the_day_can_be_challenged(world: World) -> None:
    deal = paid(world)
    with world.store.write() as connection:
        store_checks.days_begun(connection, CHAIN_TIME)
        (trade,) = store_checks.unchecked(connection, 0, 0)
        store_checks.decided(connection, trade, DOLLAR, Rule())
        assert list(store_checks.unchecked(connection, 0, 0)) == []
    day = CHAIN_TIME // DAY
    told = Verification.model_validate(world.http.get("/v1/verification").json())
    assert [(each.day, each.secret) for each in told.days] == [(day + 1, None), (day, None)]
    assert (told.checks, told.runs) == ({"wanted": 1}, False)
    kept = world.http.get(f"/v1/verification/{day}")
    assert (kept.status_code, kept.json()["code"]) == (404, "draws-kept")

    world.chain.time = (day + 1) * DAY + 2 * 600 + 1
    (_, today) = Verification.model_validate(world.http.get("/v1/verification").json()).days
    assert today.secret is not None
    assert commitment(bytes.fromhex(today.secret)) == today.commitment == told.days[1].commitment
    (draw,) = (Draw.model_validate(row) for row in world.http.get(f"/v1/verification/{day}").json()["items"])
    assert draw.deal == format_bytes32(deal.id)
    assert draw.drawn == is_drawn(
        bytes.fromhex(today.secret), parse_bytes32(draw.deal), draw.opening, draw.rate
    )
    with world.store.read() as connection:
        kept_secret = select(check_days.c.secret).where(check_days.c.day == day + 1)
        assert connection.execute(kept_secret).scalar_one() not in world.http.get("/v1/verification").text


def test_the_store_alone_tells_an_operator_what_is_checked(world: World, tmp_path: Path) -> None:
    from scheduler.checked import as_text, read_checks

    paid(world)
    with world.store.write() as connection:
        (trade,) = store_checks.unchecked(connection, 0, 0)
        store_checks.decided(connection, trade, DOLLAR, Rule())
        found = read_checks(connection)
    assert (found["checks"], found["drawn"], found["mean_rate"]) == ({"wanted": 1}, 1, 1_000_000)
    assert as_text(found).startswith("results      1, of which 1 drawn at 100.0 % on average")


@pytest.fixture
def undisputed(world: World, tmp_path: Path) -> World:
    """The bundle is of class `none`, and its operator has a canary for it in a file."""
    world.publish(version="2.0.0", determinism="none", disputable=False)
    (tmp_path / "known.csv").write_bytes(b"k,n\n")
    return world


def at(world: World) -> list[str]:
    """Where a command finds the service's files and tables."""
    return ["--data", str(world.services.settings.data), "--database", world.store.url]


def added(world: World, tmp_path: Path, *more: str, version: str = "2.0.0") -> dict[str, Any]:
    """What `prixfixe admin canary add` says of a canary."""
    given = ["add", "echo", "--input", str(tmp_path / "known.csv"), "--units", "40", "--version", version]
    given += ["--params", json.dumps({"word": "known"}), "--expect", f"out.csv={'ab' * 32}"]
    given += [*at(world), "--json", *more]
    return dict(json.loads(CliRunner().invoke(admin, ["canary", *given]).output))


def test_a_canary_is_kept_with_its_files_and_priced_before_that(undisputed: World, tmp_path: Path) -> None:
    world = undisputed
    listing = ["canary", "list", *at(world)]
    dry = added(world, tmp_path, "--dry-run")
    assert (dry["number"], dry["tier"], dry["price"]) == (None, "small", str(4 * DOLLAR))
    assert CliRunner().invoke(admin, listing).output == "there are no canaries\n"
    assert added(world, tmp_path) == {**dry, "number": 1}
    assert "echo 2.0.0  known.csv -> out.csv: not drawn yet" in CliRunner().invoke(admin, listing).output
    assert "word" not in world.http.get("/v1/verification").text

    name = dry["inputs"][0]["sha256"]
    world.clock.now += 10**8
    world.services.retention.sweep()
    assert world.services.blobs.find(name).read() == b"k,n\n", "it is kept while it is used"
    removed = CliRunner().invoke(admin, ["canary", "remove", "1", *at(world), "--json"]).output
    assert json.loads(removed) == {"removed": 1}
    assert "(removed)" in CliRunner().invoke(admin, listing).output
    world.services.retention.sweep()
    assert not world.services.blobs.kept.path(name).is_file()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--version", "1.0.0"], "canary-not-needed"),
        (["--expect", "other.csv=0xab"], "canary-answer"),
        (["--params", '{"word": 7}'], "invalid-parameters"),
        (["--params", "word"], "bad-option"),
        (["--units", "100000"], "above-tier"),
    ],
)
def test_a_canary_that_no_customer_could_order_or_nobody_needs_is_refused(
    undisputed: World, tmp_path: Path, more: list[str], code: str
) -> None:
    given = ["add", "echo", "--input", str(tmp_path / "known.csv"), "--units", "40", "--params"]
    given += ['{"word": "w"}', "--expect", f"out.csv={'ab' * 32}", *more]
    command = ["canary", *given, *at(undisputed)]
    failed = CliRunner().invoke(admin, command).exception
    assert isinstance(failed, PrixfixeError)
    assert failed.code == code


def test_a_canary_is_bought_as_a_customers_order_for_the_provider_that_was_drawn(
    undisputed: World, tmp_path: Path
) -> None:
    world = undisputed
    added(world, tmp_path)
    with world.store.read() as connection:
        canary = canary_of(connection, 1)
    buying = checking(world)
    with pytest.raises(Conflict, match="does not ask"):
        buying.buy_canary(canary, PROVIDER.address)
    assert world.register().status_code == 200
    world.beat([world.ask()])
    found = row_of(world, buying.buy_canary(canary, PROVIDER.address))
    assert (found["kind"], found["providers"]) == ("bundle", [PROVIDER.address])
    assert found["manifest"]["parameters"] == {"word": "known", "times": 1}
    assert found["customer"] in {buyer.address for buyer in BUYERS}
    assert found["manifest"].keys() == row_of(world, world.placed().id)["manifest"].keys()


@pytest.mark.both_databases
def test_a_draw_by_canary_is_told_without_what_was_bought(undisputed: World, tmp_path: Path) -> None:
    world = undisputed
    wish = Wish("echo", {"word": "known"}, [("k.csv", tmp_path / "known.csv")], 40, {"out.csv": "ab" * 32})
    assert keep(world.store, world.services.blobs, wish).number == 1
    deal = paid(world)
    with world.store.write() as connection:
        (trade,) = store_checks.unchecked(connection, 0, 0)
        assert store_checks.decided(connection, trade, DOLLAR, Rule())
        connection.execute(
            reruns.insert().values(
                number=1, job=format_bytes32(deal.order), deal=trade["deal"], opening=trade["opening"]
            )
        )
    told = Verification.model_validate(world.http.get("/v1/verification").json())
    assert (told.checks, told.canaries) == ({}, {"wanted": 1})
    with world.store.read() as connection:
        (shown,) = [each for each in figures.read(connection, 0.0, 1.0) if each.name == "checks"]
        assert [each.labels for each in shown.samples if each.value != "0"] == [
            {"way": "canary", "state": "wanted"}
        ]
        assert list(store_checks.to_challenge(connection, 0)) == []
        assert store_checks.without_record(connection) == frozenset()
        check = store_checks.wanted(connection)[0]
        bought = store_checks.sung(connection, check, canary_of(connection, check["canary"]))
    assert [each.unlike for each in bought or ()] == [None], "paid, and not reported"
    world.chain.time = (CHAIN_TIME // DAY + 1) * DAY + 2 * 600 + 1
    items = world.http.get(f"/v1/verification/{CHAIN_TIME // DAY}").json()["items"]
    (draw,) = map(Draw.model_validate, items)
    assert (draw.canary, draw.drawn, draw.reruns, draw.why) == (True, True, (), None)
