"""What deals say of providers: the arithmetic of docs/market.md, and what the matcher makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.market.matching import match
from prixfixe.market.reputation import DAY, MEMORY, Conduct, Grade, Leg, Outcome, Record, ranked, record
from tests.market.test_matching import CONDITIONS, WANTED, address, offered

NOW = 1_700_000_000
PROVIDER, OTHER, CUSTOMER, FRIEND = (address(number) for number in (1, 2, 3, 4))


def legs(outcome: Outcome, count: int, customers: int = 5, days: int = 0) -> list[Leg]:
    """Of so many customers in turn, so many days ago."""
    return [Leg(NOW - days * DAY, address(100 + at % customers), outcome) for at in range(count)]


def graded(*parts: list[Leg]) -> Record:
    return record(PROVIDER, [leg for part in parts for leg in part], NOW)


@pytest.mark.parametrize(
    ("parts", "score", "grade"),
    [
        ([], None, Grade.NEW),
        ([legs("paid", 9)], 10_000, Grade.NEW),
        ([legs("paid", 10)], 10_000, Grade.PROVEN),
        ([legs("paid", 19, days=7)], 10_000, Grade.NEW),
        ([legs("paid", 20, days=7)], 10_000, Grade.PROVEN),
        ([legs("paid", 90), legs("expired", 10)], 9_000, Grade.PROVEN),
        ([legs("paid", 89), legs("expired", 10)], 8_989, Grade.DOUBTFUL),
        ([legs("paid", 89), legs("unsigned", 10)], 8_989, Grade.DOUBTFUL),
        ([legs("expired", 1)], 0, Grade.DOUBTFUL),
        ([legs("expired", 1, days=7)], 0, Grade.NEW),
        ([legs("paid", 30), legs("refused", 10)], 9_230, Grade.PROVEN),
        ([legs("refused", 3)], 0, Grade.NEW),
        ([legs("refused", 4)], 0, Grade.DOUBTFUL),
        ([legs("paid", 1000), legs("guilty", 1, days=29)], 10_000, Grade.GUILTY),
        ([legs("paid", 10), legs("guilty", 1, days=31), legs("expired", 50, days=31)], 10_000, Grade.PROVEN),
    ],
)
def test_the_grade_follows_from_what_became_of_the_legs(
    parts: list[list[Leg]], score: int | None, grade: Grade
) -> None:
    found = graded(*parts)
    assert (found.score, found.grade) == (score, grade)


def test_who_buys_from_itself_does_not_buy_a_grade() -> None:
    """A thousand legs paid by one friend weigh as five, and do not hide two that expired."""
    wash = [Leg(NOW, FRIEND, "paid")] * 1000
    assert graded(wash).grade is Grade.NEW
    assert graded(wash, legs("expired", 2)).score == 10_000 * 5 // 7
    assert graded(wash, legs("expired", 2)).grade is Grade.DOUBTFUL
    honest = legs("paid", 1000)
    assert graded(honest, legs("expired", 2)).grade is Grade.PROVEN


def test_one_customer_whose_jobs_nobody_can_run_makes_nobody_doubtful() -> None:
    hopeless = [Leg(NOW, FRIEND, "refused")] * 500
    assert graded(hopeless).grade is Grade.NEW
    assert graded(hopeless, legs("paid", 10)).grade is Grade.PROVEN


outcomes = st.lists(
    st.builds(
        Leg,
        st.integers(NOW - MEMORY - DAY, NOW + DAY),
        st.sampled_from([CUSTOMER, FRIEND, OTHER]),
        st.sampled_from(["paid", "unsigned", "refused", "expired"]),
    ),
    max_size=30,
)


@given(known=outcomes, more=outcomes)
def test_a_paid_leg_never_lowers_a_score_and_an_expired_one_never_raises_it(
    known: list[Leg], more: list[Leg]
) -> None:
    before = record(PROVIDER, known, NOW)
    assert before == record(PROVIDER, known[::-1], NOW)
    paid = record(PROVIDER, known + [replace(leg, outcome="paid") for leg in more], NOW)
    expired = record(PROVIDER, known + [replace(leg, outcome="expired") for leg in more], NOW)
    if before.score is not None:
        assert paid.score is not None
        assert expired.score is not None
        assert expired.score <= before.score <= paid.score


def test_each_leg_of_a_deal_ends_as_the_events_say() -> None:
    conduct = Conduct()
    deal, again = b"d" * 32, b"e" * 32
    conduct.opened(deal, NOW, CUSTOMER, [PROVIDER, OTHER])
    assert conduct.record(PROVIDER, NOW).score is None
    conduct.expired(deal)
    conduct.opened(deal, NOW, CUSTOMER, [PROVIDER, OTHER])  # the same lot to the same legs
    conduct.settled(deal, 0b01)
    conduct.opened(again, NOW, CUSTOMER, [PROVIDER])
    conduct.refused(again)
    first, second = conduct.record(PROVIDER, NOW), conduct.record(OTHER, NOW)
    assert (first.paid, first.expired, first.refused, first.unsigned) == (1, 1, 1, 0)
    assert (second.paid, second.expired, second.refused, second.unsigned) == (0, 1, 0, 1)

    assert conduct.found_guilty(deal) == (PROVIDER, OTHER)
    assert [conduct.record(each, NOW).guilty for each in (PROVIDER, OTHER)] == [1, 0]
    assert conduct.settled(b"unknown" + bytes(25), 1) == ()

    told = ranked((conduct.record(each, NOW) for each in conduct.providers()), 7, NOW).items
    assert [str(each) for each in told] == [
        "doubtful (0.0 %): 1 unsigned, 1 expired in 30 days",
        "guilty (0.0 %): 1 refused, 1 expired, 1 guilty in 30 days",
    ]
    conduct.forget(NOW + 1)
    assert conduct.providers() == []


def test_between_equal_prices_the_better_record_comes_first_and_a_lower_price_before_both() -> None:
    proven, new, doubtful = (
        offered(10 + grade, grade=grade) for grade in (Grade.PROVEN, Grade.NEW, Grade.DOUBTFUL)
    )
    for seed in range(8):
        chosen = match(
            [replace(WANTED, replicas=3, max_cost=6_000_000)],
            [doubtful, new, proven],
            CONDITIONS,
            bytes([seed]),
        )
        assert chosen.pairs[0].offered == (proven, new, doubtful)
    cheap = offered(14, grade=Grade.DOUBTFUL, price=1_199_999)
    assert match([WANTED], [proven, cheap], CONDITIONS, b"").pairs[0].offered == (cheap,)


def test_a_guilty_provider_is_the_last_whatever_it_asks() -> None:
    guilty, dear = offered(10, grade=Grade.GUILTY, price=1), offered(11, price=2_000_000)
    assert match([WANTED], [guilty, dear], CONDITIONS, b"").pairs[0].offered == (dear,)
    assert match([WANTED], [guilty], CONDITIONS, b"").pairs[0].offered == (guilty,)
    # Nor does a customer wait for want of it: where the others are too dear together, it is taken.
    two = replace(WANTED, replicas=2, max_cost=2_500_000)
    found = match([two], [guilty, dear, offered(12, price=1_500_000)], CONDITIONS, b"")
    assert [ask.worker for ask in found.pairs[0].offered] == [guilty.worker, address(12)]
