"""One thing that fails holds up nothing that it has nothing to do with, and the duty is seen to fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from marketplace.store.tables import deals
from prixfixe.errors import Unavailable
from scheduler import auctioneer as auctioneer_module
from scheduler import reaper as reaper_module
from scheduler.apart import Apart
from scheduler.cleaner import Cleaner
from scheduler.verifier import Verifier
from tests.support.scheduling import Service


def test_what_follows_is_done_and_the_first_failure_is_raised_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    apart, done = Apart(), []
    for number in range(4):
        with apart:
            if number in (1, 2):
                raise KeyError(number)
            done.append(number)
    assert done == [0, 3]
    assert [record.message for record in caplog.records] == ["one more that failed in this run: KeyError: 2"]
    with pytest.raises(KeyError, match="1"):
        apart.tell()
    Apart().tell()


@pytest.mark.parametrize("error", [Unavailable("the chain is away"), KeyboardInterrupt()])
def test_what_is_out_of_reach_for_all_ends_the_run_at_once(error: BaseException) -> None:
    with pytest.raises(type(error)), Apart():
        raise error


@pytest.mark.chain
class TestTheReaper:
    def test_expires_the_deals_behind_one_that_it_cannot_look_at(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service.ready_worker(slots=2)
        for nonce in (1, 2):
            service.order(nonce=nonce)
        service.step()
        first, second = sorted(row["id"] for row in service.rows(deals))
        service.market.chain.move_to(service.rows(deals)[0]["deadline"] + 1)
        look = reaper_module.standing_of

        def broken(connection: Any, deal: str, opening: int) -> Any:
            if deal == first:
                raise KeyError("what nobody thought of")
            return look(connection, deal, opening)

        monkeypatch.setattr(reaper_module, "standing_of", broken)
        with pytest.raises(KeyError, match="nobody thought of"):
            service.reaper.run_once()
        wished = [row["arguments"]["deal"] for row in service.outbox() if row["call"] == "expire"]
        assert wished == [second]


@pytest.mark.chain
class TestTheAuctioneer:
    def test_looks_at_the_products_behind_one_that_fails(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []

        def product(_: Any, each: bytes, closes: float | None) -> float:
            seen.append(each)
            if each == b"1":
                raise KeyError("what nobody thought of")
            return 1.0

        monkeypatch.setattr(auctioneer_module.auctions, "products_wanted", lambda _: [b"1", b"2"])
        monkeypatch.setattr(auctioneer_module.Auctioneer, "_product", product)
        with pytest.raises(KeyError):
            service.auctioneer.run_once()
        assert seen == [b"1", b"2"]


@pytest.mark.chain
class TestTheVerifier:
    def test_challenges_although_a_check_cannot_be_advanced(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        challenged = []
        settings: Any = SimpleNamespace(window=600)
        chain: Any = SimpleNamespace(look=lambda: SimpleNamespace(time=1))
        buying: Any = None
        verifier = Verifier(service.store, chain, buying, settings)
        checks = [{"deal": name, "opening": 1, "canary": None} for name in ("a", "b")]
        advanced = []

        def advance(check: Any, now: int) -> None:
            advanced.append(check["deal"])
            raise KeyError(check["deal"])

        monkeypatch.setattr("marketplace.store.checks.wanted", lambda _: checks)
        monkeypatch.setattr("marketplace.store.checks.to_challenge", lambda *_: [{"id": "c", "opening": 1}])
        monkeypatch.setattr(verifier, "_decide", lambda now: None)
        monkeypatch.setattr(verifier, "_advance", advance)
        monkeypatch.setattr(verifier, "_challenge_one", challenged.append)
        with pytest.raises(KeyError, match="a"):
            verifier.run_once()
        assert (advanced, challenged) == (["a", "b"], [("c", 1)])


def test_the_cleaner_deletes_what_it_promised_to_although_other_sweeps_fail() -> None:
    swept = []

    def fails() -> int:
        raise KeyError("what nobody thought of")

    def kept() -> tuple[int, int]:
        swept.append("kept")
        return 0, 0

    sweep: Any = SimpleNamespace(sweep=fails)
    retention: Any = SimpleNamespace(sweep=kept)
    store: Any = None
    cleaner = Cleaner(store, sweep, sweep, sweep, retention)
    with pytest.raises(KeyError):
        cleaner.run_once()
    assert swept == ["kept"]
