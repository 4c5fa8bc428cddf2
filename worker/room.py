"""What the attempts of one worker share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from prixfixe.errors import PrixfixeError
from prixfixe.keys import Signer
from prixfixe.protocol.manifest import Capability
from prixfixe.protocol.typed_data import Domain
from worker.chain import ChainReader
from worker.client import ServiceClient
from worker.duty import Duty
from worker.gpus import GpuPool
from worker.hands import Hands
from worker.images import ImageStore
from worker.inputs import InputCache
from worker.journal import Journal
from worker.lots import Lots
from worker.sealing import Secrets
from worker.settings import WorkerSettings
from worker.settling import Settler
from worker.slots import Slots
from worker.states import States


class Abandoned(PrixfixeError):
    """The attempt was stopped; what the journal says of it stands."""

    default_code = "abandoned"


@dataclass(frozen=True, slots=True)
class Room:
    """Everything that attempts share."""

    settings: WorkerSettings
    installation: str  # names this data folder on the engine: a key may run on two machines of one engine
    domain: Domain
    grace: int  # the contract's: seconds that a deal has beside its run time
    signer: Signer
    client: ServiceClient
    lots: Lots  # at the same service
    states: States
    settler: Settler
    duty: Duty
    chain: ChainReader
    hands: Hands
    runtimes: tuple[str, ...]  # of the engine, as they were when the worker started
    capabilities: tuple[Capability, ...]  # that a job may need, and this worker offers
    journal: Journal
    images: ImageStore
    inputs: InputCache
    slots: Slots
    gpus: GpuPool
    secrets: Secrets
    pool: ThreadPoolExecutor  # uploads, and cleaning that nobody waits for

    @property
    def runs(self) -> Path:
        """Of each attempt a folder with one a task."""
        return self.settings.data / "runs"

    def kept(self, attempt: str) -> Path:
        """Where the outputs of an attempt's tasks wait for the rest of their lot."""
        return self.settings.data / "kept" / attempt

    def at_hand(self, most: int) -> tuple[str, ...]:
        """Images and inputs that need not be fetched, at most so many, those used last: half of each where
        there are enough."""
        images, inputs = self.images.newest(), self.inputs.newest(most)
        first = images[: max(most // 2, most - len(inputs))]
        return (*first, *inputs[: most - len(first)])
