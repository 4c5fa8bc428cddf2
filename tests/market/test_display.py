"""The public depth, kept between looks, against a count of everything by the rules themselves."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from prixfixe.market.depth import Depth, Resting
from prixfixe.market.display import _ANY_BID, Display
from prixfixe.market.rules import is_on_the_book
from prixfixe.market.shelf import Standing
from tests.market.test_shelf import CHAIN_NOW, NOW, WORKERS, at, good, standings

bids = st.dictionaries(
    st.integers(0, 5).map(lambda number: bytes([number]) * 32),
    st.builds(Resting, st.just("bid"), st.integers(0, 6), st.integers(1, 9)),
)
steps = st.one_of(
    st.tuples(st.just("put"), good),
    st.tuples(st.just("put"), standings),
    st.tuples(st.just("drop"), st.sampled_from(WORKERS)),
    st.tuples(st.just("pass"), st.tuples(st.sampled_from((-1.0, 0.5, 1.0, 3.0)), st.integers(-1, 3))),
    st.tuples(st.just("look"), bids),
)


@settings(max_examples=60)
@given(st.lists(steps, max_size=25), bids)
def test_it_shows_what_a_count_of_all_that_rests_shows(
    history: list[tuple[str, object]], last: dict[bytes, Resting]
) -> None:
    display, resting = Display(), dict[str, Standing]()
    now, conditions = NOW, at(CHAIN_NOW)
    for step in (*history, ("look", last)):
        match step:
            case "put", Standing() as standing:
                display.put(standing.worker, standing)
                resting[standing.worker] = standing
            case "drop", str() as worker:
                display.put(worker, None)
                resting.pop(worker, None)
            case "pass", (float() as ours, int() as theirs):
                now, conditions = now + ours, at(conditions.now + theirs)
            case "look", dict() as wanted:
                display.bids(wanted)
                display.become(conditions, now)
                live = {
                    worker.encode(): Resting("ask", each.ask.price, min(each.free_slots, each.ask.slots))
                    for worker, each in resting.items()
                    if is_on_the_book(_ANY_BID, each.offered(now), conditions)
                }
                assert display.depth.all_levels() == Depth(live | wanted).all_levels()
                assert (display.live, display.resting) == (len(live), len(resting))
