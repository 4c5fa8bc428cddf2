"""When replicas agree, when they cannot, and when nobody may copy any more. Pure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.market.quorum import Replica, agreed_root, all_committed, is_possible, is_split
from prixfixe.protocol.replicas import quorum_of

WORKING = Replica("w")
COMMITTED = Replica("w", committed=True)
GONE = Replica("w", gone=True)


def opened(root: str) -> Replica:
    return replace(COMMITTED, root=root)


@pytest.mark.parametrize(("replicas", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (16, 9)])
def test_a_quorum_is_a_majority_and_of_one_or_two_all(replicas: int, quorum: int) -> None:
    assert quorum_of(replicas) == quorum


def test_opening_waits_for_everybody_who_could_still_copy() -> None:
    assert not all_committed([COMMITTED, COMMITTED, WORKING], 2)
    assert all_committed([COMMITTED, COMMITTED, GONE], 2)
    assert all_committed([COMMITTED, COMMITTED, COMMITTED], 2)


def test_opening_does_not_begin_with_fewer_than_must_agree() -> None:
    assert not all_committed([COMMITTED, GONE, GONE], 2)
    assert not all_committed([COMMITTED, replace(COMMITTED, gone=True), GONE], 2)


def test_two_of_three_agree_whatever_the_third_says() -> None:
    for third in (COMMITTED, GONE, opened("b"), opened("a")):
        assert agreed_root([opened("a"), third, opened("a")], 2) == "a"


def test_different_answers_are_split_only_when_nobody_is_left_to_decide() -> None:
    assert not is_split([opened("a"), opened("b"), COMMITTED], 2)
    assert is_split([opened("a"), opened("b"), opened("c")], 2)
    assert is_split([opened("a"), opened("b"), GONE], 2)


def test_falling_silent_is_no_split() -> None:
    lonely = [opened("a"), GONE, GONE]
    assert not is_split(lonely, 2)
    assert not is_possible(lonely, 2)


def test_what_was_opened_counts_although_its_worker_is_gone() -> None:
    assert agreed_root([opened("a"), replace(opened("a"), gone=True), GONE], 2) == "a"


@given(
    st.lists(
        st.builds(
            Replica,
            key=st.just("w"),
            committed=st.just(True),
            root=st.sampled_from([None, "a", "b", "c"]),
            gone=st.booleans(),
        ),
        min_size=1,
        max_size=7,
    )
)
def test_agreed_split_and_open_exclude_each_other(replicas: list[Replica]) -> None:
    quorum = quorum_of(len(replicas))
    root = agreed_root(replicas, quorum)
    if root is not None:
        assert sum(replica.root == root for replica in replicas) >= quorum
        assert is_possible(replicas, quorum)
    if is_split(replicas, quorum):
        assert root is None
        assert len({replica.root for replica in replicas} - {None}) > 1
