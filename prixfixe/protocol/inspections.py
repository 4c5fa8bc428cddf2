"""Inspections on the wire: files that people send from a page are looked at in a cage on a machine of the
operator's, never by the service."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from prixfixe.protocol.fields import Body, Message, ProductField, Seconds, Sha256
from prixfixe.protocol.manifest import ImageName, InputFile
from prixfixe.protocol.wire import Reason

Step: TypeAlias = Literal["look", "make"]
InspectionState: TypeAlias = Literal["waiting", "running", "done", "failed"]

COMMAND: Final = ("python3", "-m", "prixfixe.tables.looking")
"""What runs in the image of a bundle that takes tables: `prixfixe.tables` is in each."""

_Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Cell = Annotated[str, StringConstraints(max_length=1000)]
_Column = Annotated[str, StringConstraints(max_length=40_000)]


class SeenColumn(Message):
    """A column of a table; type and use (`rows`, `sum`, `count` or nothing) are proposals."""

    name: _Column
    type: Annotated[str, StringConstraints(max_length=32)]
    use: Literal["", "rows", "sum", "count"]


class Guessed(Message):
    """A parameter that was guessed of a file, and why."""

    parameter: _Name
    value: Annotated[str, StringConstraints(max_length=100)] | int
    reason: _Cell


class Seen(Message):
    """What is in a table. first: its first rows as texts. source: the parameters that it was read with."""

    rows: Annotated[int, Field(ge=0, lt=2**53)]
    columns: Annotated[tuple[SeenColumn, ...], Field(max_length=16_384)]
    first: Annotated[tuple[tuple[_Cell, ...], ...], Field(max_length=20)]
    guesses: Annotated[tuple[Guessed, ...], Field(max_length=20)]
    source: dict[_Name, Annotated[str, StringConstraints(max_length=100)] | int]


class Made(Message):
    """What is to be ordered: the file that the job reads, and the units that its price is for."""

    file: InputFile
    units: Annotated[int, Field(ge=0, lt=2**53)]


class InspectionRequest(Body):
    """Look at an uploaded file, or make of it what travels. parameters: for `look` what is known of how it is
    written, for `make` the job's."""

    bundle: _Name
    step: Step
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    sha256: Sha256
    parameters: dict[str, Any] = Field(default_factory=dict)


class Inspection(Message):
    """How far one is. seen or made: its answer; reason: why there is none."""

    id: str
    bundle: str
    version: str
    step: Step
    file: InputFile
    state: InspectionState
    seen: Seen | None = None
    made: Made | None = None
    reason: Reason | None = None
    created_at: Seconds
    expires_at: Seconds


class InspectionTask(Message):
    """What an inspector runs: `COMMAND` in a bundle's image, in the cage of that product. number: of the try,
    which the answer repeats."""

    id: str
    number: int
    step: Step
    file: InputFile
    preflight: str
    parameters: dict[str, Any]
    image: ImageName
    image_archive: Sha256 | None
    product: ProductField


class InspectionAnswer(Body):
    """Exactly one of the three."""

    number: int
    seen: Seen | None = None
    made: Made | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(each is not None for each in (self.seen, self.made, self.reason)) != 1:
            raise ValueError("an answer is what was seen, or what was made, or why there is neither")
        return self
