"""What every table offers, whatever file it is in: names, a scan in SQL, and faults with their place."""

from __future__ import annotations

import difflib
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from prixfixe.errors import InvalidInput, PrixfixeError
from prixfixe.tables.columns import ColumnUse


class NoRoom(PrixfixeError):
    """The disk of this machine is full; nothing is wrong with the table."""

    default_code = "disk-full"
    default_hint = "free some space, or set TMPDIR to a disk that has room, and run again"
    default_retryable = True
    title = "There is no room on the disk"
    status = 500
    exit_code = 2


class ReaderKilled(PrixfixeError):
    """The process that read a workbook was ended from outside; nothing is known of the workbook."""

    default_code = "reader-killed"
    default_hint = "most likely memory ran out: close what else runs, or save the table as CSV, and run again"
    default_retryable = True
    title = "Reading was ended"
    status = 500
    exit_code = 2


@dataclass(frozen=True)
class Table(ABC):
    """An opened table. `path` is what is scanned, `origin` the file that was handed in."""

    path: Path
    names: tuple[str, ...]
    stamp: tuple[int, int]
    """Size in bytes and modification time in nanoseconds of `origin` when it was opened."""
    origin: Path

    @property
    def name(self) -> str:
        """The file's name, as an error says it."""
        return self.origin.name

    @property
    def size(self) -> int:
        """Bytes of the file that was handed in."""
        return self.stamp[0]

    @property
    def converted(self) -> Mapping[str, object] | None:
        """What a client wrote of the file that this one was made from; None for an original."""
        return None

    def stored(self, index: int) -> str:
        """The SQL type that the file gives a column."""
        return "VARCHAR"

    def trusts(self, column: str) -> bool:
        """Whether the texts of a column are known to be sound, so that nobody looks at them again."""
        return False

    @abstractmethod
    def scan(self) -> AbstractContextManager[str]:
        """The SQL of a table with columns c0, c1 ..., valid inside the block."""

    @abstractmethod
    def faults(self, uses: Sequence[ColumnUse]) -> Iterator[InvalidInput]:
        """Everything in the file that is wrong, in its order, found slowly and exactly."""

    def sample(self) -> Iterator[Sequence[str]]:
        """Records from all over the file, for a guess: none, or not whole ones, when that is not quick."""
        return iter(())

    def fault(self, uses: Sequence[ColumnUse]) -> InvalidInput | None:
        """The first thing that is wrong."""
        return next(self.faults(uses), None)

    def index(self, column: str) -> int:
        """Position of a column by its exact name. InvalidInput names what the table has instead."""
        if column in self.names:
            return self.names.index(column)
        folded = {name.strip().casefold(): name for name in reversed(self.names)}
        near = folded.get(column.strip().casefold())
        if near is None:
            close = difflib.get_close_matches(column, self.names, n=1)
            near = close[0] if close else None
        shown = ", ".join(self.names[:20]) + (
            f" and {len(self.names) - 20} more" if len(self.names) > 20 else ""
        )
        raise InvalidInput(
            f"{self.name} has no column {column!r}",
            hint=(f"did you mean {near!r}? " if near else "")
            + f"its columns are: {shown}"
            + self.hint_of_names(),
            file=self.name,
            column=column,
        )

    def hint_of_names(self) -> str:
        """What else to try when a column is not found; only some formats know."""
        return ""

    def changed(self) -> bool:
        """Whether the file is no longer the one that was opened."""
        try:
            status = self.origin.stat()
        except OSError:
            return True
        return (status.st_size, status.st_mtime_ns) != self.stamp

    def require_unchanged(self) -> None:
        """InvalidInput when somebody wrote to the file meanwhile."""
        if self.changed():
            raise InvalidInput(
                f"{self.name} changed while it was read",
                hint="wait until nothing writes to it, or copy it, and run again",
                file=self.name,
            )

    @contextmanager
    def explained(self, uses: Sequence[ColumnUse]) -> Iterator[None]:
        """Turn DuckDB's refusal of the file into InvalidInput with row, line, column and value."""
        try:
            with disk_errors():
                yield
        except duckdb.Error as error:
            if is_ours(error):
                raise
            self.require_unchanged()
            fault = self.fault(uses)
            if fault is not None:
                raise fault from error
            raise self.unreadable(_plain(str(error))) from error
        self.require_unchanged()

    def unreadable(self, why: str) -> InvalidInput:
        """The error for a file whose fault has no place."""
        return InvalidInput(f"{self.name} cannot be read: {why}", file=self.name)


_OURS = (
    duckdb.OutOfMemoryException,
    duckdb.InterruptException,
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.FatalException,
)


def is_ours(error: duckdb.Error) -> bool:
    """Whether the file is not to blame for what DuckDB says."""
    first_line = str(error).splitlines()[0].lower()
    return isinstance(error, _OURS) or ("memory" in first_line and "allocate" in first_line)


def stamp_of(path: Path) -> tuple[int, int]:
    """Size and modification time. InvalidInput when there is no such file or it may not be read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
    except OSError as error:
        raise InvalidInput(
            f"{path.name} cannot be read: {error.strerror or error}",
            hint="check the path and that you may read the file",
            file=path.name,
        ) from error
    return status.st_size, status.st_mtime_ns


@contextmanager
def disk_errors() -> Iterator[None]:
    """NoRoom for a full disk, whoever met it: Python or DuckDB."""
    try:
        yield
    except duckdb.Error as error:
        text = str(error).lower()
        if any(sign in text for sign in ("no space left", "file too large", "max_temp_directory_size")):
            raise NoRoom("the disk for temporary files is full") from error
        raise
    except Exception as error:
        # A writer of workbooks hands the system's error on inside of its own.
        met = next((each for each in (error, *error.args) if isinstance(each, OSError)), None)
        if met is not None and met.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoRoom("the disk is full") from error
        raise


def _plain(message: str) -> str:
    """DuckDB's message without its list of options and without paths."""
    lines = [line.strip() for line in message.splitlines()]
    kept: Mapping[str, None] = dict.fromkeys(
        line for line in lines[:3] if line and not line.startswith(("Possible", "*", "file ="))
    )
    return "; ".join(kept).removeprefix("Invalid Input Error: ")
