"""Several lots in one call of the worker, at a real service and at one that knows no such calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from prixfixe.errors import Conflict, InvalidInput, NotFound, Unavailable
from prixfixe.protocol import wire
from prixfixe.protocol.lot_batch import Reported
from prixfixe.protocol.reports import LotReport
from tests.service.test_lots import OUT, ordered
from tests.support.scheduling import until
from tests.support.service import WORKER, World, lot_report
from tests.support.serving import served
from worker.client import ServiceClient
from worker.gathering import Gathered
from worker.lots import Lots

pytestmark = pytest.mark.network_ports


class Line:
    """Calls of `Gathered`: each takes until it is let go, and answers with its double; 7 has none."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.free = threading.Event()

    def send(self, given: Sequence[int]) -> Sequence[int | Exception]:
        self.calls.append(list(given))
        assert self.free.wait(30)
        return [Conflict("seven") if each == 7 else 2 * each for each in given]


def test_what_comes_while_a_call_is_under_way_goes_with_the_next_and_has_its_own_answer() -> None:
    line = Line()
    gathered = Gathered(line.send, 4)
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(gathered.call, 100)
        until(lambda: line.calls == [[100]], "the first is under way")
        asked = []
        for number in range(6):
            asked.append(pool.submit(gathered.call, 5 + number))
            until(lambda number=number: len(gathered._waiting) == number + 1, "it waits")
        line.free.set()
        assert first.result(30) == 200
        assert [each.exception(30) or each.result() for each in asked[:2]] == [10, 12]
        assert isinstance(asked[2].exception(30), Conflict)
        assert [each.result(30) for each in asked[3:]] == [16, 18, 20]
    assert line.calls == [[100], [5, 6, 7, 8], [9, 10]]
    assert gathered.call(1) == 2, "nothing is left of it"


def test_a_call_that_fails_fails_for_all_of_it_and_not_for_the_next() -> None:
    answers = iter([Unavailable("away"), None])

    def send(given: Sequence[int]) -> Sequence[int | Exception]:
        if (error := next(answers)) is not None:
            raise error
        return given

    gathered = Gathered(send, 4)
    with pytest.raises(Unavailable):
        gathered.call(1)
    assert gathered.call(2) == 2


@pytest.mark.parametrize("answered", [0, 1, 3])
def test_an_answer_of_another_length_is_an_error_of_all_of_them_and_not_a_loop(answered: int) -> None:
    line = Line()

    def send(given: Sequence[int]) -> Sequence[int | Exception]:
        return [*line.send(given), *given][: 1 if len(given) == 1 else answered]

    gathered = Gathered(send, 4)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(gathered.call, 100)
        until(lambda: line.calls == [[100]], "the first is under way")
        asked = [pool.submit(gathered.call, number) for number in (1, 2)]
        until(lambda: len(gathered._waiting) == 2, "both wait")
        line.free.set()
        assert first.result(30) == 200
        assert all(isinstance(each.exception(30), RuntimeError) for each in asked)
    assert len(line.calls) == 2


class Counting(ServiceClient):
    """Remembers the calls of its attempts, and holds up the first report until `waiting` more are ready."""

    calls: list[str]
    lots: Lots
    waiting = 0
    old = False  # the service, as if it knew no calls for several

    def _call(self, method: str, path: str, *given: object, **options: object) -> object:  # type: ignore[override]
        if path.startswith(("/v1/assignments", "/v1/attempts")):
            self.calls.append(f"{method} {path.removeprefix('/v1/')}")
            if self.old and path in ("/v1/assignments/batch", "/v1/attempts/start", "/v1/attempts/results"):
                raise NotFound(f"there is nothing at {path}", code="unknown-route")
            if self.waiting and path.endswith("/result"):
                until(lambda: len(self.lots._reports._waiting) == self.waiting, "others are ready")
                self.waiting = 0
        return super()._call(method, path, *given, **options)  # type: ignore[arg-type]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[World, Counting, Lots]]:
    """A service with a job of three lots, all open and the worker's."""
    with served(tmp_path / "service") as (world, url), closing(Counting(url)) as client:
        client.calls, client.lots = [], Lots(client)
        client.sign_in(WORKER)
        job = ordered(world, 7, 3)
        for lot in range(3):
            world.open_deal(job, lot=lot)
        yield world, client, client.lots


def whole(given: wire.Assignment) -> LotReport:
    return lot_report(given.deal, [(0, OUT)] * given.deal.count)


