"""A provider orders its running worker about, from another terminal."""

from __future__ import annotations

import json
import logging
import logging.handlers
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from prixfixe.errors import NotFound
from prixfixe.protocol.product import Product
from tests.worker.conftest import Stage
from worker.commands import worker
from worker.notes import news, remember_version, version_before
from worker.ownlog import log_to_folder, own_lines

PRODUCT = Product(milli_vcpu=500, memory_mib=64, disk_mib=16, max_seconds=20)


def run(*words: str) -> str:
    done = CliRunner().invoke(worker, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.engine
@pytest.mark.chain
def test_a_worker_pauses_resumes_is_read_and_drains_without_losing_what_runs(stage: Stage) -> None:
    service, data = stage.service, ("--data", str(stage.folder / "worker"))
    service.products = (PRODUCT,)
    log_to_folder(stage.folder / "worker")
    handler = logging.getLogger("prixfixe.worker").handlers[-1]
    with stage.worker() as daemon:
        service.until(lambda: service.asks)
        assert json.loads(run("pause", *data, "--json")) == {"state": "pause", "running": True}
        service.until(lambda: service.beats[-1].draining)
        assert "worker resume" in str(service.beats[-1].trouble)
        given = stage.assign("echo begun; sleep 2; echo over")  # matched before the market heard of the pause
        service.until(lambda: "begun" in service.logs.get(given.attempt, b"").decode())
        assert "begun" in run("logs", given.attempt[:8], *data)
        service.asks.clear()
        run("resume", *data)
        service.until(lambda: service.asks)
        drained = threading.Thread(target=run, args=("drain", *data))
        drained.start()
        assert stage.report_of(given).result.done == 1
        drained.join(30)
        assert not drained.is_alive()
        assert service.beats[-1].draining
        daemon.stop()
    logging.getLogger("prixfixe.worker").removeHandler(handler)
    handler.close()
    refused = CliRunner().invoke(worker, ["drain", *data])
    assert getattr(refused.exception, "code", "") == "not-running"
    told = json.loads(run("schedule", *data, "--nights", "22:00-06:00", "--time-zone", "UTC", "--json"))
    assert told["schedule"] == {"begin": 1320, "end": 360, "days": [0, 1, 2, 3, 4, 5, 6], "zone": "UTC"}
    assert "around the clock" in run("schedule", *data, "--always")


def test_the_log_is_shown_from_its_end_and_followed_over_a_rotation(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        next(own_lines(tmp_path, 5, follow=False))
    logger = logging.getLogger("prixfixe.worker")
    level = logger.level
    logger.setLevel(logging.INFO)
    log_to_folder(tmp_path)
    handler = logger.handlers[-1]
    assert isinstance(handler, logging.handlers.RotatingFileHandler)
    try:
        for number in range(4):
            logger.info("line %d of attempt %s", number, "ab" if number % 2 else "cd")
        lines = own_lines(tmp_path, 2, follow=True)
        assert [next(lines)[-20:], next(lines)[-20:]] == ["line 2 of attempt cd", "line 3 of attempt ab"]
        assert [line[-20:] for line in own_lines(tmp_path, 9, follow=False, about="cd")] == [
            "line 0 of attempt cd",
            "line 2 of attempt cd",
        ]
        handler.doRollover()
        logger.info("after the rotation")
        assert next(lines).endswith("after the rotation")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def test_news_are_those_since_the_version_before(tmp_path: Path) -> None:
    text = "# Changelog\n\n## 0.3.0\n\n- c\n\n## 0.2.0\n\n- b\n\n## 0.1.0\n\n- a\n"
    assert news(text, "0.1.0") == "## 0.3.0\n\n- c\n\n## 0.2.0\n\n- b"
    assert news(text, None).endswith("- a")
    (tmp_path / "version").write_text("0.0.9\n")
    assert version_before(tmp_path) == "0.0.9"
    remember_version(tmp_path)
    remember_version(tmp_path)
    assert version_before(tmp_path) == "0.0.9"
