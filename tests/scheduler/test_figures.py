"""The figures of a market whose money, orders and transactions are known to the unit and the second."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from sqlalchemy import update

from marketplace import figures
from marketplace.chain import MarketReader
from marketplace.services import Services
from marketplace.settings import ServiceSettings
from marketplace.store.tables import attempts, cases, deals, jobs, lots, transactions
from prixfixe.metrics import Family, render
from prixfixe.protocol.money import UNITS_PER_DOLLAR, Money
from scheduler.gauges import Gauges
from scheduler.serve import describe
from tests.support.market import PAY, PRICE
from tests.support.scheduling import Service
from tests.support.street import BUYER, Street, liar, open_street

pytestmark = pytest.mark.chain

RULES = Path(__file__).parents[2] / "docs" / "alerts.yml"
NOW = 2_000_000  # of the service's clock
WAITING = Money.parse("0.50")
MONEY = {
    "free": "1.500000",  # 3 tasks of 0.50 at most
    "matching": "4.000000",  # 2 of 2.00
    "open": "1.200000",  # what the batch cleared at, not the limit
    "disputed": "2.000000",  # what its customer paid
    "charged": "6.000000",  # that and two re-runs
}
COUNTS = {
    'jobs{state="queued"}': "2",
    'jobs{state="running"}': "1",
    'jobs{state="settled"}': "3",
    'lots{state="free"}': "1",
    'lots{state="matching"}': "1",
    'deals{state="disputed"}': "1",
    'deals{state="open"}': "1",
    'deals{state="settled"}': "2",
    'cases{state="open"}': "1",
    'attempts{state="assigned"}': "1",
    'transactions{state="pending"}': "1",
    'workers{state="registered"}': "3",
    'workers{state="alive"}': "3",
}


@pytest.fixture
def street(service: Service) -> Street:
    """A deal paid and disputed, two paid re-runs that found it wrong, a bid that runs for less than its
    limit, an order of two tasks on its way to the contract, and a bid of three tasks that waits."""
    street = open_street(service)
    street.sold(liar(street))
    street.check()
    service.bid(price=PRICE, nonce=101)
    service.close_batch()  # at 1.20, which others ask too; the limit is 2.00
    service.order(service.market.purchase(tasks=2, lot=2, nonce=102))
    service.matcher.run_once()
    service.bid(price=WAITING, tasks=3, lot=3, nonce=103)
    return street


def test_money_states_and_checks_are_counted_and_the_contract_holds_all_that_is_owed(street: Street) -> None:
    service, client = street.service, street.service.client
    shown = figure(gauges(service).families())
    assert {name: shown[f'money_dollars{{state="{name}"}}'] for name in MONEY} == MONEY
    (case,) = service.rows(cases)
    assert (case["bond"], case["fees"]) == (5 * UNITS_PER_DOLLAR, ["1000000"])
    people = [service.market.customer.address, service.market.scheduler.address, BUYER.address]
    people += [street.provider(number) for number in range(3)]
    kept = [client.account(each) for each in (*people, client.contract)]
    owed = sum(each.free.units + each.cur.units + each.prev.units for each in kept)
    held = PAY.units + PRICE.units  # of the running deal; taken back for the disputed one
    owed += held + 6 * UNITS_PER_DOLLAR  # with the bond and the fee of the case
    assert units(shown["contract_dollars"]) == owed == client.token_balance(client.contract).units
    assert units(shown["treasury_dollars"]) == kept[-1].free.units
    assert holds_enough(shown)
    # The alert: all but the treasury and what is held has left the contract, and one unit more.
    left = units(shown["treasury_dollars"]) + held
    enough, short = ({**shown, "contract_dollars": str(Money(left - less))} for less in (0, 1))
    assert (holds_enough(enough), holds_enough(short)) == (True, False)

    assert {name: value for name, value in shown.items() if name.startswith("checks{") and value != "0"} == {
        'checks{way="rerun",state="wrong"}': "1"
    }
    assert {name: shown[name] for name in COUNTS} == COUNTS


def test_ages_and_latencies_are_those_of_the_rows(street: Street) -> None:
    service = street.service
    settled = [row["id"] for row in service.rows(jobs, jobs.c.number) if row["state"] == "settled"]
    mined = [row["id"] for row in service.outbox() if row["state"] == "confirmed"]
    with service.store.write() as connection:
        for job, seconds in zip(settled, (10, 30, 20), strict=True):
            times = {"created_at": NOW - 100 - seconds, "ended_at": NOW - 100}
            connection.execute(update(jobs).where(jobs.c.id == job).values(times))
        of_old = {"created_at": NOW - 9000, "updated_at": NOW - 3601}  # more than an hour ago
        connection.execute(update(transactions).values(of_old))
        for row, took in zip(mined[:2], (0.25, 4.5), strict=True):
            times = {"created_at": NOW - 60 - took, "updated_at": NOW - 60}
            connection.execute(update(transactions).where(transactions.c.id == row).values(times))
        waits = update(transactions).where(transactions.c.state == "pending")
        connection.execute(waits.values(created_at=NOW - 7.125))
        free = [row["job"] for row in service.rows(lots) if row["state"] == "free"]
        connection.execute(update(jobs).where(jobs.c.id.in_(free)).values(created_at=NOW - 77))
        begun = update(attempts).where(attempts.c.state == "assigned")
        connection.execute(begun.values(created_at=NOW - 33))
    shown = _tables(service)
    assert [shown[f'job_seconds{{quantile="{part}"}}'] for part in ("0.5", "0.95", "0.99")] == [
        "20.000",
        "30.000",
        "30.000",
    ]
    assert [shown[f'transaction_seconds{{quantile="{part}"}}'] for part in ("0.5", "0.99")] == [
        "4.500",
        "4.500",
    ]
    waiting = {queue: shown[f'waiting_seconds{{queue="{queue}"}}'] for queue in ("lots", "pending", "sent")}
    assert waiting == {"lots": "77.000", "pending": "7.125", "sent": "0.000"}
    assert shown['waiting_seconds{queue="assigned"}'] == "33.000"


def test_a_deal_is_overdue_from_the_second_after_its_deadline(street: Street) -> None:
    service = street.service
    (deal,) = [row for row in service.rows(deals) if row["state"] == "open"]
    with service.store.read() as connection:
        late = [figures.overdue_seconds(connection, deal["deadline"] + by) for by in (-1, 0, 1, 125)]
    assert late == [0, 0, 1, 125]
    assert figure(gauges(service).families())["overdue_seconds"] == "0"
    service.market.chain.move_to(deal["deadline"] + 50)
    reader = MarketReader(service.client.rpc, service.client.contract)
    before = reader.look().time - deal["deadline"]
    shown = int(figure(gauges(service).families())["overdue_seconds"])
    assert 50 <= before <= shown <= reader.look().time - deal["deadline"]


def gauges(service: Service) -> Gauges:
    """What a scrape of a service without duties shows of this market, asked anew."""
    client, signer = service.client, service.market.scheduler
    settings = ServiceSettings(data=service.data, domain="localhost:8600")
    market = describe(settings, client, client.policy(), signer)
    reader = MarketReader(client.rpc, client.contract)
    return Gauges(Services.build(settings, market, service.store, reader, signer), client, (), ())


def figure(families: Iterable[Family]) -> dict[str, str]:
    """Value by name and labels, as they are written."""
    return dict(re.findall(r"^(?!#)(.+) (\S+)$", render(families, ""), re.MULTILINE))


def _tables(service: Service) -> dict[str, str]:
    with service.store.read() as connection:
        return figure(figures.read(connection, NOW, 3.0))


def units(dollars: str) -> int:
    return Money.parse(dollars).units


def holds_enough(shown: Mapping[str, str]) -> bool:
    """What `PrixfixeMoneyShort` asks, by the expression in its file, which names sums of figures."""
    (said,) = re.findall(r"alert: PrixfixeMoneyShort\s+expr: (.+)", RULES.read_text())
    has, needs = (re.findall(r"max\(prixfixe_(.+?)\)", side) for side in said.split("<"))
    assert (len(has), len(needs)) == (1, 3)
    return sum(units(shown[name]) for name in has) >= sum(units(shown[name]) for name in needs)
