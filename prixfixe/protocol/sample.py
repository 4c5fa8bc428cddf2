"""A sample: a small table that shows what a bundle takes, published with its definition."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints

MAX_SAMPLE_CHARACTERS: Final = 16_384


class Sample(BaseModel):
    """A CSV file as UTF-8 text, which the bundle runs with every parameter as a page proposes it. Anybody may
    have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[
        str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}\.csv$", max_length=64)
    ]
    content: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_SAMPLE_CHARACTERS)]
