"""How a worker introduces itself to the service."""

from __future__ import annotations

import prixfixe
from prixfixe.protocol.manifest import Capability
from prixfixe.protocol.secrets import SignedSealingKey
from prixfixe.protocol.wire import Resources, WorkerRegistration
from worker.gpus import models
from worker.settings import WorkerSettings


def registration(
    settings: WorkerSettings, has: tuple[Capability, ...], sealing: SignedSealingKey | None = None
) -> WorkerRegistration:
    """has: what it offers beyond others. sealing: to whom secrets are sealed."""
    return WorkerRegistration(
        provider=settings.provider,
        name=settings.name,
        resources=Resources(
            milli_vcpu=settings.milli_vcpu,
            memory_mib=settings.memory_mib,
            disk_mib=settings.disk_mib,
            slots=settings.slots,
            capabilities=has,
            gpus=models(settings.gpus),
        ),
        version=prixfixe.__version__,
        sealing=sealing,
    )
