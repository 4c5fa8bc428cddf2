"""Figures of a running worker."""

from __future__ import annotations

import json
import logging
import re
from io import StringIO

import httpx
import pytest

from prixfixe.logs import formatter
from tests.worker.conftest import Stage


@pytest.mark.engine
@pytest.mark.chain
def test_a_running_worker_shows_slots_tasks_money_heartbeat_disk_and_engine(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "prixfixe.worker")
    log = StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(formatter("json", ""))
    logging.getLogger("prixfixe.worker").addHandler(handler)
    with stage.worker(metrics="127.0.0.1:0"):
        given = stage.assign("true")
        stage.report_of(given)
        stage.report_of(stage.assign("exit 3"))
        text = httpx.get(stage.facts["metrics"], trust_env=False).text
    found = dict(re.findall(r"^prixfixe_worker_(\S+) (\S+)$", text, re.MULTILINE))
    assert (found["slots"], found["engine_up"], found["free_dollars"]) == ("1", "1", "5.000000")
    assert (found['tasks{status="succeeded"}'], found['tasks{status="exited_non_zero"}']) == ("1", "1")
    assert float(found["heartbeat_age_seconds"]) < 20
    assert int(found["disk_free_bytes"]) > 0
    # The order's own id, by which its customer and the market know it, is in what the worker says of it.
    logging.getLogger("prixfixe.worker").removeHandler(handler)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    named = {"job": "0x" + given.deal.order.hex(), "attempt": given.attempt}
    said = [line["message"] for line in lines if line.items() >= named.items()]
    assert said[0] == f"attempt {given.attempt}: taken, 1 task(s)"
    assert f"attempt {given.attempt}: reported, 1 of 1 done" in said
