"""A job's secrets on this machine: opened with the worker's own sealing key into a folder in memory, which
the job's container sees read-only at /run/secrets, and gone with the attempt.

They are in no log, report, journal or file of a disk. The folder is on the host's /dev/shm, whose pages may
be swapped out where the host swaps.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from prixfixe.client.keeping import write_private
from prixfixe.errors import ConfigurationError, EngineError, InvalidInput
from prixfixe.keys import Signer
from prixfixe.protocol.secrets import (
    SealingKey,
    SignedSealingKey,
    new_private_key,
    public_key,
    require_secrets,
    unseal,
)
from prixfixe.protocol.typed_data import Domain
from prixfixe.protocol.wire import Assignment
from worker.client import ServiceClient

KEY_FILE: Final = "sealing.key"
MEMORY: Final = Path("/dev/shm")
# How long a customer's client has from the match on: every second is one of the task's own.
WAIT_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 5.0


class Secrets:
    """Of one worker. memory: a folder that is in memory, also for the engine."""

    def __init__(self, data: Path, installation: str, domain: Domain, memory: Path = MEMORY) -> None:
        self._private = _load_key(data)
        self._domain = domain
        self._folder = memory / f"prixfixe-{installation}"
        self.possible = is_host_memory(memory, Path("/proc/self/mounts").read_text(encoding="utf-8"))

    def statement(self, signer: Signer) -> SignedSealingKey | None:
        """To whom customers seal; None where secrets cannot be kept in memory."""
        if not self.possible:
            return None
        said = SealingKey(
            key=signer.address,
            contract=self._domain.verifying_contract,
            chain_id=self._domain.chain_id,
            public=public_key(self._private),
        )
        return SignedSealingKey(statement=said, signature="0x" + signer.sign_digest(said.digest()).hex())

    def fetch(
        self,
        client: ServiceClient,
        assignment: Assignment,
        key: str,
        until: float,
        stopped: Callable[[], bool],
    ) -> Path | None:
        """The folder of an attempt's secrets; None for a job without. until: on the monotonic clock, when
        the job's time is over. InvalidInput, the customer's, when none came or they are wrong; EngineError
        when the worker was stopped meanwhile."""
        names = assignment.manifest.secrets
        if not names:
            return None
        if not self.possible:
            raise ConfigurationError(
                "this worker cannot keep secrets in memory", code="no-secrets-here", fault="provider"
            )
        folder = self._folder / assignment.attempt
        if folder.is_dir() and {entry.name for entry in folder.iterdir()} == set(names):
            return folder  # of a worker that was killed: its container still sees it
        until = min(until, time.monotonic() + WAIT_SECONDS)
        while (sealed := client.secrets(assignment.attempt, _POLL_SECONDS)) is None:
            if stopped():
                raise EngineError("the worker was stopped while it waited for the job's secrets")
            if time.monotonic() > until:
                raise InvalidInput(
                    "the job's secrets did not come in time",
                    code="secrets-missing",
                    hint="leave the ordering command running, or give them: prixfixe jobs secrets JOB",
                    fault="customer",
                )
        found = unseal(sealed.sealed, self._private, assignment.deal, key, self._domain)
        require_secrets(found, names)
        self._write(folder, found)
        return folder

    def forget(self, attempt: str) -> None:
        shutil.rmtree(self._folder / attempt, ignore_errors=True)

    def sweep(self, known: Collection[str]) -> None:
        """Forget those of attempts that are over."""
        with suppress(OSError):
            for entry in self._folder.iterdir():
                if entry.name not in known:
                    shutil.rmtree(entry, ignore_errors=True)

    def _write(self, folder: Path, secrets: Mapping[str, bytes]) -> None:
        """Whole, or not at all. The outer folder is the worker's alone; the inner one is what a task, another
        user, sees."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name, content in secrets.items():
            (part / name).write_bytes(content)
            (part / name).chmod(0o444)
        part.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)


def _load_key(data: Path) -> bytes:
    place = data / KEY_FILE
    try:
        return bytes.fromhex(place.read_text(encoding="ascii"))
    except FileNotFoundError:
        pass
    private = new_private_key()
    write_private(place, private.hex())
    return private


def is_host_memory(folder: Path, mounts: str) -> bool:
    """Whether the folder is in memory, and the engine's host has it too: an engine gives each container one
    of its own, which it names `shm`. mounts: text of /proc/self/mounts."""
    found = [line.split()[:3] for line in mounts.splitlines()]
    kinds = [(source, kind) for source, place, kind in found if place == str(folder)]
    return bool(kinds) and kinds[-1][1] == "tmpfs" and kinds[-1][0] != "shm"
