"""Tasks whose answer is known, given to providers of what cannot be disputed: who is drawn, and what a right
and a wrong answer do, on a real chain."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import update

from marketplace.store import canaries as store_canaries
from marketplace.store import checks as store_checks
from marketplace.store.tables import attempts, cases, checks, deals, findings, jobs, reruns, workers
from prixfixe.errors import NotFound
from prixfixe.keys import sign_typed
from prixfixe.market.verification import WHOLE
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import leaf, merkle_root
from tests.support.market import OFFER
from tests.support.scheduling import OUTPUTS, Service
from tests.support.street import BUYER, Street, liar, open_street

pytestmark = pytest.mark.chain


@pytest.fixture
def street(service: Service) -> Street:
    street = open_street(service)
    known(street)
    return street


def known(street: Street, sha256: str = OUTPUTS.files[0].sha256) -> int:
    """A canary of the undisputable bundle."""
    with street.service.store.write() as connection:
        return store_canaries.canary_added(
            connection,
            bundle="probe",
            version="1",
            parameters={},
            inputs=(InputFile(name="in.csv", sha256="12" * 32, size=3),),
            units=1,
            expected={"out.csv": sha256},
            note="computed by hand",
        )


def drawn(street: Street) -> str:
    """A customer's job of provider 0, paid, and the canary that it drew is bought."""
    deal = street.sold(offer=OFFER)
    street.verifier().run_once()
    (check,) = [row for row in street.service.rows(checks) if row["deal"] == deal]
    assert (check["state"], check["rate"], check["canary"]) == ("wanted", WHOLE, 1), "a newcomer's always"
    return deal


def test_a_canary_goes_to_the_provider_that_was_drawn_and_a_right_answer_begins_its_record(
    street: Street,
) -> None:
    deal = drawn(street)
    service = street.service
    street.run({})
    street.verifier().run_once()
    assert street.states() == {deal: "right"}
    (bought,) = service.rows(reruns)
    job = service.row(jobs, id=bought["job"])
    assert (job["customer"], job["providers"]) == (BUYER.address, [street.provider(0)])
    paid = service.row(deals, job=job["id"])
    assert service.free(BUYER) == 50_000_000 - OFFER.price, "it is paid as any other"
    (finding,) = service.rows(findings)
    assert (finding["deal"], finding["provider"], finding["right"]) == (paid["id"], street.provider(0), True)
    with service.store.read() as connection:
        assert store_checks.passed_of(connection, street.provider(0)) == 1
    street.sold(offer=OFFER)
    street.verifier().run_once()
    newest = max(service.rows(checks), key=lambda row: row["passed"])
    assert (newest["passed"], newest["rate"] < WHOLE) == (1, True), "it is drawn less often from now on"
    assert len(service.rows(checks)) == 2, "the canary itself is not drawn"


def test_a_wrong_answer_takes_the_record_and_the_next_orders_and_is_no_case(street: Street) -> None:
    deal = drawn(street)
    service = street.service
    street.run(liar(street))
    street.verifier().run_once()
    street.pass_on()
    assert street.states() == {deal: "wrong"}
    (check,) = service.rows(checks)
    assert check["why"] == "canary 1: out.csv"
    assert service.rows(cases) == [], "nothing of it can be disputed"
    with service.store.read() as connection:
        assert store_checks.passed_of(connection, street.provider(0)) == 0
        assert store_checks.last_caught(connection, street.provider(0)) == 1
        assert list(store_checks.to_challenge(connection, 0)) == []
    caught, others = street.provider(0), {street.provider(1): 0, street.provider(2): 0}
    now = service.market.chain.time
    assert service.newcomers.under_way([caught, *others], now) == {
        caught: 0,
        **others,
    }
    with service.store.read() as connection:
        assert store_checks.without_record(connection) == {caught}, "whatever its grade"
    cooled = {row["provider"]: row["cool_until"] for row in service.rows(workers)}
    assert cooled[street.provider(0)] > time.time() + store_checks.CAUGHT_SECONDS / 2
    assert cooled[street.provider(1)] == 0.0


