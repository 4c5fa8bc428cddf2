"""A job as a person reads it."""

from __future__ import annotations

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
