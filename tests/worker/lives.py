"""A worker that is killed where a test says: before or after a call of its journal, runner or service."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.process import BaseProcess
from typing import Any, Final, Literal, NamedTuple

from worker.client import ServiceClient
from worker.daemon import Daemon
from worker.hands import Hands
from worker.journal import Journal
from worker.settings import WorkerSettings

_CLASSES: Final[dict[str, type]] = {"journal": Journal, "hands": Hands, "service": ServiceClient}


class Step(NamedTuple):
    """Where it dies: at the first call of a method of journal, runner (hands) or service."""

    when: Literal["before", "after"]
    whose: str
    method: str


def live(settings: WorkerSettings, step: Step) -> BaseProcess:
    """A worker in a process of its own, forked from one that has everything imported: SIGKILL at the step."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.worker.lives"])
    process = context.Process(target=_live, args=(settings, step))
    process.start()
    return process


def _live(settings: WorkerSettings, step: Step) -> None:
    kind = _CLASSES[step.whose]
    original = getattr(kind, step.method)

    def dies(*arguments: Any, **options: Any) -> None:
        if step.when == "after":
            original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(kind, step.method, dies)
    Daemon(settings).run()
