"""A worker whose engine is behind an address: TLS both ways, and none of our folders asked for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cage.conftest import root_file_system
from tests.support.own_bridge import own_bridge
from tests.support.own_engine import OwnEngine, make_certificates
from tests.worker.conftest import Stage
from worker.commands import worker
from worker.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.chain]


@pytest.fixture
def elsewhere(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """As another machine's engine, reached by DOCKER_HOST; it has the image of the stage."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None or shutil.which("openssl") is None:
        pytest.skip("an engine of the test's own needs root, dockerd and openssl")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="engine-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        tls = folder / "tls"
        tls.mkdir()
        make_certificates(tls)
        own = OwnEngine(folder, stack.enter_context(own_bridge()), tls)
        own.start()
        stack.callback(own.stop)
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{own.port}")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tls))
        engine = Engine()
        stack.callback(engine.close)
        engine._api.import_image_from_data(root_file_system(), repository="shell", tag="1")
        stage.image = str(engine._api.inspect_image("shell:1")["Id"])
        yield engine
        assert engine._api.containers(all=True) == []
        assert (engine._api.volumes()["Volumes"] or []) == []


def test_it_runs_tasks_there_also_after_its_runner_was_killed_and_a_check_says_how(
    stage: Stage, elsewhere: Engine
) -> None:
    words = ["check", "--image", stage.image, "--data", str(stage.folder / "check"), "--json"]
    told = CliRunner().invoke(worker, words, catch_exceptions=False).output
    verdicts = {line["check"]: line["verdict"] for line in map(json.loads, told.splitlines())}
    assert {verdicts[name] for name in ("disk", "carried", "job", "outputs", "tmp", "user")} == {"ok"}, told
    with stage.worker() as daemon:
        assert stage.facts["scratch"] == "carried"
        assert "secrets" not in stage.service.registrations[-1].resources.capabilities
        script = "cp /job/inputs/table.csv /job/outputs/x; echo begun; sleep 4; echo ended"
        given = stage.assign(script, data=b"a\n1\n", max_seconds=60)
        stage.service.until(lambda: stage.service.logs.get(given.attempt, b"").startswith(b"begun"), 60)
        (task,) = (
            each for each in elsewhere.labelled("prixfixe.attempt", given.attempt)
            if elsewhere._api.inspect_container(each)["Name"].endswith("-0")
        )  # fmt: skip
        asked = elsewhere._api.inspect_container(task)
        assert {each["Type"] for each in asked["HostConfig"]["Mounts"]} == {"volume"}
        assert str(stage.folder) not in json.dumps(asked)
        assert daemon.runner_pid is not None
        os.kill(daemon.runner_pid, signal.SIGKILL)
        report = stage.report_of(given, 90)
        assert report.status == 0, report
        assert stage.service.blobs[report.tasks[0].outputs.files[0].sha256] == b"a\n1\n"
        assert stage.service.logs[given.attempt] == b"begun\nended\n"
        assert "in memory" in report.cage["disk"]
        refused = stage.report_of(stage.assign("ln -s /etc/passwd /job/outputs/l"), 90)
        assert (refused.status, refused.reason is not None and refused.reason.code) == (4, "output-not-plain")
