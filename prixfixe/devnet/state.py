"""What a running devnet is made of, in one file that every `prixfixe dev` command reads and changes under a
lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prixfixe.devnet.processes import ProcessRecord, alive
from prixfixe.errors import NotFound


@dataclass(frozen=True, slots=True)
class Folder:
    """The devnet's folder: chain state, service data, worker data, logs."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / "devnet.json"

    @property
    def chain(self) -> Path:
        return self.root / "chain"

    @property
    def manifest(self) -> Path:
        return self.root / "deployment.json"

    @property
    def service(self) -> Path:
        return self.root / "service"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def arbiter(self) -> Path:
        return self.root / "arbiter"

    @property
    def inspector(self) -> Path:
        return self.root / "inspector"

    def worker(self, number: int) -> Path:
        return self.root / f"worker-{number}"


@dataclass(frozen=True, slots=True)
class DevnetState:
    """Addresses and processes of a devnet."""

    rpc: str
    service: str
    contract: str
    token: str
    chain_id: int
    context: str
    processes: tuple[ProcessRecord, ...] = field(default=())

    def process(self, name: str) -> ProcessRecord | None:
        return next((p for p in self.processes if p.name == name), None)

    def with_process(self, record: ProcessRecord) -> DevnetState:
        others = tuple(p for p in self.processes if p.name != record.name)
        return replace(self, processes=(*others, record))

    @property
    def running(self) -> tuple[ProcessRecord, ...]:
        return tuple(p for p in self.processes if alive(p))

    def to_json(self) -> dict[str, Any]:
        return {
            "rpc": self.rpc,
            "service": self.service,
            "contract": self.contract,
            "token": self.token,
            "chain_id": self.chain_id,
            "context": self.context,
            "processes": [p.to_json() for p in self.processes],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DevnetState:
        processes = tuple(ProcessRecord.from_json(p) for p in data["processes"])
        return cls(
            data["rpc"],
            data["service"],
            data["contract"],
            data["token"],
            int(data["chain_id"]),
            data["context"],
            processes,
        )


def write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def load(folder: Folder) -> DevnetState | None:
    try:
        return DevnetState.from_json(json.loads(folder.state.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def require(folder: Folder) -> DevnetState:
    """The state of a devnet that runs, or an error that says how to start one."""
    state = load(folder)
    if state is None or not state.running:
        raise NotFound(
            f"no devnet runs in {folder.root}",
            hint="start one: prixfixe dev; one that was started in another folder is reached from there,"
            " or with: prixfixe dev --folder FOLDER",
        )
    return state


def save(folder: Folder, state: DevnetState) -> None:
    write_atomically(folder.state, json.dumps(state.to_json(), indent=1))


@contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """One command at a time changes the devnet."""
    folder.root.mkdir(parents=True, exist_ok=True)
    with (folder.root / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
