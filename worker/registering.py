"""How a worker introduces itself to the service."""

from __future__ import annotations

from collections.abc import Collection

import prixfixe
from prixfixe.protocol.wire import Resources, WorkerRegistration
from worker.gpus import models
from worker.isolation import isolations
from worker.settings import WorkerSettings


def registration(settings: WorkerSettings, runtimes: Collection[str]) -> WorkerRegistration:
    """runtimes: of the engine."""
    return WorkerRegistration(
        provider=settings.provider,
        name=settings.name,
        resources=Resources(
            milli_vcpu=settings.milli_vcpu,
            memory_mib=settings.memory_mib,
            disk_mib=settings.disk_mib,
            slots=settings.slots,
            isolations=isolations(runtimes),
            gpus=models(settings.gpus),
        ),
        version=prixfixe.__version__,
    )
