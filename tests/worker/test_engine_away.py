"""An engine that dies under its worker: one of the test's own, on a socket and a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cage.conftest import root_file_system
from tests.support.own_bridge import own_bridge
from tests.support.own_engine import OwnEngine
from tests.worker.conftest import Stage
from worker.engine import Engine
from worker.states import read_states

pytestmark = [pytest.mark.engine, pytest.mark.chain]


@pytest.fixture
def own_engine(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("an engine of the test's own needs root and dockerd")
    with ExitStack() as stack:
        # A short path: a socket's address has at most 108 bytes.
        folder = Path(tempfile.mkdtemp(prefix="engine-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        own = OwnEngine(folder, stack.enter_context(own_bridge()))
        monkeypatch.setenv("DOCKER_HOST", own.address)
        own.start()
        stack.callback(own.stop)
        engine = Engine()
        stack.callback(engine.close)
        engine._api.import_image_from_data(root_file_system(), repository="shell", tag="1")
        stage.image = str(engine._api.inspect_image("shell:1")["Id"])
        yield own


def test_a_task_is_refused_and_the_worker_asks_again_when_its_engine_is_back(
    stage: Stage, own_engine: OwnEngine
) -> None:
    stage.service.products = (stage.buy("true").definition.limits.product,)
    with stage.worker():
        # An engine by DOCKER_HOST is as good as the usual one.
        assert stage.report_of(stage.assign("echo x > /job/outputs/x")).status == 0
        given = stage.assign("sleep 50", max_seconds=120)
        stage.service.until(lambda: any(given.attempt in beat.running for beat in stage.service.beats))
        own_engine.kill()
        stage.service.until(lambda: "engine" in str(stage.service.beats[-1].trouble), 60)
        assert stage.service.beats[-1].draining
        assert [state["name"] for state in read_states(stage.settings.data)] == ["engine-away"]
        stage.service.asks.clear()
        own_engine.start()
        report = stage.report_of(given, 60)
        assert (report.result.done, report.reason is not None and report.reason.fault) == (0, "provider")
        stage.service.until(lambda: stage.service.asks and not stage.service.beats[-1].draining, 60)
        assert read_states(stage.settings.data) == []
        assert stage.report_of(stage.assign("echo x > /job/outputs/x")).status == 0
