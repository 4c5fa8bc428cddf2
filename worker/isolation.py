"""Which runtime a job's container gets: gVisor when its customer requires it or its image is a stranger's."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from prixfixe.errors import EngineError
from prixfixe.protocol.manifest import Isolation, JobManifest
from worker.cage import GVISOR

AUTO: Final = "auto"
_PLAIN: Final = "runc"


def isolations(runtimes: Collection[str]) -> tuple[Isolation, ...]:
    """What a job may require of an engine with these runtimes."""
    return ("gvisor",) if GVISOR in runtimes else ()


def runtime_of(setting: str, runtimes: Collection[str], manifest: JobManifest) -> str:
    """The runtime of a job's container. setting: the worker's; `auto` takes gVisor, where the engine has it,
    for images that no bundle vouches for. runtimes: of the engine. EngineError, the provider's fault, when
    the job requires what the engine does not have (any more)."""
    required = manifest.isolation == "gvisor"
    if required and GVISOR not in runtimes:
        raise EngineError(
            "the job requires gVisor, and the engine of this worker has no runtime runsc",
            code="no-isolation",
            hint="install gVisor and name it in the engine's configuration, then start the worker again",
        )
    if required or (setting == AUTO and manifest.bundle is None and GVISOR in runtimes):
        return GVISOR
    return _PLAIN if setting == AUTO else setting
