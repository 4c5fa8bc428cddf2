"""What a process of a history loses and keeps when it is struck, and who leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from marketplace.store.tables import jobs
from prixfixe.errors import ConfigurationError, StorageFull, Unavailable
from prixfixe.keys import sign_typed
from prixfixe.protocol.quotes import order_of
from prixfixe.protocol.typed_data import format_bytes32
from prixfixe.protocol.wire import JobRequest
from prixfixe.testing import Histories, Purchase
from prixfixe.testing.chain import MARKET
from prixfixe.testing.company import Trouble
from prixfixe.testing.market import CUSTOMER
from scheduler.stepping import Election, Seat


@pytest.fixture
def history() -> Iterator[Histories]:
    history = Histories()
    history.begin()
    yield history
    history.close()


def stored(history: Histories) -> int:
    company: Any = history.company
    with company._store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(jobs)).scalar_one())


@pytest.mark.parametrize(
    ("trouble", "error", "kept", "lives"),
    [
        ("killed", Unavailable, False, False),
        ("disk full", StorageFull, False, True),
        ("store away", Unavailable, False, True),
        ("store silent", Unavailable, True, True),
        ("node away", Unavailable, False, True),
        ("node silent", Unavailable, False, True),
    ],
)
def test_an_order_that_is_struck_is_kept_only_where_the_answer_alone_was_lost(
    history: Histories, trouble: Trouble, error: type[Exception], kept: bool, lives: bool
) -> None:
    process = history.processes[0]
    quote = process.quote(Purchase().request(CUSTOMER.address, history.sold.id, 1))
    order = order_of(quote, MARKET, expiry=quote.order_expiry, nonce=99)
    signature = "0x" + sign_typed(CUSTOMER, order, history.contract.domain).hex()
    request = JobRequest(quote=quote.id, order=order, signature=signature)
    before = stored(history)
    process.arm(trouble, 0)
    with pytest.raises(error):
        process.order(request)
    assert (stored(history) - before, process.alive) == (int(kept), lives)
    # The same order once more, where somebody answers: it is there once.
    job = history.processes[1].order(request)
    assert job == format_bytes32(order.digest(history.contract.domain))
    assert stored(history) == before + 1


def test_a_process_that_was_killed_answers_nobody_and_another_leads(history: Histories) -> None:
    first, second = history.processes
    assert first.turn("matcher")
    assert not second.turn("matcher")
    first.kill()
    with pytest.raises(Unavailable):
        first.turn("matcher")
    assert second.turn("matcher")


def test_a_seat_whose_locks_are_lost_finds_out_when_it_asks() -> None:
    election = Election()
    one, other = Seat(election), Seat(election)
    nothing: Any = None
    assert one.leads("relayer")
    assert one.leads("indexer")
    assert not other.leads("relayer")
    assert other.is_elsewhere("relayer")
    one.lose()
    assert not one.is_elsewhere("relayer"), "it does not know"
    with pytest.raises(Unavailable, match="relayer"):
        one.require(nothing, "relayer")
    assert other.leads("relayer")
    assert not one.leads("indexer"), "its connection is gone"
    assert one.is_elsewhere("relayer")
    assert one.leads("indexer")
    assert not one.leads("relayer")
    assert other.led(nothing, ["relayer", "matcher"]) == {"relayer"}
    other.release("relayer")
    assert one.leads("relayer")


def test_a_history_says_at_once_that_its_first_purchase_is_not_sold() -> None:
    class Wrong(Histories):
        purchases = (Purchase(units=10**6),)

    history = Wrong()
    try:
        with pytest.raises(Exception, match="1,000,000 rows"):
            history.begin()
    finally:
        history.close()


def test_without_the_service_a_history_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prixfixe.testing.histories._SERVICE", "scheduler.nowhere")
    history = Histories()
    try:
        with pytest.raises(ConfigurationError, match="needs the service"):
            history.begin()
    finally:
        history.close()
