"""What a worker says that it has is what the market's matcher compares with what a lot needs."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import select

from marketplace.wanted import COLUMNS, SOURCE, wanted_of
from prixfixe.errors import NotFound
from prixfixe.protocol.wire import Assignment, Heartbeat
from tests.support.scheduling import Service
from tests.worker.conftest import Stage

pytestmark = [pytest.mark.engine, pytest.mark.chain]


def used_by(stage: Stage, given: Assignment) -> frozenset[str]:
    """What the matcher reads of the lot of such an order: its image and inputs."""
    with closing(Service(stage.market, stage.folder)) as service:
        service.list_offer()
        service.order(manifest=given.manifest.model_dump(mode="json"))
        with service.store.read() as connection:
            row = connection.execute(select(*COLUMNS).select_from(SOURCE)).mappings().one()
    return wanted_of(row, {}, 0).uses


def told(stage: Stage) -> list[tuple[str, ...]]:
    return [beat.cached for beat in stage.service.beats if beat.cached is not None]


def beats_on(stage: Stage, more: int = 3) -> list[Heartbeat]:
    """The next heartbeats."""
    count = len(stage.service.beats)
    stage.service.until(lambda: len(stage.service.beats) >= count + more)
    return stage.service.beats[count:]


def test_after_a_run_the_heartbeat_names_its_image_and_input_as_the_matcher_does_and_once(
    stage: Stage,
) -> None:
    with stage.worker():
        stage.service.until(lambda: stage.service.beats)
        assert stage.service.beats[0].cached == (), "nothing yet, and said so"
        given = stage.assign("true", data=b"a,b\n1,2\n")
        assert stage.report_of(given).result.done == 1
        uses = used_by(stage, given)
        assert len(uses) == 2
        stage.service.until(lambda: set(told(stage)[-1]) == uses)
        assert [beat.cached for beat in beats_on(stage)] == [None, None, None], "nothing is new"


def test_a_market_that_forgot_the_worker_is_told_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage.worker():
        given = stage.assign("true")
        stage.report_of(given)
        stage.service.until(lambda: told(stage)[-1] == (given.manifest.image,))
        beats_on(stage)
        take = stage.service._beat
        known = len(stage.service.registrations)

        def forgotten(beat: Heartbeat) -> Any:
            if len(stage.service.registrations) == known:
                raise NotFound("no such worker")
            return take(beat)

        with stage.service.condition:  # between two heartbeats
            monkeypatch.setattr(stage.service, "_beat", forgotten)
            beats = len(stage.service.beats)
        stage.service.until(lambda: len(stage.service.beats) > beats)
        assert stage.service.beats[beats].cached == (given.manifest.image,)
