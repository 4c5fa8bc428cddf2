"""One attempt through a worker that is killed at every step of it, one after the other."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from prixfixe.protocol.reports import LotReport
from tests.support.devnet import wait_for
from tests.worker.conftest import Stage
from tests.worker.lives import Step, live
from worker.journal import Journal

pytestmark = [pytest.mark.engine, pytest.mark.chain]

STEPS = (
    Step("after", "journal", "take"),
    Step("after", "hands", "create"),  # a disk and a container that nobody knows of
    Step("after", "journal", "running"),  # known, and not started
    Step("before", "journal", "ended"),  # the container is over
    Step("after", "journal", "ended"),
    Step("after", "journal", "promise"),  # not signed
    Step("after", "journal", "finished"),  # signed, and shown to nobody
    Step("after", "service", "upload"),
    Step("after", "journal", "delivered"),
    Step("after", "service", "report"),  # the service has it, and the worker does not know
    Step("after", "journal", "reported"),
)


def runners(data: Path) -> list[str]:
    """Process ids of the runners of a data folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"worker.serving" in words and str(data / "disks").encode() in words:
            found.append(place.name)
    return found


def test_it_runs_once_and_every_life_tells_the_same(stage: Stage) -> None:
    told: list[LotReport] = []
    stage.service.refuse_report = lambda report: told.append(report)
    given = stage.assign("cat /proc/sys/kernel/random/uuid > /job/outputs/mark", max_seconds=600)
    for step in STEPS:
        process = live(stage.settings, step)
        process.join(60)
        assert process.exitcode == -9, step
    with stage.worker():
        wait_for(lambda: stage.service.beats[-1].running == (), what="the end of its recovery")
    assert {report.signature for report in told} == {stage.report_of(given).signature}
    assert told[0].status == 0
    assert len(stage.service.blobs) == 1, "the program ran once"
    with closing(Journal(stage.settings.data / "journal.db")) as journal:
        row = journal.attempt(given.attempt)
        assert row is not None
        assert row.state == "reported"
    wait_for(lambda: runners(stage.settings.data) == [], what="the end of the killed workers' runners")
    data = stage.settings.data
    assert [list((data / name).iterdir()) for name in ("runs", "disks")] == [[], []]
