"""The compiled contracts, as committed in `prixfixe/chain/artefacts` by scripts/contracts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from prixfixe.chain.abi import ErrorType, EventType, Function, parse_error, parse_event, parse_function
from prixfixe.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Artefact:
    """One contract: its interface, its code, and where the code came from.

    creation_code, runtime_code: bytes; the latter with zeros where immutables go (`immutables`: (start,
    length)). source: its file, as the compiler's input names it. source_hash: of its sources; compiler:
    version.
    """

    name: str
    abi: tuple[Mapping[str, Any], ...]
    functions: Mapping[str, Function]
    events: Mapping[bytes, EventType]
    errors: Mapping[bytes, ErrorType]
    constructor: Function
    creation_code: bytes
    runtime_code: bytes
    immutables: tuple[tuple[int, int], ...]
    source: str
    source_hash: str
    compiler: str

    def function(self, name: str) -> Function:
        """A function by name; none of our contracts overloads one."""
        try:
            return self.functions[name]
        except KeyError:
            raise ConfigurationError(f"{self.name} has no function {name}", code="bad-call") from None

    def is_code(self, deployed: bytes) -> bool:
        """Whether code found on a chain is this contract's, whatever its immutables."""
        return len(deployed) == len(self.runtime_code) and self._masked(deployed) == self._masked(
            self.runtime_code
        )

    def _masked(self, code: bytes) -> bytes:
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return bytes(masked)


@lru_cache(maxsize=8)
def load(name: str) -> Artefact:
    """The artefact `Market` or `DevDollar`."""
    path = files("prixfixe.chain").joinpath("artefacts", f"{name}.json")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"the artefact {name} is missing from this installation",
            hint="install prixfixe again; in a checkout run scripts/contracts",
        ) from error
    abi = document["abi"]
    events = [parse_event(entry) for entry in abi if entry["type"] == "event"]
    errors = [parse_error(entry) for entry in abi if entry["type"] == "error"]
    return Artefact(
        name=document["contractName"],
        abi=tuple(abi),
        functions={entry["name"]: parse_function(entry) for entry in abi if entry["type"] == "function"},
        events={event.topic: event for event in events},
        errors={error.selector: error for error in errors},
        constructor=parse_function(next((e for e in abi if e["type"] == "constructor"), {"inputs": []})),
        creation_code=bytes.fromhex(document["bytecode"].removeprefix("0x")),
        runtime_code=bytes.fromhex(document["deployedBytecode"].removeprefix("0x")),
        immutables=tuple(
            (place["start"], place["length"])
            for places in document.get("immutableReferences", {}).values()
            for place in places
        ),
        source=document["sourceName"],
        source_hash=document["sourceHash"],
        compiler=document["compiler"]["version"],
    )


def compiler_input() -> bytes:
    """The standard JSON input that all artefacts were compiled from."""
    return files("prixfixe.chain").joinpath("artefacts", "input.json").read_bytes()
