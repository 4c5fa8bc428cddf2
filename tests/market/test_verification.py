"""Which results are run again, and who lied: the arithmetic of docs/verification.md."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.errors import ConfigurationError
from prixfixe.market.verification import (
    STALE,
    WHOLE,
    Among,
    Rule,
    Verdict,
    admitted,
    among,
    commitment,
    floor,
    is_confirmed,
    is_drawn,
    liars,
    pause,
    rate,
    record,
    unlike,
    verdict,
)

UNITS = st.integers(1, 10**12)
RULE = Rule(least=20_000, trials=1)
SECRET = hashlib.sha256(b"a day").digest()


@pytest.mark.parametrize(
    ("gain", "stake", "expected"),
    [
        (0, 5_000_000, 0),
        (200_000, 5_000_000, 38_462),
        (1_200_000, 5_000_000, 193_549),
        (5_000_000, 5_000_000, 500_000),
        (200_000, 0, WHOLE),
    ],
)
def test_the_floor_is_the_gain_over_gain_and_stake(gain: int, stake: int, expected: int) -> None:
    assert floor(gain, stake) == expected


@given(UNITS, UNITS, st.integers(0, 100))
def test_no_single_lie_is_worth_anything_at_any_record(gain: int, stake: int, passed: int) -> None:
    chance = rate(gain, stake, passed, RULE)
    assert gain * (WHOLE - chance) <= stake * chance


@given(UNITS, UNITS, st.integers(0, 100), st.integers(1, 5))
def test_a_better_record_never_raises_the_rate_and_newcomers_are_always_run_again(
    gain: int, stake: int, passed: int, trials: int
) -> None:
    rule = Rule(least=20_000, trials=trials)
    now, later = rate(gain, stake, passed, rule), rate(gain, stake, passed + 1, rule)
    assert max(rule.least, floor(gain, stake)) <= later <= now <= WHOLE
    assert (now == WHOLE) >= (passed < trials)


def test_the_rate_falls_to_a_sixteenth_with_each_result_found_right() -> None:
    assert [rate(200_000, 5_000_000, passed, RULE) for passed in range(5)] == [
        WHOLE,
        62_500,
        38_462,
        38_462,
        38_462,
    ]
    assert rate(1, 5_000_000, 50, RULE) == RULE.least


def test_the_draw_keeps_its_rate_and_depends_on_secret_deal_and_opening() -> None:
    deals = [hashlib.sha256(b"%d" % number).digest() for number in range(4000)]
    drawn = sum(is_drawn(SECRET, deal, 0, 50_000) for deal in deals)
    assert 160 < drawn < 240
    again = [is_drawn(SECRET, deal, 1, 500_000) for deal in deals[:64]]
    assert again != [is_drawn(SECRET, deal, 0, 500_000) for deal in deals[:64]]
    assert again != [is_drawn(bytes(32), deal, 1, 500_000) for deal in deals[:64]]
    assert all(is_drawn(SECRET, deal, 0, WHOLE) for deal in deals)
    assert not any(is_drawn(SECRET, deal, 0, 0) for deal in deals)
    assert commitment(SECRET) == hashlib.sha256(SECRET).hexdigest()


@pytest.mark.parametrize(
    ("answers", "says", "wrong"),
    [
        ("", "again", ()),
        ("a", "right", ()),
        ("b", "again", ()),
        ("ba", "right", (0,)),
        ("bb", "wrong", ()),
        ("bc", "again", ()),
        ("bcc", "wrong", (0,)),
        ("bca", "right", (0, 1)),
        ("bcd", "unclear", ()),
    ],
)
def test_two_who_agree_decide_against_one(answers: str, says: Verdict, wrong: tuple[int, ...]) -> None:
    assert verdict("a", list(answers)) == says
    assert liars("a", list(answers), says) == wrong


def test_against_one_who_was_just_caught_one_is_enough() -> None:
    assert [verdict("a", list(answers), 1) for answers in ("b", "a")] == ["wrong", "right"]


@pytest.mark.parametrize(
    ("claimed", "answers", "true", "caught", "confirmed"),
    [
        ("a", "a", "a", False, True),
        ("a", "a", "a", True, False),
        ("a", "b", "b", True, False),
        ("a", "bb", "b", True, True),
        ("a", "bb", "b", False, True),
        ("a", "ba", "a", False, True),
    ],
)
def test_an_answer_is_confirmed_by_another_and_never_by_one_who_was_just_caught(
    claimed: str, answers: str, true: str, caught: bool, confirmed: bool
) -> None:
    assert is_confirmed(claimed, list(answers), true, caught) == confirmed


def test_a_record_that_nobody_looked_at_for_long_counts_no_more() -> None:
    assert (record(7, STALE - 1), record(7, STALE)) == (7, 0)
    assert rate(1, 5_000_000, record(7, STALE), RULE) == WHOLE


@pytest.mark.parametrize(
    ("answers", "caught", "whom"),
    [
        ([], False, "unseen"),
        ([], True, "some"),
        (["b"], False, "some"),
        ([None], False, "all"),
        (["b", None], True, "all"),
    ],
)
def test_the_first_rerun_looks_at_somebody_and_what_nobody_took_is_for_all(
    answers: list[str | None], caught: bool, whom: Among
) -> None:
    assert among(answers, caught) == whom


SEEDS = [bytes([number]) * 32 for number in range(200)]
SINCE: dict[str, int | None] = {f"p{number}": number for number in range(19)} | {"new": None}


def test_one_of_the_quarter_that_sold_most_unseen_is_looked_at() -> None:
    chosen = [admitted(SINCE, seed, "unseen") for seed in SEEDS]
    assert {len(each) for each in chosen} == {1}
    assert {each[0] for each in chosen} == {"p18", "p17", "p16", "p15", "p14"}
    # Nobody follows another each time: two liars would never decide each other's.
    assert len(set(pairwise(chosen))) == 25


def test_of_few_sellers_each_of_three_may_be_looked_at_and_a_single_one_is() -> None:
    few: dict[str, int | None] = {"a": 0, "b": 2, "c": None, "d": 5}
    assert {admitted(few, seed, "unseen") for seed in SEEDS} == {("b",), ("c",), ("d",)}
    assert admitted({"a": 0}, SEEDS[0], "unseen") == ("a",)
    assert admitted({}, SEEDS[0], "unseen") == ()


def test_new_accounts_cannot_keep_reruns_from_those_that_sold() -> None:
    crowd: dict[str, int | None] = dict.fromkeys(f"new{number}" for number in range(8))
    sold: dict[str, int | None] = {"a": 1, "b": 2, "c": 3, "idle": 0}
    assert {admitted(crowd | sold, seed, "unseen") for seed in SEEDS} == {("a",), ("b",), ("c",)}


def test_what_looks_at_nobody_is_for_three_by_chance_and_what_nobody_took_for_all() -> None:
    some = [admitted(SINCE, seed, "some") for seed in SEEDS]
    assert {len(set(each)) for each in some} == {3}
    assert {name for each in some for name in each} == set(SINCE)
    assert set(admitted(SINCE, SEEDS[0], "all")) == set(SINCE)


def test_everybodys_turn_comes_however_many_never_answer() -> None:
    since: dict[str, int | None] = dict.fromkeys((f"p{number}" for number in range(40)), 0)
    silent = {"p3", "p7", "p31"}
    answered = set()
    for seed in SEEDS:
        for name, count in since.items():
            since[name] = (count or 0) + 1
        (name,) = admitted(since, seed, "unseen")
        if name not in silent:
            since[name] = 0
            answered.add(name)
    assert answered == since.keys() - silent
    assert all((since[name] or 0) >= STALE for name in silent), "their own results are drawn, each"


@pytest.mark.parametrize("fields", [{"least": -1}, {"least": WHOLE + 1}, {"trials": 0}])
def test_a_rule_that_checks_nobody_or_more_than_all_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        Rule(**fields)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 10**6))
def test_a_canary_follows_within_its_time_at_a_moment_that_only_the_secret_tells(
    secret: bytes, within: int
) -> None:
    moments = {pause(secret, bytes([number]) * 32, 1, 10**9) for number in range(20)}
    assert len(moments) > 15
    assert 0 <= pause(secret, b"d" * 32, 1, within) < within


def test_a_canary_is_right_when_all_that_is_known_of_its_answer_is_there() -> None:
    told = {"a.csv": "1", "log.txt": "9"}
    assert unlike(told, {"a.csv": "1"}) == ()
    assert unlike(told, {"b.csv": "2", "a.csv": "0"}) == ("a.csv", "b.csv")
