"""What an arbiter concludes: guilt needs proof, doubt acquits, and what could not be seen is not judged."""

from __future__ import annotations

import pytest

from prixfixe.protocol.disputes import Claim, Ground
from prixfixe.protocol.outputs import TaskStatus, leaf, merkle_root
from worker.judging import Rerun, judge_count, judge_missing, judge_wrong

HONEST, LIE, OTHER = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
CLAIM = Claim(Ground.WRONG, 4, TaskStatus.SUCCEEDED, HONEST)


def ran(digest: bytes, status: TaskStatus = TaskStatus.SUCCEEDED) -> Rerun:
    return Rerun(status, digest)


@pytest.mark.parametrize(
    ("runs", "guilty"),
    [
        ([ran(HONEST)], False),
        ([ran(LIE)], None),
        ([ran(LIE), ran(LIE)], True),
        ([ran(LIE), ran(HONEST)], False),
        ([ran(LIE), ran(OTHER)], False),
        ([ran(HONEST, TaskStatus.EXITED_NON_ZERO)] * 2, True),
        ([ran(LIE, TaskStatus.OUT_OF_TIME)], None),
        ([ran(LIE), ran(LIE, TaskStatus.OUT_OF_MEMORY)], None),
    ],
)
def test_two_runs_that_agree_with_each_other_and_not_with_the_leaf_are_proof(
    runs: list[Rerun], guilty: bool | None
) -> None:
    assert judge_wrong(CLAIM, runs).guilty is guilty


@pytest.mark.parametrize(
    ("missing", "waited", "guilty"),
    [([], 0, False), (["a.csv"], 299, None), (["a.csv"], 300, True), ([], 9999, False)],
)
def test_a_missing_output_may_still_be_brought_for_a_while(
    missing: list[str], waited: float, guilty: bool | None
) -> None:
    assert judge_missing(missing, waited, 300).guilty is guilty


@pytest.mark.parametrize(("done", "guilty"), [(2, False), (3, True)])
def test_a_count_is_taken_from_the_leaves(done: int, guilty: bool) -> None:
    leaves = [(0, HONEST), (1, OTHER), (0, LIE)]
    root = merkle_root([leaf(at, status, digest) for at, (status, digest) in enumerate(leaves)])
    assert judge_count(leaves, root, done).guilty is guilty


def test_leaves_that_are_not_under_the_root_say_nothing() -> None:
    assert judge_count([(0, HONEST)], b"\x09" * 32, 1).guilty is None
    assert judge_count([], b"\x09" * 32, 1).guilty is None
