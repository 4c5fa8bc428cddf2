"""A job as a person reads it."""

from __future__ import annotations

import pytest

from prixfixe.cli.jobview import follow
from prixfixe.cli.output import Progress
from prixfixe.protocol.wire import JobEvent


def test_of_three_replicas_the_log_of_one_is_shown_and_of_a_new_deal_the_new_one() -> None:
    said = [
        ("state", {"state": "running", "stage": "assigned to w1, w2, w3"}),
        ("log", {"attempt": "a", "offset": 0, "text": "first of a\n"}),
        ("log", {"attempt": "b", "offset": 0, "text": "first of b\n"}),
        ("log", {"attempt": "a", "offset": 11, "text": "second of a\n"}),
        ("state", {"state": "running", "stage": "assigned to w2"}),
        ("log", {"attempt": "c", "offset": 0, "text": "first of c\n"}),
        ("end", {"state": "settled"}),
    ]
    events = [
        JobEvent.model_validate({"id": at, "kind": kind, "data": data})
        for at, (kind, data) in enumerate(said)
    ]
    assert follow(events, Progress()) == {"first of a", "second of a", "first of c"}


def test_a_bag_of_many_tasks_is_told_by_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        JobEvent.model_validate(
            {"id": at, "kind": "state", "data": {"state": "running", "stage": f"{at} of 1000 tasks done"}}
        )
        for at in range(1, 1001)
    ]
    follow(events, Progress())
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"  {count:,} of 1,000 tasks done" for count in range(100, 1001, 100)]
