"""The ledger in Python and the compiled contract answer every call alike."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pprint import pformat

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from prixfixe.chain import artefacts
from prixfixe.protocol.ledger import ENTRY_POINTS
from prixfixe.protocol.policy import Policy
from tests.ledger.choices import Furnished
from tests.ledger.play import BARE_POLICY, POLICY
from tests.ledger.walk import Walk

# How many sequences; when set, other ones each time. Without it, always the same.
SEQUENCES_VARIABLE = "PRIXFIXE_LEDGER_SEQUENCES"
SEQUENCES = int(os.environ.get(SEQUENCES_VARIABLE, "0"))
STEPS = 60

SEEN: Counter[tuple[str, str]] = Counter()

# What a plain token, enough gas and a deployed market cannot bring about.
ELSEWHERE = {
    "MarketPolicy",  # the constructor's
    "MarketTokenAmount",  # a token that moves another amount than it was asked to
    "MarketGas",  # a batch with too little gas
    "MarketAmountTooLarge",  # a lot's 65th case: a sequence of its own
}


@pytest.mark.timeout(0 if SEQUENCES else 300)
def test_random_sequences_are_answered_alike_and_reach_every_answer() -> None:
    walk_on_random_ways()
    for entry, reason in sorted(SEEN):
        print(f"{SEEN[entry, reason]:7} {entry} {reason or 'accepted'}")
    assert {entry.__name__ for entry in ENTRY_POINTS} <= {entry for entry, reason in SEEN if not reason}
    errors = {
        error.name for error in artefacts.load("Market").errors.values() if error.name.startswith("Market")
    }
    assert errors - ELSEWHERE <= {reason for _, reason in SEEN}


# Hypothesis only finds seeds: what a sequence draws from one is even, where Hypothesis would repeat itself.
# So a sequence that fails is cut down here, step by step.
@settings(
    max_examples=SEQUENCES or 90,
    derandomize=not SEQUENCES,
    phases=(Phase.generate,),
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    seed=st.integers(0, 2**20),
    policy=st.sampled_from([POLICY, POLICY, POLICY, BARE_POLICY]),
)
def walk_on_random_ways(seed: int, policy: Policy) -> None:
    steps = list(range(STEPS))
    if (found := difference(policy, seed, steps)) is None:
        return
    for step in reversed(range(STEPS)):
        fewer = [one for one in steps if one != step]
        if (same := difference(policy, seed, fewer)) is not None:
            steps, found = fewer, same
    pytest.fail(found)


def difference(policy: Policy, seed: int, steps: list[int]) -> str | None:
    """What the two sides disagreed on, and every call up to there; None when they agreed."""
    walk = Walk(furnished(policy), policy, SEEN)
    try:
        for step in steps:
            walk.step(f"{seed}/{step}")
        walk.play.rebuild()
    except AssertionError as error:
        return f"{error}\nafter\n{pformat(walk.calls, width=110)}"
    return None


@cache
def furnished(policy: Policy) -> Furnished:
    return Furnished(policy, SEEN)
