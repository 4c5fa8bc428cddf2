"""The market in random histories, as users get them (`prixfixe.testing.Histories`): more of them, and lives
of single orders that are struck at each of their places. Stories of the machine itself, and faults planted
for it to find, show that it can fail."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from pydantic import ValidationError

from prixfixe.protocol import wire
from prixfixe.protocol.money import Money
from prixfixe.testing import Histories
from prixfixe.testing.company import TROUBLES, Trouble
from prixfixe.testing.seller import Conduct
from scheduler.reaper import Reaper
from scheduler.relayer import Relayer

pytestmark = pytest.mark.timeout(1800)  # at full size, beside other programs

FULL = os.environ.get("PRIXFIXE_TEST_SIZE") == "full"
EACH = 1 if FULL else 97  # of how many places one is struck
PAY = Money.parse("3.00")


class Told(Histories):
    """A history that is told step by step, with one service of two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[wire.Job] = []
        self.earned: list[Money] = []
        self.happened: list[str] = []
        self.everybody = list(self.sellers)

    def at_rest(self, jobs: Sequence[wire.Job]) -> None:
        """Keeps what is asked for below."""
        self.ended = list(jobs)
        self.happened = list(self.company.happened())
        accounts = [self.contract.account(seller.provider) for seller in self.everybody]
        # Beyond what each came with.
        self.earned = [each.free + each.cur + each.prev - Money.parse("100") for each in accounts]

    def is_assigned(self) -> None:
        """What was ordered is with its workers."""
        self.does_all(0)
        for number, _ in enumerate(self.sellers):
            self.takes(number, 0)

    def each_works(self, conducts: list[Conduct]) -> None:
        """Every worker that has something in hand, in its own way, as far as it gets. Who is silent is not
        heard of again."""
        busy = [seller for seller in self.sellers if seller.running]
        for _ in range(6):
            for seller, conduct in zip(busy, conducts, strict=True):
                self.works(self.sellers.index(seller), conduct, 0)
        for seller, conduct in zip(busy, conducts, strict=True):
            if conduct == "silent":
                self.sellers.remove(seller)


@contextmanager
def told(**how: int) -> Iterator[Told]:
    """A history that comes to a good end."""
    with closing(Told()) as history:
        history.begin(**how)
        yield history
        history.teardown()


# -------------------------------------------------------------------------------------------------- histories


