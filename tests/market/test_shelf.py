"""A shelf says of its asks what every rule says of each of them, whatever changes and however time passes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from prixfixe.market.rules import RULES, Conditions, Wanted, diagnose, excluding, serves_when_idle, why_not
from prixfixe.market.shelf import Shelf, Standing
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import Ask
from prixfixe.protocol.product import Product

PRODUCT = Product.parse("cpu-2x4/10m").to_bytes()
NOW, CHAIN_NOW, SILENCE, SURETY, CAP = 1_000_000.0, 5_000, 3.0, 50, 8
PEOPLE = tuple(f"0x{number:040x}" for number in range(1, 6))
WORKERS = tuple(f"0x{number:040x}" for number in range(100, 112))
CONTRACT, MATCHER = "0x" + "7" * 40, "0x" + "8" * 40

asks = st.builds(
    Ask,
    provider=st.sampled_from(PEOPLE),
    product=st.just(PRODUCT),
    price=st.integers(0, 6),
    slots=st.integers(1, 3),
    kinds=st.integers(1, 3),
    customer=st.sampled_from((ZERO_ADDRESS, *PEOPLE[:2])),
    matcher=st.sampled_from((ZERO_ADDRESS, CONTRACT, MATCHER, PEOPLE[0])),
    expiry=st.integers(CHAIN_NOW - 2, CHAIN_NOW + 8),
    era=st.integers(0, 1),
)
standings = st.builds(
    Standing,
    worker=st.sampled_from(WORKERS),
    ask=asks,
    heartbeat_at=st.sampled_from((NOW - 5, NOW - 3, NOW - 2.5, NOW - 0.1, NOW)),
    draining=st.booleans(),
    cool_until=st.sampled_from((0.0, NOW, NOW + 1, NOW + 4)),
    free_slots=st.integers(-1, 4),
    provider_free=st.sampled_from((SURETY - 1, SURETY)),
    provider_era=st.integers(0, 1),
    has=st.sampled_from((frozenset[str](), frozenset({"gvisor"}))),
    newcomer_open=st.sampled_from((None, None, 0, 4, CAP)),
)
# Mostly what nothing is wrong with, or every ask would be excluded for three reasons.
good = standings.map(
    lambda each: replace(
        each,
        ask=replace(each.ask, customer=ZERO_ADDRESS, matcher=CONTRACT, era=0, expiry=CHAIN_NOW + 8),
        heartbeat_at=NOW,
        draining=False,
        provider_free=SURETY,
        provider_era=0,
    )
)
lots = st.builds(
    Wanted,
    job=st.just(""),
    lot=st.just(0),
    customer=st.sampled_from((PEOPLE[0], PEOPLE[4], "0x" + "9" * 40)),
    product=st.just(PRODUCT),
    max_cost=st.integers(0, 7),
    disputable=st.booleans(),
    count=st.integers(1, 4),
    expiry=st.just(CHAIN_NOW + 100),
    deliver_by=st.sampled_from((CHAIN_NOW + 700, CHAIN_NOW + 1300, CHAIN_NOW + 10_000)),
    failed_on=st.sets(st.sampled_from(WORKERS), max_size=2).map(frozenset),
    kind=st.integers(1, 2),
    providers=st.none() | st.sets(st.sampled_from(PEOPLE), max_size=3).map(frozenset),
    needs=st.sampled_from((frozenset[str](), frozenset[str](), frozenset({"gvisor"}))),
)
steps = st.one_of(
    st.tuples(st.just("put"), good),
    st.tuples(st.just("put"), standings),
    st.tuples(st.just("drop"), st.sampled_from(WORKERS)),
    st.tuples(st.just("pass"), st.tuples(st.sampled_from((-1.0, 0.5, 1.0, 3.0)), st.integers(-1, 3))),
    st.tuples(st.just("quote"), lots),
)


def at(chain_time: int) -> Conditions:
    return Conditions(chain_time, CONTRACT, MATCHER, 10, SURETY, SILENCE, CAP)


@settings(max_examples=300)
@given(st.lists(steps, max_size=30), lots)
def test_it_says_what_the_rules_say_of_every_ask(history: list[tuple[str, object]], last: Wanted) -> None:
    shelf, resting = Shelf(), dict[str, Standing]()
    now, conditions = NOW, at(CHAIN_NOW)
    for step in (*history, ("quote", last)):
        match step:
            case "put", Standing() as standing:
                shelf.put(standing, conditions, now)
                resting[standing.worker] = standing
            case "drop", str() as worker:
                shelf.drop(worker)
                resting.pop(worker, None)
            case "pass", (float() as ours, int() as theirs):
                now, conditions = now + ours, at(conditions.now + theirs)
            case "quote", Wanted() as wanted:
                offered = [each.offered(now) for each in resting.values()]
                assert shelf.diagnose(wanted, conditions, now) == diagnose(wanted, offered, conditions)
                able = [
                    each
                    for each in resting.values()
                    if serves_when_idle(excluding(wanted, each.offered(now), conditions))
                ]
                in_order = sorted(able, key=lambda each: (each.ask.price, each.worker))
                assert shelf.able(wanted, conditions, now) == in_order
                assert shelf.slots == sum(max(each.free_slots, 1) for each in resting.values())
                assert shelf.least_slots == min((each.ask.slots for each in resting.values()), default=1)
                assert len(shelf) == len(resting)


@given(st.lists(standings | good, max_size=12), st.lists(lots, min_size=2, max_size=2))
def test_a_rule_that_looks_at_no_lot_says_the_same_for_every_lot(
    offered: list[Standing], wanted: list[Wanted]
) -> None:
    for rule in RULES:
        if rule.any_lot:
            for each in offered:
                one, other = (rule.holds(lot, each.offered(NOW), at(CHAIN_NOW)) for lot in wanted)
                assert one == other


def test_the_cheapest_are_of_those_that_could_serve_and_of_those_that_could_not() -> None:
    shelf = Shelf()
    for number, worker in enumerate(WORKERS):
        ask = Ask(PEOPLE[number % 5], PRODUCT, 10 + number, 1, 3, ZERO_ADDRESS, CONTRACT, CHAIN_NOW + 8, 0)
        silent = number % 5 in (0, 3)
        shelf.put(
            Standing(worker, ask, NOW - (9 if silent else 0), False, 0.0, 1, SURETY, 0), at(CHAIN_NOW), NOW
        )
    assert shelf.cheapest(1) == {PEOPLE[1], PEOPLE[0]}
    assert shelf.cheapest(2) == {PEOPLE[1], PEOPLE[2], PEOPLE[0], PEOPLE[3]}
    assert shelf.cheapest(9) == set(PEOPLE)
    assert (
        why_not(_anything(), shelf.able(_anything(), at(CHAIN_NOW), NOW)[0].offered(NOW), at(CHAIN_NOW))
        is None
    )


def _anything() -> Wanted:
    return Wanted("", 0, "0x" + "9" * 40, PRODUCT, 1000, False, 1, CHAIN_NOW + 100, CHAIN_NOW + 10_000)