def reported(lots: Lots, client: Counting, given: Sequence[tuple[str, LotReport]]) -> list[Any]:
    """The answer or error of each; the first is under way until the others are ready."""
    with ThreadPoolExecutor(len(given)) as pool:
        client.waiting = len(given) - 1
        sent = []
        for number, (attempt, report) in enumerate(given):
            sent.append(pool.submit(lots.report, attempt, report, 5.0))
            until(
                lambda number=number: lots._reports._under_way and len(lots._reports._waiting) == number, "so"
            )
        return [each.exception(30) or each.result() for each in sent]


def test_a_worker_with_free_slots_takes_starts_and_reports_what_is_ready_in_one_call_each(
    stage: tuple[World, Counting, Lots],
) -> None:
    _, client, lots = stage
    assert len(lots.next(2, 0)) == 2
    given = lots.next(8, 0)
    assert {each.deal.lot for each in given} == {0, 1, 2}
    refused = lots.start([*(each.attempt for each in given), "ab"])
    assert {attempt: error.code for attempt, error in refused.items()} == {"ab": "attempt-unknown"}
    assert lots.next(8, 0) == ()
    first, second, third = given
    told = [(first.attempt, whole(first)), (second.attempt, whole(first)), (third.attempt, whole(third))]
    one, wrong, other = reported(lots, client, told)
    assert one == other == wire.ReportAnswer(accepted=True)
    assert isinstance(wrong, InvalidInput)
    assert client.calls == [
        *["GET assignments/batch"] * 2,
        "POST attempts/start",
        "GET assignments/batch",
        f"POST attempts/{first.attempt}/result",
        "POST attempts/results",
    ]
    assert lots.report(third.attempt, whole(third), 5.0).accepted, "the same again"


def test_one_slot_makes_the_calls_of_one_lot(stage: tuple[World, Counting, Lots]) -> None:
    _, client, lots = stage
    (given,) = lots.next(1, 0)
    assert lots.start([given.attempt]) == {}
    assert client.calls == ["GET assignments", f"POST attempts/{given.attempt}/start"]


def test_an_older_service_is_asked_for_one_lot_after_the_other(
    stage: tuple[World, Counting, Lots],
) -> None:
    _, client, lots = stage
    client.old = True
    given = []
    for _ in range(3):
        (one,) = lots.next(8, 0)
        assert lots.start([one.attempt]) == {}
        given.append(one)
    assert all(lots.report(each.attempt, whole(each), 5.0).accepted for each in given)
    assert client.calls.count("GET assignments/batch") == 1
    assert not {"POST attempts/start", "POST attempts/results"} & set(client.calls)


def test_a_service_that_is_taken_back_to_an_older_one_loses_no_start_or_report(
    stage: tuple[World, Counting, Lots],
) -> None:
    _, client, lots = stage
    given = lots.next(8, 0)
    client.old = True
    assert lots.start([each.attempt for each in given]) == {}
    lots._alone_until = 0.0
    answers = reported(lots, client, [(each.attempt, whole(each)) for each in given])
    assert answers == [wire.ReportAnswer(accepted=True)] * 3
    assert client.calls.count("POST attempts/results") == 1


def test_answers_belong_to_the_attempts_that_they_name_and_what_has_none_goes_alone(
    stage: tuple[World, Counting, Lots], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client, lots = stage
    given = lots.next(8, 0)
    assert lots.start([each.attempt for each in given]) == {}
    strange = Reported(attempt="ab", problem=Conflict("of somebody else").to_problem())
    of_all = client.report_batch
    monkeypatch.setattr(client, "report_batch", lambda reports: (strange, *reversed(of_all(reports)[1:])))
    answers = reported(lots, client, [(each.attempt, whole(each)) for each in given])
    assert answers == [wire.ReportAnswer(accepted=True)] * 3
    assert client.calls.count(f"POST attempts/{given[1].attempt}/result") == 1


def test_a_report_that_is_long_goes_alone(
    stage: tuple[World, Counting, Lots], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client, lots = stage
    monkeypatch.setattr("worker.lots.MOST_SHARED_BYTES", 100)
    given = lots.next(8, 0)
    lots.start([each.attempt for each in given])
    with lots._reports._turn:  # nobody can go with others
        assert all(lots.report(each.attempt, whole(each), 5.0).accepted for each in given)
    assert "POST attempts/results" not in client.calls