def settles_by_itself(street: Street) -> str:
    """The canary's worker is paid for the right answer without the service; its attempt."""
    service, worker = street.service, street.workers[0]
    service.beat(worker)
    service.matcher.run_once()
    street.pass_on()
    (attempt,) = [row for row in service.rows(attempts) if row["state"] == "assigned"]
    row = service.row(deals, id=attempt["deal"], opening=attempt["opening"])
    deal, root = Deal.from_json(row["deal"]), merkle_root([leaf(0, 0, OUTPUTS.digest)])
    signature = sign_typed(worker, Result(deal.id, root, 1), service.client.domain)
    service.client.settle(service.market.stranger, deal, row["due"], root, 1, [signature])
    service.indexer.run_once()
    assert service.job(row["job"])["state"] == "settled"
    return str(attempt["id"])


def test_who_settles_a_canary_by_itself_is_judged_by_its_report_and_not_before(street: Street) -> None:
    deal = drawn(street)
    attempt = settles_by_itself(street)
    street.verifier().run_once()
    assert street.states() == {deal: "wanted"}, "nobody knows yet what it delivered"
    street.service.report(street.workers[0], attempt=attempt)
    street.verifier().run_once()
    assert street.states() == {deal: "right"}


def test_who_settles_a_canary_by_itself_and_never_reports_has_said_nothing(street: Street) -> None:
    deal = drawn(street)
    settles_by_itself(street)
    street.service.market.chain.advance(601)
    street.verifier().run_once()
    assert street.states() == {deal: "unclear"}
    (check,) = street.service.rows(checks)
    assert check["why"] == "canary 1: its worker was paid and never said for what"
    assert street.service.rows(findings) == []


def test_who_is_caught_by_a_canary_has_its_disputable_results_run_again(street: Street) -> None:
    spared = street.sold()
    street.verifier().run_once()
    service = street.service
    with service.store.write() as connection:  # as the draw would have had it of a provider with a record
        connection.execute(update(checks).values(drawn=False))
        on_table = " ON checks" if connection.dialect.name == "postgresql" else ""
        connection.exec_driver_sql("DROP TRIGGER tr_checks_state" + on_table)
        connection.execute(update(checks).values(state="spared"))
    deal = drawn(street)
    street.run(liar(street))
    street.verifier().run_once()
    assert street.states() == {spared: "wanted", deal: "wrong"}


def test_no_canary_is_bought_before_its_time_after_its_removal_or_of_who_does_not_answer(
    street: Street,
) -> None:
    service = street.service
    deal, street.spread = street.sold(offer=OFFER), 10**9
    verifier = street.verifier()
    verifier.run_once()
    (check,) = service.rows(checks)
    with service.store.read() as connection:
        due = store_checks.canary_due(connection, check, street.spread)
    assert check["time"] + 60 < due < check["time"] + street.spread
    with service.store.write() as connection:
        store_canaries.canary_removed(connection, 1)
        with pytest.raises(NotFound):
            store_canaries.canary_removed(connection, 1)
        assert store_canaries.chosen_for(connection, "probe", "1", street.provider(0)) is None
    verifier.run_once()
    (check,) = service.rows(checks)
    assert (check["deal"], check["state"], check["why"]) == (deal, "unclear", "its canary was removed")
    assert service.rows(reruns) == service.rows(findings) == []
    street.sold(offer=OFFER)
    verifier.run_once()
    assert len(service.rows(checks)) == 1, "without a canary nothing is drawn"


def test_a_provider_is_given_each_canary_in_turn(street: Street) -> None:
    known(street)
    given, street.spread = set(), 10**9
    for _ in range(2):
        street.sold(offer=OFFER)
        street.verifier().run_once()
        given = {row["canary"] for row in street.service.rows(checks)}
    assert given == {1, 2}