Histories.TestCase.settings = settings(
    max_examples=200 if FULL else 8,
    stateful_step_count=60 if FULL else 40,
    derandomize=not FULL,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # What fails in everybody's run is told as it was: to shorten it takes minutes.
    phases=[each for each in Phase if FULL or each is not Phase.shrink],
)
test_whatever_happens_in_whatever_order = Histories.TestCase


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("replicas", [1, 3] if FULL else [3])
def test_an_order_may_be_struck_anywhere_in_its_life(trouble: Trouble, replicas: int) -> None:
    struck = 0
    for place in count(0, EACH):
        with told(replicas=replicas // 2) as history:
            if replicas == 1:
                history.bids(tasks=2, lot=1, replicas=1, kind="flat", whole=False, at=0)
            history.trouble_comes(0, trouble, place)
            for _ in range(4):
                history.all_goes_on(0)
            came = sum(each.startswith(f"{trouble} at ") for each in history.company.happened())
        struck += came
        if not came:
            break
    assert struck >= 1


# ---------------------------------------------------------------------------------------------------- stories


@pytest.mark.parametrize("troubled", [False, True], ids=["kind", "troubled"])
def test_where_a_worker_is_left_every_order_is_paid(troubled: bool) -> None:
    with told() as history:
        history.bids(tasks=3, lot=1, replicas=1, kind="flat", whole=False, at=0)
        if troubled:
            history.is_assigned()
            history.time_passes(20)
            history.does_all(0)
            history.the_chain_is_reorganised(2)
            history.the_node_forgets_what_waits()
            history.is_killed(0)
            history.starts(0)
    assert [job.state for job in history.ended] == ["settled", "settled"]
    lost = "an attempt lost: worker-lost"
    assert (lost in history.happened) == troubled


@pytest.mark.parametrize(
    ("conducts", "paid", "reason"),
    [
        (["well", "well", "well"], 3, None),
        (["well", "well", "otherwise"], 2, "failed: outvoted"),
        (["otherwise", "well", "well"], 2, "failed: outvoted"),
        (["well", "well", "refuses"], 2, "failed: refused"),
        (["well", "well", "silent"], 2, "lost: worker-lost"),
    ],
)
def test_whoever_of_a_quorum_of_three_agrees_is_paid_and_who_disagrees_or_is_silent_is_not(
    conducts: list[Conduct], paid: int, reason: str | None
) -> None:
    with told(replicas=1) as history:
        history.is_assigned()
        history.each_works(conducts)
    assert [job.state for job in history.ended] == ["settled"]
    assert sorted(history.earned) == [Money(0)] * (4 - paid) + [PAY] * paid
    if reason is not None:
        assert f"an attempt {reason}" in history.happened


def test_of_three_that_all_disagree_nobody_is_paid() -> None:
    with told(replicas=1) as history:
        history.is_assigned()
        history.each_works(["otherwise", "otherwise", "otherwise"])
    assert history.happened == ["an attempt failed: no-consensus"] * 3
    assert history.earned == [Money(0)] * 4
    assert [(job.state, job.charged) for job in history.ended] == [("refunded", Money(0))]


def test_another_process_goes_on_with_what_a_killed_one_had_sent_and_not_stored() -> None:
    with told() as history:
        history.does(0, "matcher")
        history.trouble_comes(0, "killed", 10**6)
        place = next(place for place in count() if _dies_at_the_broadcast(history, place))
        assert place >= 0
        history.does_all(1)
        assert [each.alive for each in history.processes] == [False, True]
        assert history.company.unfinished()["deals"] == {"open": 1}
    assert [job.state for job in history.ended] == ["settled"]


def _dies_at_the_broadcast(history: Told, place: int) -> bool:
    """Whether the relayer's process, killed at this place of its run, had sent by then."""
    waiting = history.chain.head
    history.trouble_comes(0, "killed", place)
    history.does(0, "relayer")
    if history.chain.head > waiting:
        return True
    history.starts(0)
    return False


def test_a_leader_that_lost_its_lock_writes_nothing_any_more() -> None:
    with told() as history:
        history.does(0, "matcher")
        history.trouble_comes(0, "overtaken", 4)
        history.does(0, "relayer")
        assert any(each.startswith("overtaken") for each in history.company.happened())
        # Who was overtaken finds out before it is led again.
        assert not history.processes[0].turn("relayer")
        assert history.processes[1].turn("relayer")


def test_a_market_that_cannot_be_made_gives_the_clock_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(Histories):
        definition = MappingProxyType({"name": "no bundle"})

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    clock = time.time
    with pytest.raises(ValidationError):
        Wrong()
    assert time.time is clock
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------------- faults


def never(*_: object) -> bool:
    return False


def silence(history: Told) -> None:
    """Nobody is heard of again."""
    history.is_assigned()
    history.sellers.clear()


def loss(history: Told) -> None:
    """A match is taken back before it was read."""
    history.does(0, "matcher")
    history.does(0, "relayer")
    history.the_chain_is_reorganised(1)


@pytest.mark.parametrize(
    ("happens", "planted"),
    [
        (silence, mock.patch.object(Reaper, "run_once", return_value=1.0)),
        (loss, mock.patch.multiple(Relayer, _has_lost_any=never, _require_no_gap=never, _doubts_any=never)),
    ],
    ids=["nobody is given up", "what was taken back is not sent again"],
)
def test_a_planted_fault_is_found(happens: Callable[[Told], None], planted: Any) -> None:
    with told() as history:
        happens(history)
    with planted, pytest.raises(AssertionError, match=r"open|matching"), told() as history:
        happens(history)
