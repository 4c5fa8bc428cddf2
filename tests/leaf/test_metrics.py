"""Figures, as Prometheus reads them."""

from __future__ import annotations

import httpx
import pytest

from prixfixe.errors import ConfigurationError, Unavailable
from prixfixe.metrics import (
    Cached,
    Family,
    Histogram,
    Sample,
    dollars,
    in_dollars,
    number,
    parse_place,
    render,
    serving,
)
from prixfixe.protocol.money import Money


def test_the_text_is_what_prometheus_reads() -> None:
    text = render(
        [
            number("slots", "How many.", 3),
            number("age_seconds", "How old.", 0.25),
            dollars("earned_dollars", "Paid.", Money(12_000_001)),
            Family("info", "Who.", (Sample("1", {"name": 'a"b\\c\nd'}),)),
        ],
        "prixfixe_worker_",
    )
    assert text.splitlines() == [
        "# HELP prixfixe_worker_slots How many.",
        "# TYPE prixfixe_worker_slots gauge",
        "prixfixe_worker_slots 3",
        "# HELP prixfixe_worker_age_seconds How old.",
        "# TYPE prixfixe_worker_age_seconds gauge",
        "prixfixe_worker_age_seconds 0.250",
        "# HELP prixfixe_worker_earned_dollars Paid.",
        "# TYPE prixfixe_worker_earned_dollars gauge",
        "prixfixe_worker_earned_dollars 12.000001",
        "# HELP prixfixe_worker_info Who.",
        "# TYPE prixfixe_worker_info gauge",
        'prixfixe_worker_info{name="a\\"b\\\\c\\nd"} 1',
    ]


def test_what_costs_a_call_is_asked_now_and_then_and_left_out_while_nobody_answers() -> None:
    now, answers = [0.0], [[number("x", "X.", 1)], Unavailable("away"), [number("x", "X.", 2)]]

    def ask() -> list[Family]:
        answer = answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    cached = Cached(ask, lambda: now[0])
    seen = []
    for now[0] in (0.0, 10.0, 20.0, 40.0):
        seen.append([family.samples[0].value for family in cached.get()])
    assert seen == [["1"], ["1"], [], ["2"]]


@pytest.mark.parametrize("text", ["9464", "localhost:", "localhost:http", "localhost:99999"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no place for metrics"):
        parse_place(text)


def test_a_place_that_is_taken_is_said() -> None:
    with (
        serving("127.0.0.1:0", list, "x_") as url,
        pytest.raises(ConfigurationError, match="cannot be served"),
        serving(str(url).split("/")[2], list, "x_"),
    ):
        pass


def test_how_long_things_took_is_told_in_rising_counts_with_their_sum() -> None:
    times = Histogram("wait_seconds", "Waits.", (0.1, 1.0))
    for seconds in (0.1, 0.5, 3.0):
        times.observe(seconds, route="/v1/jobs")
    assert render([times.family()], "").splitlines()[1:] == [
        "# TYPE wait_seconds histogram",
        'wait_seconds_bucket{route="/v1/jobs",le="0.1"} 1',
        'wait_seconds_bucket{route="/v1/jobs",le="1.0"} 2',
        'wait_seconds_bucket{route="/v1/jobs",le="+Inf"} 3',
        'wait_seconds_sum{route="/v1/jobs"} 3.600000',
        'wait_seconds_count{route="/v1/jobs"} 3',
    ]


def test_money_is_written_exactly_also_below_zero() -> None:
    assert [in_dollars(units) for units in (0, 1, -1_500_000)] == ["0.000000", "0.000001", "-1.500000"]


def test_they_are_served_on_ipv6_too() -> None:
    with serving("[::1]:0", lambda: [number("slots", "How many.", 3)], "x_") as url:
        assert str(url).startswith("http://[::1]:")
        assert "x_slots 3" in httpx.get(str(url), trust_env=False).text
