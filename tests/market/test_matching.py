"""Who gets a lot, and what the others are told. Pure: no store, no chain, no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.market.matching import match
from prixfixe.market.reputation import Grade
from prixfixe.market.rules import (
    RULES,
    Conditions,
    Offered,
    Wanted,
    diagnose,
    explain,
    why_not,
)
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import Ask
from prixfixe.protocol.product import Product

PRODUCT = Product.parse("cpu-2x4/10m").to_bytes()
OTHER = Product.parse("cpu-1x1/10m").to_bytes()


def address(number: int) -> str:
    return "0x" + f"{number:040d}"


MARKET, OPERATOR, CUSTOMER = address(1), address(2), address(3)
CONDITIONS = Conditions(
    now=1_000_000, contract=MARKET, matcher=OPERATOR, grace=4, surety=5_000_000, heartbeat_seconds=3.0
)
WANTED = Wanted(
    job="0x" + "aa" * 32,
    lot=0,
    customer=CUSTOMER,
    product=PRODUCT,
    max_cost=2_000_000,
    disputable=True,
    count=1,
    expiry=1_003_600,
    deliver_by=1_007_200,
)


def offered(number: int = 10, **changes: object) -> Offered:
    ask = Ask(
        provider=address(number + 100),
        product=PRODUCT,
        price=1_200_000,
        slots=1,
        kinds=2,
        customer=ZERO_ADDRESS,
        matcher=MARKET,
        expiry=1_000_300,
        era=0,
    )
    of_ask = {name: value for name, value in changes.items() if name in Ask.__dataclass_fields__}
    of_worker = {name: value for name, value in changes.items() if name not in of_ask}
    fresh = Offered(
        worker=address(number),
        ask=replace(ask, **of_ask),  # type: ignore[arg-type]
        silent_seconds=0.5,
        draining=False,
        cooling=False,
        free_slots=1,
        provider_free=5_000_000,
        provider_era=0,
    )
    return replace(fresh, **of_worker)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"product": OTHER}, "for another product"),
        ({"kinds": 1}, "not for bundles"),
        ({"customer": address(99)}, "for another customer"),
        ({"matcher": address(99)}, "for another market's operator"),
        ({"provider": CUSTOMER}, "the customer's own"),
        ({"price": 2_000_001}, "above the price"),
        ({"price": 0}, "at zero, which a disputable bundle refuses"),
        ({"silent_seconds": 3.1}, "heartbeat lost"),
        ({"draining": True}, "draining"),
        ({"expiry": 999_999}, "ask expired"),
        ({"provider_era": 1}, "ask cancelled by its provider"),
        ({"provider_free": 4_999_999}, "without the surety"),
        ({"cooling": True}, "cooling down after a failure"),
        ({"free_slots": 0}, "busy"),
    ],
)
def test_each_rule_excludes_an_ask_and_says_why(changes: dict[str, object], reason: str) -> None:
    assert why_not(WANTED, offered(), CONDITIONS) is None
    assert why_not(WANTED, offered(**changes), CONDITIONS) == reason


def test_the_deadline_that_the_contract_would_give_must_be_within_the_promise() -> None:
    # now + 4 of grace + 600 of run time
    assert why_not(replace(WANTED, deliver_by=1_000_604), offered(), CONDITIONS) is None
    late = replace(WANTED, deliver_by=1_000_603)
    assert why_not(late, offered(), CONDITIONS) == "too slow for the promised time"


def test_a_lot_of_many_tasks_takes_as_many_rounds_as_the_slots_leave() -> None:
    lot = replace(WANTED, count=3, deliver_by=1_000_000 + 4 + 600)
    assert why_not(lot, offered(slots=3, free_slots=3), CONDITIONS) is None
    assert why_not(lot, offered(slots=3, free_slots=2), CONDITIONS) == "busy"
    assert why_not(lot, offered(slots=2, free_slots=2), CONDITIONS) == "too slow for the promised time"


def test_a_worker_that_failed_the_lot_is_out_and_one_that_was_lost_on_it_is_the_last_choice() -> None:
    cheap, dear = offered(10, price=1), offered(11, price=2)
    failed = replace(WANTED, failed_on=frozenset({cheap.worker}))
    assert match([failed], [cheap, dear], CONDITIONS, b"").pairs[0].offered == (dear,)
    lost = replace(WANTED, lost_on=frozenset({cheap.worker}))
    assert match([lost], [cheap, dear], CONDITIONS, b"").pairs[0].offered == (dear,)
    assert match([lost], [cheap], CONDITIONS, b"").pairs[0].offered == (cheap,)


def test_a_lot_is_tried_again_with_another_provider_first_and_with_the_same_rather_than_not_at_all() -> None:
    lot = replace(WANTED, tried=frozenset({address(110)}))
    same, other = offered(10), offered(11, price=1_900_000)
    assert match([lot], [same, other], CONDITIONS, b"").pairs[0].offered == (other,)
    assert match([lot], [same], CONDITIONS, b"").pairs[0].offered == (same,)


def test_who_has_the_image_and_inputs_is_taken_among_equal_prices_and_grades_only() -> None:
    lot = replace(WANTED, uses=frozenset({"image", "input"}))
    some, all_of_it = (
        offered(10, cached=frozenset({"image"})),
        offered(11, cached=frozenset({"image", "input"})),
    )
    for seed in (b"", b"1", b"2", b"3"):
        assert match([lot], [offered(12), some, all_of_it], CONDITIONS, seed).pairs[0].offered == (all_of_it,)
    cheaper = offered(12, price=1_199_999)
    assert match([lot], [cheaper, all_of_it], CONDITIONS, b"").pairs[0].offered == (cheaper,)
    better = offered(12, grade=Grade.PROVEN)
    assert match([lot], [better, all_of_it], CONDITIONS, b"").pairs[0].offered == (better,)


def test_what_workers_say_they_have_does_not_choose_who_checks_whom() -> None:
    lot = replace(WANTED, uses=frozenset({"image"}), replicas=2, max_cost=9_000_000)
    has = [offered(number, cached=frozenset({"image"})) for number in (10, 11)]
    asks = [*has, *(offered(number) for number in range(12, 20))]
    chosen = {
        each.worker
        for seed in range(20)
        for each in match([lot], asks, CONDITIONS, bytes([seed])).pairs[0].offered
    }
    assert len(chosen) > len(has)


def test_a_lot_that_failed_on_every_worker_is_told_apart_from_one_that_others_could_take_later() -> None:
    lot = replace(WANTED, failed_on=frozenset({address(10)}))
    assert match([lot], [offered(10)], CONDITIONS, b"").spent == (lot,)
    assert match([lot], [offered(10), offered(11, cooling=True)], CONDITIONS, b"").spent == ()
    assert match([lot], [], CONDITIONS, b"").spent == ()


def test_the_reason_counts_every_ask_of_the_product() -> None:
    asks = [offered(10, price=3_000_000), offered(11, price=2_500_000), offered(12, silent_seconds=60.0)]
    waiting = match([WANTED], [*asks, offered(13, product=OTHER)], CONDITIONS, b"").waiting
    assert waiting == ((WANTED, "3 asks: 2 above the price, 1 heartbeat lost"),)


def test_without_any_ask_nobody_offers_the_product() -> None:
    assert match([WANTED], [], CONDITIONS, b"").waiting[0][1] == "no worker offers this product"
    assert explain([RULES[0].reason]) == "no worker offers this product"


def test_a_quote_counts_providers_that_are_only_busy_and_each_once() -> None:
    asks = [offered(10), offered(11, free_slots=0), offered(12, price=3_000_000)]
    assert diagnose(WANTED, asks, CONDITIONS).providers == 2


def test_the_nearest_miss_says_what_would_admit_it() -> None:
    dear = offered(10, price=2_100_000)
    dear_and_lost = offered(11, price=2_000_001, silent_seconds=60.0)
    asks = [dear, dear_and_lost, offered(12, price=9_000_000), offered(13, product=OTHER), offered(14)]
    why = diagnose(WANTED, asks, CONDITIONS)
    assert (why.asks, why.able, str(why)) == (4, 1, "3 asks: 3 above the price")
    assert why.nearest == "above the price: at $2.10 a task instead of $2.00 it would do"
    lost = diagnose(WANTED, [dear_and_lost], CONDITIONS).nearest
    assert lost is not None
    assert "it comes back when its worker answers again" in lost
    assert diagnose(WANTED, [], CONDITIONS).nearest is None


@pytest.mark.parametrize(
    ("lot", "ask", "way_out"),
    [
        (replace(WANTED, deliver_by=1_000_600), offered(), "with 4 s more to deliver"),
        (WANTED, offered(provider_free=4_000_000), "lacks $1.00"),
        (WANTED, offered(provider=CUSTOMER), "buy with another account"),
    ],
)
def test_each_way_out_names_its_figures(lot: Wanted, ask: Offered, way_out: str) -> None:
    nearest = diagnose(lot, [ask], CONDITIONS).nearest
    assert nearest is not None
    assert way_out in nearest


def test_equal_prices_are_decided_by_the_seed_and_not_by_the_order_of_the_asks() -> None:
    asks = [offered(number) for number in range(10, 20)]
    forwards = match([WANTED], asks, CONDITIONS, b"seed").pairs[0].offered[0].worker
    assert match([WANTED], asks[::-1], CONDITIONS, b"seed").pairs[0].offered[0].worker == forwards
    chosen = {match([WANTED], asks, CONDITIONS, bytes([n])).pairs[0].offered[0].worker for n in range(40)}
    assert len(chosen) > 3, "another seed, another winner"


def test_a_lot_that_its_customer_cannot_pay_waits_and_leaves_the_slot_to_the_next() -> None:
    poor, rich = replace(WANTED, cost=2_000_000), replace(WANTED, lot=1, customer=address(4), cost=2_000_000)
    purses = {CUSTOMER: 1_999_999, address(4): 3_000_000}
    found = match([poor, rich, replace(rich, lot=2)], [offered(10), offered(11)], CONDITIONS, b"", purses)
    assert [pair.wanted for pair in found.pairs] == [rich]
    assert [why for _, why in found.waiting] == ["its customer's account cannot pay it"] * 2


asks_of_all_kinds = st.lists(
    st.builds(
        lambda price, slots, silent: {"price": price, "free_slots": slots, "silent_seconds": silent},
        st.integers(0, 3_000_000),
        st.integers(0, 3),
        st.sampled_from([0.0, 1.0, 60.0]),
    ),
    max_size=8,
)


@given(asks=asks_of_all_kinds, lots=st.integers(0, 12), seed=st.binary(max_size=4))
def test_every_lot_is_matched_once_or_told_why_and_no_worker_gets_more_than_its_slots(
    asks: list[dict[str, object]], lots: int, seed: bytes
) -> None:
    resting = [offered(10 + number, **changes) for number, changes in enumerate(asks)]
    wanted = [replace(WANTED, lot=index) for index in range(lots)]
    found = match(wanted, resting, CONDITIONS, seed)
    served = [pair.wanted for pair in found.pairs]
    assert sorted(lot.lot for lot in [*served, *(lot for lot, _ in found.waiting)]) == list(range(lots))
    for ask in resting:
        taken = sum(pair.offered[0].worker == ask.worker for pair in found.pairs)
        assert taken <= ask.free_slots
    for pair in found.pairs:
        assert why_not(pair.wanted, pair.offered[0], CONDITIONS) is None
    # In their order of arrival, lots get dearer and dearer workers: nobody later is served more cheaply.
    prices = [pair.offered[0].ask.price for pair in found.pairs]
    assert prices == sorted(prices)
    # A lot waits only when every fitting slot is taken.
    fitting = sum(ask.free_slots for ask in resting if why_not(WANTED, ask, CONDITIONS) is None)
    assert len(found.pairs) == min(lots, fitting)


class TestReplicas:
    """A lot of three replicas."""

    THREE = replace(WANTED, replicas=3, max_cost=6_000_000)

    def test_the_three_cheapest_of_distinct_providers_serve_it_together(self) -> None:
        asks = [offered(number, price=1_000_000 + number) for number in (10, 11, 12, 13)]
        second_of_ten = offered(14, provider=address(110), price=1)
        pair = match([self.THREE], [*asks, second_of_ten], CONDITIONS, b"").pairs[0]
        assert [ask.worker for ask in pair.offered] == [address(14), address(11), address(12)]

    def test_two_are_not_enough_and_the_reason_says_so(self) -> None:
        asks = [offered(10), offered(11), offered(12, draining=True)]
        found = match([self.THREE], asks, CONDITIONS, b"")
        assert found.pairs == ()
        assert found.waiting[0][1] == "3 providers are needed and 2 could take it; 1 ask: 1 draining"

    def test_what_they_cost_together_stays_within_the_most(self) -> None:
        asks = [offered(number, price=2_000_001) for number in (10, 11, 12)]
        assert match([self.THREE], asks, CONDITIONS, b"").waiting[0][1] == (
            "the best 3 asks together are above the price"
        )
        assert match([replace(self.THREE, max_cost=6_000_003)], asks, CONDITIONS, b"").pairs

    def test_each_of_them_gives_a_slot_and_a_lot_that_waits_gives_none(self) -> None:
        asks = [offered(10), offered(11), offered(12, free_slots=2)]
        one = replace(WANTED, lot=1)
        found = match([self.THREE, self.THREE, one], asks, CONDITIONS, b"")
        assert [pair.wanted for pair in found.pairs] == [self.THREE, one]
        assert found.pairs[1].offered[0].worker == address(12)


def test_a_newcomer_gets_no_more_than_its_cap_at_once_in_one_round_or_many() -> None:
    capped = replace(CONDITIONS, newcomer_cap=3_000_000)
    ask = replace(offered(), free_slots=9, newcomer_open=0)
    wanted = [replace(WANTED, lot=lot) for lot in range(3)]
    told = match(wanted, [ask], capped, b"")
    assert [pair.wanted.lot for pair in told.pairs] == [0, 1], "a third would make $3.60"
    assert [why for _, why in told.waiting] == ["1 ask: 1 a newcomer with enough under way"]
    proven = replace(ask, newcomer_open=None)
    assert len(match(wanted, [proven], capped, b"").pairs) == 3
    full = replace(ask, newcomer_open=2_000_000)
    nearest = diagnose(WANTED, [full], capped).nearest or ""
    assert "it takes $3.00 at once until it has a record, and $2.00 is under way" in nearest
