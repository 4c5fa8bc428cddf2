"""A lot of many tasks: a fake service over real HTTP, a real chain, a real engine."""

from __future__ import annotations

from contextlib import closing

import pytest

from prixfixe.protocol.money import Money
from prixfixe.protocol.outputs import TaskStatus, lot_root
from prixfixe.protocol.reports import TaskReport
from tests.worker.conftest import Stage
from tests.worker.killing import killed_while_running
from tests.worker.test_daemon import settle
from worker.engine import Engine
from worker.journal import Journal

pytestmark = [pytest.mark.engine, pytest.mark.chain]

TWO_SLOTS = {"slots": 2, "milli_vcpu": 1000, "memory_mib": 512, "disk_mib": 128}


def test_each_task_runs_for_itself_and_what_succeeded_is_paid_in_one_result(stage: Stage) -> None:
    """The second lot of an order of five tasks in lots of three: tasks 3 and 4, of which 4 fails."""
    script = (
        'cat /job/task.json; cp /job/inputs/table.csv "/job/outputs/$PRIXFIXE_TASK of $PRIXFIXE_TASKS";'
        " echo progress: 0.5 >&2; test $PRIXFIXE_TASK != 4 || exit 3"
    )
    with stage.worker(**TWO_SLOTS):
        given = stage.assign(script, data=b"a\n1\n", tasks=5, lot=3, lot_index=1, slots=2)
        assert given.tasks == (3, 4)
        report = stage.report_of(given)
        stage.service.until(lambda: len(stage.service.ended.get(given.attempt, {})) == 2, 60)
    good, bad = report.tasks
    assert (good.status, [file.path for file in good.outputs.files]) == (0, ["3 of 5"])
    assert (bad.status, bad.exit_code, bad.outputs.files) == (1, 3, ())
    assert bad.reason is not None
    assert "exit code 3" in bad.reason.message
    assert report.result.done == 1
    assert report.result.root == lot_root([(0, good.outputs.digest), (1, bad.outputs.digest)])
    assert stage.service.blobs[good.outputs.files[0].sha256] == b"a\n1\n"
    assert stage.service.ended[given.attempt] == {3: 0, 4: 1}
    assert '"index": 3, "count": 5' in stage.service.logs[f"{given.attempt}/3"].decode()
    assert (report.cage["task"], report.cage["network"]) == (0, "none")
    assert settle(stage, given, report) == (Money.parse("1.00").units, Money.parse("1.50").units)
    data = stage.settings.data
    assert [list((data / name).iterdir()) for name in ("runs", "kept", "disks")] == [[], [], []]


def test_as_many_run_side_by_side_as_there_are_slots_and_no_more(stage: Stage) -> None:
    with stage.worker(**TWO_SLOTS):
        given = stage.assign("sleep 1", tasks=4, lot=4, slots=2)
        report = stage.report_of(given)
    assert [task.status for task in report.tasks] == [0, 0, 0, 0]
    with closing(Journal(stage.settings.data / "journal.db")) as journal:
        assert set(journal.tasks(given.attempt)) == {0, 1, 2, 3}


def test_a_killed_worker_runs_again_only_what_had_not_ended(stage: Stage, engine: Engine) -> None:
    script = "cat /proc/sys/kernel/random/uuid > /job/outputs/mark; test $PRIXFIXE_TASK = 0 || sleep 3"
    given = killed_while_running(stage, engine, script, task=1, tasks=3, lot=3)
    journal = Journal(stage.settings.data / "journal.db")
    first = journal.tasks(given.attempt)[0]
    journal.close()
    assert first.report is not None
    before = TaskReport.model_validate_json(first.report)
    with stage.worker():
        report = stage.report_of(given)
    assert report.result.done == 3
    assert report.tasks[0] == before
    assert report.tasks[1].seconds >= 3, "its container was found again"
    assert {file.sha256 for task in report.tasks for file in task.outputs.files} == set(stage.service.blobs)


def test_a_drain_without_patience_delivers_what_is_done(stage: Stage) -> None:
    with stage.worker(drain_seconds=0.3) as daemon:
        script = "echo $PRIXFIXE_TASK > /job/outputs/n; test $PRIXFIXE_TASK = 0 || sleep 60"
        given = stage.assign(script, max_seconds=60, tasks=3, lot=3)
        stage.service.until(lambda: 0 in stage.service.ended.get(given.attempt, {}))
        daemon.stop()
        report = stage.report_of(given)
    assert [task.status for task in report.tasks] == [0, 6, 6]
    assert report.result.done == 1
    assert settle(stage, given, report)[0] == Money.parse("1.00").units


def test_a_lot_that_cannot_begin_is_refused_whole(stage: Stage) -> None:
    stage.image = "sha256:" + "ab" * 32
    with stage.worker():
        given = stage.assign("true", tasks=2, lot=2)
        report = stage.report_of(given)
    assert report.result.done == 0
    assert {task.status for task in report.tasks} == {TaskStatus.COULD_NOT_START}
    assert settle(stage, given, report) == (0, given.deal.total.units)
