"""One of several replicas against what a service may answer: steps that repeat, quorums that are none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from prixfixe.errors import VerificationFailed
from prixfixe.keys import development_signer, sign_typed
from prixfixe.protocol.deals import Leg
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import OutputManifest, leaf, merkle_root
from prixfixe.protocol.replicas import commitment
from prixfixe.protocol.reports import LotReport, TaskReport
from prixfixe.protocol.typed_data import format_bytes32
from prixfixe.protocol.wire import Assignment, CommitRequest, OpenRequest, Reason, Round
from tests.worker.orders import DOMAIN, PROVIDER, WORKER, assignment, buy, definition, unopened_deal
from worker.client import Stopped
from worker.journal import Journal
from worker.replica import NotPaid, agree
from worker.room import Abandoned, Room

KEYS = [WORKER, development_signer(11), development_signer(12)]
LEGS = (
    Leg(PROVIDER.address, KEYS[0].address, 1),
    Leg(development_signer(5).address, KEYS[1].address, 1),
    Leg(development_signer(6).address, KEYS[2].address, 1),
)


@dataclass
class Service:
    """The service's side of a round. states: what it says, one look after the other."""

    states: list[Round]
    told: list[tuple[str, Any]] = field(default_factory=list)
    dies_at: str | None = None

    def _hear(self, step: str, what: Any) -> None:
        self.told.append((step, what))
        if step == self.dies_at:
            self.dies_at = None
            raise Stopped("killed here, after the service heard it")

    def commit(self, attempt: str, request: CommitRequest, wait: float) -> None:
        self._hear("commit", request)

    def open(self, attempt: str, request: OpenRequest, wait: float) -> None:
        self._hear("open", request)

    def round(self, attempt: str, after: str, wait_seconds: float, wait: float) -> Round:
        self._hear("round", after)
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


@dataclass
class Worker:
    """A worker's journal on disk, its assignment and its report."""

    folder: Path
    assignment: Assignment
    report: LotReport
    opened: list[Journal] = field(default_factory=list)

    def agree(self, service: Service, abandoned: threading.Event | None = None) -> Round:
        """As a fresh process would, with nothing but the journal's file."""
        journal = Journal(self.folder / "journal.db")
        self.opened.append(journal)
        room = SimpleNamespace(
            journal=journal,
            client=service,
            signer=WORKER,
            domain=DOMAIN,
            settings=SimpleNamespace(provider=PROVIDER.address),
        )
        return agree(cast(Room, room), self.assignment, self.report, 1.0, abandoned or threading.Event())

    def signatures(self, *signers: int) -> tuple[str, ...]:
        """One a leg over the report's result, by these of the keys."""
        result = self.report.result
        return tuple(
            "0x" + sign_typed(key, result, DOMAIN).hex() if at in signers else "0x"
            for at, key in enumerate(KEYS)
        )

    @property
    def kept(self) -> tuple[str, ...] | None:
        return self.opened[-1].quorum(self.assignment.attempt)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    bought = buy(definition(), now=1_900_000_000)
    deal = unopened_deal(bought, quorum=2, legs=LEGS)
    outputs = OutputManifest()
    result = Result(deal.id, merkle_root([leaf(0, 0, outputs.digest)]), 1)
    report = LotReport(
        tasks=(TaskReport(status=0, exit_code=0, seconds=1.0, outputs=outputs),),
        result=result,
        signature="0x" + sign_typed(WORKER, result, DOMAIN).hex(),
    )
    made = Worker(tmp_path, assignment(bought, deal, 1_900_000_500), report)
    yield made
    for journal in made.opened:
        journal.close()


def agreed(worker: Worker, *signers: int) -> Round:
    return Round(state="agreed", signatures=worker.signatures(*signers))


COMMITTING, OPENING = Round(state="committing"), Round(state="opening")


def test_it_commits_then_opens_then_holds_a_quorum(worker: Worker) -> None:
    service = Service([COMMITTING, OPENING, OPENING, agreed(worker, 0, 2)])
    assert worker.agree(service).state == "agreed"
    assert [step for step, _ in service.told] == ["commit", "round", "round", "open", "round", "round"]
    given, shown = service.told[0][1], next(what for step, what in service.told if step == "open")
    deal = worker.assignment.deal.id
    salted = commitment(shown.result.root, bytes.fromhex(shown.salt[2:]), PROVIDER.address, deal)
    assert given.hash == format_bytes32(salted)
    assert worker.kept == worker.signatures(0, 2), "written down before outputs are given"


@pytest.mark.parametrize("step", ["commit", "round", "open"])
def test_killed_at_any_step_it_begins_again_with_the_same_commitment(worker: Worker, step: str) -> None:
    first = Service([OPENING, agreed(worker, 0, 1)], dies_at=step)
    with pytest.raises(Stopped):
        worker.agree(first)
    second = Service([OPENING, agreed(worker, 0, 1)])
    worker.agree(second)
    assert first.told[0] == second.told[0]
    shown = [what for step, what in [*first.told, *second.told] if step == "open"]
    assert all(each == shown[0] for each in shown)


@pytest.mark.parametrize("step", ["salt", "agreed"])
def test_killed_right_after_either_write_of_its_journal_it_holds_the_same_quorum(
    worker: Worker, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = getattr(Journal, step)

    def dies(*arguments: Any) -> None:
        whole(*arguments)
        raise Stopped("killed here, with this written")

    states = [OPENING, agreed(worker, 0, 1)]
    first, second = Service(list(states)), Service(list(states))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, step, dies)
        with pytest.raises(Stopped):
            worker.agree(first)
    salt = worker.opened[-1].salt(worker.assignment.attempt)
    worker.agree(second)
    assert worker.opened[-1].salt(worker.assignment.attempt) == salt
    assert worker.kept == worker.signatures(0, 1)
    assert first.told in ([], second.told)


@pytest.mark.parametrize(
    "forge",
    [
        lambda worker: worker.signatures(0),
        lambda worker: worker.signatures(0, 1)[:2],
        lambda worker: (worker.signatures(0)[0], worker.signatures(0)[0], "0x"),
        lambda worker: (),
    ],
    ids=["too few", "a leg missing", "one key twice", "none"],
)
def test_outputs_are_not_given_for_a_quorum_that_is_none(
    worker: Worker, forge: Callable[[Worker], tuple[str, ...]]
) -> None:
    with pytest.raises(VerificationFailed):
        worker.agree(Service([Round(state="agreed", signatures=forge(worker))]))
    assert worker.kept is None


@pytest.mark.parametrize("state", ["outvoted", "split", "over"])
def test_a_result_that_does_not_count_says_why(worker: Worker, state: str) -> None:
    reason = Reason(code="its-code", message="why it is not paid")
    with pytest.raises(NotPaid, match="why it is not paid") as told:
        worker.agree(Service([OPENING, Round.model_validate({"state": state, "reason": reason})]))
    assert told.value.code == "its-code"


def test_an_attempt_that_is_given_up_waits_no_longer(worker: Worker) -> None:
    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(Abandoned):
        worker.agree(Service([COMMITTING]), abandoned)
