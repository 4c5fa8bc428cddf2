"""`scripts/bench verify` judges each kind of liars by itself: no kind makes up for another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from benchmarks.town import DOLLAR, Person
from benchmarks.verify import (
    GOAL_OVERHEAD,
    GOAL_UNSEEN,
    RERUNS,
    WAYS,
    Market,
    judged,
    kind,
    main,
    measured,
)
from prixfixe.market.verification import WHOLE, Rule


def liars(way: str, unseen: Sequence[int]) -> list[Person]:
    return [Person(f"{way} {at}", way, lies=count + 1, unseen=count) for at, count in enumerate(unseen)]


def days(unseen: Mapping[str, Sequence[int]], overhead: float = 0.05, worth: float = -1.0) -> dict[str, Any]:
    kinds = {way: kind(liars(way, unseen.get(way, [0] * 5)), worth) for way in WAYS}
    return {"kinds": kinds, "overhead": overhead}


@pytest.mark.parametrize("way", WAYS)
def test_one_kind_above_the_goal_misses_it_however_many_others_were_caught(way: str) -> None:
    said = judged(days({way: [100, 3, 1, 0, 0]}))  # 5.2 each, were all twenty taken together
    assert (said["value"], said["goal"], said["ok"]) == (20.8, GOAL_UNSEEN, False)
    assert judged(days({way: [100, 0, 0, 0, 0]}))["ok"]


def test_who_never_lied_to_a_customer_is_not_counted_among_the_liars_of_a_kind() -> None:
    people = [*liars("always", [30, 12]), *(Person(f"caught {number}", "always") for number in range(3))]
    counted = kind(people, -1.0)
    assert (counted["providers"], counted["lied"], counted["unseen"]) == (5, 2, 42)
    assert (counted["unseen_mean"], counted["unseen_most"]) == (21.0, 30)


def test_few_wrong_results_do_not_excuse_dear_checks_or_lies_that_pay() -> None:
    assert judged(days({}, GOAL_OVERHEAD))["ok"]
    assert not judged(days({}, GOAL_OVERHEAD + 0.001))["ok"]
    assert not judged(days({}, worth=0.01))["ok"]


def test_the_last_line_is_of_the_worst_kind_and_the_table_has_every_kind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--tasks", "400", "--least", "0"])
    told, table = capsys.readouterr()
    said = json.loads(told.splitlines()[-1])
    assert said["name"] == "verify"
    assert said["goal"] == GOAL_UNSEEN
    assert said["value"] == max(each["unseen_mean"] for each in said["kinds"].values())
    assert said["ok"] == judged(said)["ok"]
    assert [line.split()[0] for line in table.splitlines()[1:5]] == list(WAYS)


@pytest.mark.parametrize("reruns", RERUNS)
def test_the_market_that_only_counts_comes_to_what_the_contract_comes_to(reruns: str) -> None:
    def told(*, counted: bool) -> dict[str, Any]:
        # All is drawn, so that the ids of deals decide nothing.
        rule, cent = Rule(least=WHOLE), DOLLAR // 100
        market = Market(5 * DOLLAR, 86_400, rule, 120, 3, reruns, spread=2 * cent, counted=counted)
        return {**measured(market), "seconds": None}

    said = told(counted=True)
    assert said == told(counted=False)
    assert said["challenges"] > 0
    assert said["above"] > 0
