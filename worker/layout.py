"""A task as its container sees it: the folder /job, and the cage around the run.

The same for the worker that is paid for it and for the arbiter that runs it again: what differs between the
two would be a difference between their results.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from prixfixe.protocol.canonical import canonical_json
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.product import Product
from worker.cage import TASK_USER, Cage, Mounts
from worker.inputs import InputCache
from worker.scratch import Disk
from worker.settings import Limits


def lay_out(
    folder: Path,
    manifest: JobManifest,
    inputs: InputCache,
    *,
    index: int,
    limit_units: int | None,
    go_on: Callable[[], None] = lambda: None,
) -> None:
    """Make `folder/job` of task `index`. go_on: called between inputs; raises to give up."""
    lay_out_empty(folder, manifest, index=index, limit_units=limit_units)
    place_inputs(folder, manifest, inputs, go_on)


def place_inputs(
    folder: Path, manifest: JobManifest, inputs: InputCache, go_on: Callable[[], None] = lambda: None
) -> None:
    """Put the inputs into a folder that was laid out without them."""
    for wanted in manifest.inputs:
        go_on()
        inputs.place(wanted, folder / "job" / "inputs" / wanted.name)


def lay_out_empty(folder: Path, manifest: JobManifest, *, index: int, limit_units: int | None) -> None:
    """Make `folder/job` of task `index` without its inputs."""
    shutil.rmtree(folder, ignore_errors=True)
    place = folder / "job"
    into = place / "inputs"
    into.mkdir(parents=True)
    (place / "outputs").mkdir()  # where the disk is seen
    task = {"index": index, "count": manifest.tasks, "limit_units": limit_units}
    for name, content in (
        ("parameters.json", canonical_json(manifest.parameters)),
        ("task.json", json.dumps(task).encode()),
    ):
        (place / name).write_bytes(content)
        (place / name).chmod(0o444)
    for made in (place, into):
        made.chmod(0o755)


def cage_of(
    manifest: JobManifest,
    product: Product,
    folder: Path,
    disk: Disk,
    limits: Limits,
    *,
    task: int,
    attempt: str,
    worker: str,
    runtime: str,
    gpus: tuple[str, ...] = (),
    secrets: Path | None = None,
) -> Cage:
    """The cage of a laid out task. task: index in the job. attempt, worker: labels on the container. gpus:
    device ids. secrets: folder of the job's."""
    return Cage(
        attempt=attempt,
        task=task,
        tasks=manifest.tasks,
        worker=worker,
        image=manifest.image,
        command=manifest.command,
        environment=manifest.environment,
        milli_vcpu=product.milli_vcpu,
        memory_mib=product.memory_mib,
        disk_mib=disk.size_mib,
        mounts=Mounts(folder / "job", disk.outputs, disk.temporary, secrets, disk.carried),
        seconds=product.max_seconds,
        processes=limits.processes,
        open_files=limits.open_files,
        log_bytes=limits.log_bytes,
        log_flood_bytes=limits.log_flood_bytes,
        line_bytes=limits.line_bytes,
        output_files=limits.output_files,
        hosts=manifest.hosts,
        runtime=runtime,
        user=disk.user or TASK_USER,
        gpus=gpus,
    )
