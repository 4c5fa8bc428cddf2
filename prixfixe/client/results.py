"""What a run gave: its job, its files, its proof, and its tables as frames."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prixfixe.client.checks import Verification
from prixfixe.errors import InvalidInput
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.wire import Job

# What is read when no table is named, best first: Parquet has types.
_TABLES: Final = (".parquet", ".csv")


@dataclass(frozen=True, eq=False)
class Result:
    """A run that was delivered and checked.

    job: as it ended, with what was charged. receipt: the proof, also in `folder` as receipt.json.
    verification: its checks, all of which held. files: the outputs, in `folder`. When no folder was named
    they are deleted together with this object."""

    job: Job
    receipt: Receipt
    verification: Verification
    folder: Path
    files: tuple[Path, ...]

    def path(self, name: str | None = None) -> Path:
        """An output's file. name: as the job called it; None: its table, Parquet before CSV. InvalidInput
        when there is none."""
        if name is None:
            for suffix in _TABLES:
                for file in self.files:
                    if file.suffix.lower() == suffix:
                        return file
        for file in self.files:
            if file.relative_to(self.folder).as_posix() == name:
                return file
        known = ", ".join(file.relative_to(self.folder).as_posix() for file in self.files) or "none"
        what = "has no table" if name is None else f"has no output {name!r}"
        raise InvalidInput(f"job {self.job.id} {what}", code="no-outputs", hint=f"its outputs: {known}")

    def arrow(self, name: str | None = None, *, types: Mapping[str, str] | None = None) -> Any:
        """An output as a table of pyarrow. types: of a CSV's columns, as in an order (`decimal(18,2)`); else
        those that the order declared, and text. Parquet has its own."""
        from prixfixe.client.frames import read_table

        declared = self.receipt.quote.manifest.parameters.get("types", {})
        named = dict(declared) if isinstance(declared, dict) else {}
        return read_table(self.path(name), {**named, **(types or {})})

    def pandas(self, name: str | None = None, *, types: Mapping[str, str] | None = None) -> Any:
        """An output as a pandas frame of Arrow types: decimals stay exact, and gaps make no floats."""
        from prixfixe.client.frames import to_pandas

        return to_pandas(self.arrow(name, types=types))

    def polars(self, name: str | None = None, *, types: Mapping[str, str] | None = None) -> Any:
        """An output as a polars frame."""
        from prixfixe.client.frames import to_polars

        return to_polars(self.arrow(name, types=types))

    def keep_while_used(self) -> None:
        """Delete the folder when nobody holds this object any more."""
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def _repr_html_(self) -> str:
        from prixfixe.client.notebook import result_html

        return result_html(self)


def passing_folder() -> Path:
    """A folder for a result that nobody named a place for."""
    return Path(tempfile.mkdtemp(prefix="prixfixe-result-"))
