"""What is left of a job, by its receipt, and when it may be ordered anew."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from prixfixe.client.again import Again, undone
from prixfixe.errors import Conflict
from prixfixe.protocol import wire
from prixfixe.protocol.deals import NO_BUNDLE, Deal, Leg
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.receipt import Receipt

PROVIDERS = tuple("0x" + f"{number:040x}" for number in (1, 2, 3))


def lot(first: int, statuses: Sequence[int], outcome: str = "settled", replicas: int = 1) -> Any:
    """A deal of a bid and how its tasks ended."""
    legs = tuple(Leg(each, each, 1) for each in PROVIDERS[:replicas])
    deal = Deal(b"o" * 32, PROVIDERS[0], NO_BUNDLE, 0, len(statuses), 1, False, 1, 0, legs)
    tasks = [SimpleNamespace(index=first + at, status=status) for at, status in enumerate(statuses)]
    return SimpleNamespace(outcome=outcome, deal=deal, tasks=tasks)


def receipt(tasks: int, *lots: Any, quote: Any = None) -> Receipt:
    return Receipt.model_construct(order=SimpleNamespace(tasks=tasks), lots=lots, quote=quote)


def bag(tasks: int) -> wire.BidQuote:
    manifest = JobManifest(
        image="sha256:" + "1" * 64, command=("true",), inputs=(), determinism="none", tasks=tasks
    )
    return wire.BidQuote.model_construct(manifest=manifest)


def refused(given: Receipt, monkeypatch: pytest.MonkeyPatch) -> Conflict:
    def answered(*_: Any) -> Any:
        yield from ()
        return given

    monkeypatch.setattr(Again, "ask_signed_in", answered)
    with pytest.raises(Conflict) as error:
        next(Again.__new__(Again).quote_rest("0x1"))
    return error.value


def test_left_is_what_nobody_was_paid_for() -> None:
    of_one = receipt(7, lot(0, (0, 1, 0)), lot(3, (0, 0), "refused"), lot(3, (0, 2)))
    assert undone(of_one) == (1, 4, 5, 6)
    of_three = receipt(3, lot(0, (0, 1, 6), replicas=3))
    assert undone(of_three) == (2,), "replicas are paid for a program that fails, not for one that never ran"


def test_a_part_of_a_plain_bag_is_not_ordered_anew_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(receipt(3, lot(0, (0, 1, 0)), quote=bag(3)), monkeypatch)
    assert error.code == "indexes-restart"
    assert "task 0 would be what task 1 was" in error.message
    assert error.values["tasks"] == [1]


def test_what_is_done_or_of_a_bundle_is_not_ordered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(receipt(2, lot(0, (0, 0)), quote=bag(2)), monkeypatch).code == "nothing-left"
    assert refused(receipt(1, lot(0, (0,)), quote=object()), monkeypatch).code == "not-a-bid"
