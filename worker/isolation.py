"""What this worker has beyond others, and which runtime a job's container gets: gVisor when its customer
requires it or its image is a stranger's."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from prixfixe.errors import EngineError
from prixfixe.protocol.manifest import Capability, JobManifest
from worker.cage import GVISOR

AUTO: Final = "auto"
_PLAIN: Final = "runc"


def capabilities(
    setting: str, runtimes: Collection[str], *, egress: bool, secrets: bool
) -> tuple[Capability, ...]:
    """What a job may need of this worker. setting: its runtime. egress: its provider lets jobs call hosts;
    gVisor has no network, so not when everything runs in that. secrets: it can keep them in memory."""
    found: list[Capability] = []
    if GVISOR in runtimes:
        found.append("gvisor")
    if egress and setting != GVISOR:
        found.append("egress")
    if secrets:
        found.append("secrets")
    return tuple(found)


def runtime_of(
    setting: str,
    runtimes: Collection[str],
    manifest: JobManifest,
    *,
    egress: bool = False,
    gpus: bool = False,
) -> str:
    """The runtime of a job's container. setting: the worker's; `auto` takes gVisor, where the engine has it,
    for images that no bundle vouches for. runtimes: of the engine. egress: this worker lets jobs call hosts.
    gpus: the task gets some, which gVisor does not pass on. EngineError, the provider's fault, when the job
    needs what this worker does not have (any more)."""
    if manifest.hosts and (manifest.isolation is not None or not egress or setting == GVISOR):
        raise EngineError(
            "the job calls hosts, and this worker lets no job do so",
            code="no-egress",
            hint="the provider offers it with `worker start --egress`",
        )
    required = manifest.isolation == "gvisor"
    if required and GVISOR not in runtimes:
        raise EngineError(
            "the job requires gVisor, and the engine of this worker has no runtime runsc",
            code="no-isolation",
            hint="install gVisor and name it in the engine's configuration, then start the worker again",
        )
    stranger = manifest.bundle is None and not manifest.hosts and not gpus
    if required or (setting == AUTO and stranger and GVISOR in runtimes):
        return GVISOR
    return _PLAIN if setting == AUTO else setting
