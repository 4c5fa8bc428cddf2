"""Figures of a worker, as Prometheus reads them."""

from __future__ import annotations

import re

import httpx
import pytest

from prixfixe.errors import ConfigurationError, Unavailable
from prixfixe.protocol.money import Money
from tests.worker.conftest import Stage
from worker.metrics import Cached, Family, Sample, dollars, number, parse_place, render, serving


def test_the_text_is_what_prometheus_reads() -> None:
    text = render(
        [
            number("slots", "How many.", 3),
            number("age_seconds", "How old.", 0.25),
            dollars("earned_dollars", "Paid.", Money(12_000_001)),
            Family("info", "Who.", (Sample("1", {"name": 'a"b\\c\nd'}),)),
        ]
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
        serving("127.0.0.1:0", list) as url,
        pytest.raises(ConfigurationError, match="cannot be served"),
        serving(str(url).split("/")[2], list),
    ):
        pass


def test_they_are_served_on_ipv6_too() -> None:
    with serving("[::1]:0", lambda: [number("slots", "How many.", 3)]) as url:
        assert str(url).startswith("http://[::1]:")
        assert "prixfixe_worker_slots 3" in httpx.get(str(url), trust_env=False).text


@pytest.mark.engine
@pytest.mark.chain
def test_a_running_worker_shows_slots_tasks_money_heartbeat_disk_and_engine(stage: Stage) -> None:
    with stage.worker(metrics="127.0.0.1:0"):
        stage.report_of(stage.assign("true"))
        stage.report_of(stage.assign("exit 3"))
        text = httpx.get(stage.facts["metrics"], trust_env=False).text
    found = dict(re.findall(r"^prixfixe_worker_(\S+) (\S+)$", text, re.MULTILINE))
    assert (found["slots"], found["engine_up"], found["free_dollars"]) == ("1", "1", "5.000000")
    assert (found['tasks{status="succeeded"}'], found['tasks{status="exited_non_zero"}']) == ("1", "1")
    assert float(found["heartbeat_age_seconds"]) < 20
    assert int(found["disk_free_bytes"]) > 0
