"""The job manifest: what will run, on what, as one canonical document.

Its SHA-256 over RFC 8785 JSON is `Purchase.job` (and `Bid.job`), so customer, contract, worker and judge
speak of the same run. Anything that changes the result is in it; anything that does not (price, deadlines)
is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from prixfixe.errors import InvalidInput
from prixfixe.protocol.canonical import canonical_json, sha256
from prixfixe.protocol.egress import MOST_HOSTS, parse_host

ImageId = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
# An image by its id, or by the digest that a registry knows it by.
IMAGE_PATTERN: Final = r"^(?:[a-z0-9][a-z0-9._:/-]{0,254}@)?sha256:[0-9a-f]{64}$"
ImageName = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN)]
# What a customer may require of the cage beyond what every worker has.
Isolation = Literal["gvisor"]
# What a worker may have that not every job needs: gVisor, a way out to named hosts, memory for secrets.
Capability = Literal["gvisor", "egress", "secrets"]
# A file of a job's secrets, and how many it may have.
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
MOST_SECRETS: Final = 16
MAX_TASKS: Final = 65_536
# Of command and environment as JSON: every report repeats them, and `reports.MAX_WORDS_BYTES` bounds it.
MAX_COMMAND_BYTES: Final = 16_384
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class _Frozen(BaseModel):
    # Infinity stays the number that canonical JSON refuses, and is never null.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=False, ser_json_inf_nan="constants", defer_build=True
    )


class InputFile(_Frozen):
    """A file the job reads at `/job/inputs/<name>`; `sha256` is its blob."""

    name: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, lt=2**53)]

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"input name {name!r}: letters, digits, dot, dash, underscore; at most 128, the first no dot"
            )
        return name


class BundleReference(_Frozen):
    """Which published bundle version and tier this job is a run of."""

    id: str
    version: str
    tier: str
    definition: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Egress(_Frozen):
    """The hosts that a job may call, through the worker's proxy (`protocol.egress`)."""

    hosts: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_HOSTS)]

    @field_validator("hosts")
    @classmethod
    def _named(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        named = tuple(str(parse_host(host)) for host in hosts)
        if len(set(named)) != len(named):
            raise ValueError("two hosts are the same")
        return named


class JobManifest(_Frozen):
    version: Literal[1] = 1
    image: ImageName
    command: Annotated[tuple[str, ...], Field(max_length=256)]
    environment: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    inputs: Annotated[tuple[InputFile, ...], Field(max_length=1000)]
    tasks: Annotated[int, Field(ge=1, le=MAX_TASKS)] = 1
    network: Literal["none"] | Egress = "none"
    determinism: Literal["exact", "canonical", "none"]
    bundle: BundleReference | None = None
    # Left out when nothing is required, so that digests of such jobs stay.
    isolation: Annotated[Isolation | None, Field(exclude_if=lambda isolation: isolation is None)] = None
    # One row of parameters a task (`protocol.matrix`). Left out when there is none, so that digests of jobs
    # without one stay.
    matrix: Annotated[InputFile | None, Field(exclude_if=lambda matrix: matrix is None)] = None
    # Names of files at /run/secrets, whose bytes only customer and worker see (`protocol.secrets`). Left out
    # when there are none.
    secrets: Annotated[
        tuple[SecretName, ...], Field(max_length=MOST_SECRETS, exclude_if=lambda names: not names)
    ] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Those that it may call."""
        return self.network.hosts if isinstance(self.network, Egress) else ()

    @property
    def needs(self) -> frozenset[Capability]:
        """What its worker must have."""
        return needs_of(self.isolation, calls=bool(self.hosts), secret=bool(self.secrets))

    @property
    def files(self) -> tuple[InputFile, ...]:
        """Every blob that a worker needs beside the image."""
        return self.inputs if self.matrix is None else (*self.inputs, self.matrix)

    @field_validator("secrets")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("two secrets have the same name")
        return names

    @field_validator("inputs")
    @classmethod
    def _distinct(cls, inputs: tuple[InputFile, ...]) -> tuple[InputFile, ...]:
        names = [i.name for i in inputs]
        if len(set(names)) != len(names):
            raise ValueError("two inputs have the same name")
        return inputs

    @model_validator(mode="after")
    def _startable(self) -> Self:
        require_startable(self.command, self.environment)
        return self

    def canonical(self) -> bytes:
        """RFC 8785 bytes."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> bytes:
        """SHA-256 of `canonical()`: 32 bytes, the order's `job` field."""
        return sha256(self.canonical())


def needs_of(isolation: Isolation | None, *, calls: bool, secret: bool) -> frozenset[Capability]:
    """What a worker must have for a job that requires this isolation. calls: whether it calls hosts. secret:
    whether it gets secrets."""
    found: set[Capability] = set() if isolation is None else {isolation}
    if calls:
        found.add("egress")
    if secret:
        found.add("secrets")
    return frozenset(found)


def require_startable(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """InvalidInput for what no engine starts, so that no provider answers for it, for a name of a variable
    that would hide the value of another, and for more than a report can repeat."""
    if command and not command[0]:
        raise _bad("the command's first word is empty", "it is the program to run")
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name:
            raise _bad(
                f"{name[:80]!r} is no name of an environment variable",
                "it has at least one character, no = and no zero byte",
            )
        if "\0" in value:
            raise _bad(f"the environment variable {name[:80]!r} has a zero byte", "write it in another way")
    if any("\0" in argument for argument in command):
        raise _bad("the command has a zero byte", "write it in another way")
    size = len(json.dumps([tuple(command), dict(environment)]))
    if size > MAX_COMMAND_BYTES:
        raise _bad(
            f"command and environment have {size:,} bytes of JSON, at most {MAX_COMMAND_BYTES:,} are taken",
            "give the task a file (`--input`) or parameters (`--param`)",
        )


def _bad(message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, code="bad-command", hint=hint)
