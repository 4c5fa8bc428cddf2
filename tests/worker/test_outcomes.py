"""How a run ended, in status and words."""

from __future__ import annotations

import json

import pytest

from prixfixe.protocol.outputs import TaskStatus
from prixfixe.protocol.wire import Reason
from worker.containers import Run
from worker.outcomes import Limits, could_not_start, judge, shortened

LIMITS = Limits(seconds=60, memory_mib=512, disk_mib=100)


@pytest.mark.parametrize(
    ("run", "status", "fault", "says"),
    [
        (Run(1, 1.0, last_line="Traceback"), 1, "platform", "exit code 1: Traceback"),
        (Run(137, 1.0, oom_killed=True), 2, "platform", "512 MiB"),
        (Run(1, 1.0, oom_killed=True), 2, "platform", "512 MiB"),
        (Run(137, 60.0, stopped_for="time"), 3, "platform", "60 seconds"),
        (Run(0, 60.0, stopped_for="time"), 3, "platform", "60 seconds"),
        (Run(137, 1.0, stopped_for="log"), 4, "platform", "printed more"),
        (Run(137, 1.0, stopped_for="disk"), 4, "platform", "100 MiB"),
        (Run(64, 1.0), 5, "customer", "parameters"),
        (Run(65, 1.0, last_line="bad row"), 5, "customer", "input: bad row"),
        (Run(137, 1.0), 1, "provider", "killed on the worker's machine"),
        (Run(137, 1.0, stopped_for="drain"), 6, "provider", "worker was stopped"),
        (Run(None, 0.0), 6, "provider", "never ran"),
    ],
)
def test_an_end_has_a_status_somebody_at_fault_and_a_sentence(
    run: Run, status: int, fault: str, says: str
) -> None:
    found, reason = judge(run, LIMITS)
    assert found == status
    assert reason is not None
    assert reason.fault == fault
    assert says in reason.message


def test_success_needs_no_reason_even_when_a_child_ran_out_of_memory() -> None:
    assert judge(Run(0, 1.0, oom_killed=True), LIMITS) == (TaskStatus.SUCCEEDED, None)


def test_what_the_program_says_of_its_input_is_typed_and_bounded() -> None:
    told = {
        "code": "c" * 100,
        "message": "m" * 5000,
        "hint": 7,
        "row": 3,
        "column": "x" * 500,
        "value": [1],
        "z": 1,
    }
    _, reason = judge(Run(65, 1.0, error=told), LIMITS)
    assert reason is not None
    assert (len(reason.code), len(reason.message), reason.hint) == (64, 1000, "")
    assert reason.details == {"row": 3, "column": "x" * 200}


def test_a_run_that_never_began_is_the_providers_fault_unless_known_better() -> None:
    assert could_not_start("no engine")[1].fault == "provider"


def test_a_reason_of_one_of_many_tasks_is_cut_to_what_a_report_holds() -> None:
    long = Reason(code="bad-data", message="m" * 1000, hint="\u00e9" * 500, details={"row": 3})
    short = shortened(long, 512)
    assert len(json.dumps(short.model_dump(mode="json"))) <= 512
    assert (short.code, short.details) == ("bad-data", {})
    assert short.message.startswith("mmm")
    assert shortened(short, 512) == short
