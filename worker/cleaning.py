"""Taking away what a worker that was killed, and will not come back, left on this machine."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from prixfixe.errors import NotFound
from worker.cage import LABEL_WORKER
from worker.carrying import Carrier
from worker.daemon import installation, only_one
from worker.engine import Engine
from worker.scratch import ScratchPool


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How many containers and task disks were removed."""

    containers: int
    disks: int


def clean(data: Path) -> Cleaned:
    """Remove the containers and disks of the worker whose data folder this is.

    A worker that starts again does this by itself, and takes up what it can; this is for one that will not.
    Its journal stays. Conflict when it runs, NotFound when no worker ever had the folder, EngineError when
    the engine does not answer.
    """
    if not (data / "installation").exists():
        raise NotFound(
            f"{data} is no worker's data folder", hint="name the folder that --data named at its start"
        )
    with only_one(data), closing(Engine()) as engine:
        containers = engine.labelled(LABEL_WORKER, installation(data))
        for container in containers:
            engine.remove(container)
        disks = data / "disks"
        left = len(list(disks.iterdir())) if disks.is_dir() else 0
        if left:
            with closing(ScratchPool(disks, "watched", Carrier(engine))) as scratch:
                scratch.sweep(set())
        return Cleaned(len(containers), left)
