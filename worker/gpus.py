"""Graphics processors of a worker: each is one task's at a time, whole, and named by its device id.

Their names and ids are what the provider says with `worker start --gpu MODEL=DEVICE`; nothing here looks for
them, and none of it has run on real ones.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prixfixe.errors import ConfigurationError, EngineError

# As `nvidia-smi -L` tells them: GPU-uuid, MIG-uuid, or a number.
_DEVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", re.ASCII)
_MODEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,10}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Gpu:
    """model: as products name it, such as a100-80g. device: the engine's id of it."""

    model: str
    device: str

    @staticmethod
    def parse(text: str) -> Gpu:
        """MODEL=DEVICE. ConfigurationError for anything else."""
        model, _, device = text.partition("=")
        if not _MODEL.fullmatch(model) or not _DEVICE.fullmatch(device):
            raise ConfigurationError(
                f"{text[:80]!r} is no GPU",
                hint="MODEL=DEVICE, such as a100-80g=GPU-8d1f..., as `nvidia-smi -L` lists devices",
                fault="provider",
            )
        return Gpu(model, device)


def models(gpus: Iterable[Gpu]) -> dict[str, int]:
    """How many of each model."""
    return dict(Counter(gpu.model for gpu in gpus))


class GpuPool:
    """Who has which device. Safe for many threads."""

    def __init__(self, gpus: Iterable[Gpu]) -> None:
        self._models = {gpu.device: gpu.model for gpu in gpus}
        self._free = list(self._models)
        self._reserved: dict[str, tuple[str, ...]] = {}
        self._condition = threading.Condition()

    def reserve(self, container: str, devices: tuple[str, ...]) -> None:
        """A container that an earlier process of this worker started has these still."""
        with self._condition:
            self._reserved[container] = devices
            self._free = [device for device in self._free if device not in devices]

    def forget(self, container: str) -> None:
        """It is gone, and no task came to take over what was reserved for it."""
        with self._condition:
            self._give_back(self._reserved.pop(container, ()))

    @contextmanager
    def hold(
        self, model: str, count: int, stopped: Callable[[], bool], container: str | None = None
    ) -> Iterator[tuple[str, ...]]:
        """Devices for the length of the block, waited for; none for a count of 0. container: which may have
        some already. stopped: ends the waiting, also without any; whoever makes it true calls `wake`.
        EngineError when there are not so many at all."""
        devices = self._take(model, count, stopped, container)
        try:
            yield devices
        finally:
            with self._condition:
                self._give_back(devices)

    def _take(
        self, model: str, count: int, stopped: Callable[[], bool], container: str | None
    ) -> tuple[str, ...]:
        with self._condition:
            if container is not None and (known := self._reserved.pop(container, None)) is not None:
                return known
            if count > sum(each == model for each in self._models.values()):
                raise EngineError(
                    f"the task needs {count} GPU {model}, and this worker has not so many",
                    code="no-gpu",
                    hint="start it with the same --gpu as before",
                )
            self._condition.wait_for(lambda: len(self._free_of(model)) >= count or stopped())
            found = tuple(self._free_of(model)[:count])
            if len(found) < count:
                return ()
            self._free = [device for device in self._free if device not in found]
            return found

    def wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def _give_back(self, devices: tuple[str, ...]) -> None:
        self._free += [device for device in devices if device in self._models]
        self._condition.notify_all()

    def _free_of(self, model: str) -> list[str]:
        return [device for device in self._free if self._models[device] == model]
