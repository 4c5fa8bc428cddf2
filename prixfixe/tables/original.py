"""The bytes of the file that was handed in, read once beside its conversion: their SHA-256, and whether they
are UTF-8 when nobody declared what they are."""

from __future__ import annotations

import codecs
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prixfixe.errors import InvalidInput

_PIECE_BYTES = 1 << 16  # larger ones are memory that the system has to find anew each time


class NotUtf8(InvalidInput):
    """A file whose encoding nobody declared is not UTF-8."""

    default_code = "not-utf8"
    default_hint = "declare its encoding, such as cp1252, or save the table as CSV (UTF-8) and run again"
    title = "The file is not UTF-8"


class Utf8:
    """Finds where text is no UTF-8. Feed it pieces, and an empty one at the end; `odd` is the place of the
    first byte at fault, None while there is none.

    Text that is ASCII, as most of it is, is not decoded, which would take as long as pivoting it."""

    def __init__(self) -> None:
        self.odd: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._done = 0

    def feed(self, piece: bytes) -> None:
        if self.odd is not None:
            return
        pending = self._decoder.getstate()[0]
        if pending or not piece.isascii():
            try:
                self._decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                self.odd = self._done - len(pending) + error.start
        self._done += len(piece)


def first_odd_byte(path: Path) -> int | None:
    """Where the file is no UTF-8, None when all of it is."""
    text = Utf8()
    with path.open("rb", buffering=0) as file:
        while text.odd is None:
            piece = file.read(_PIECE_BYTES)
            text.feed(piece)
            if not piece:
                break
    return text.odd


@dataclass(frozen=True)
class Original:
    """What is being found out about a file: wait for it with one of the methods."""

    path: Path
    _found: Future[tuple[str, int | None]]

    def sha256(self) -> str:
        """The digest of all its bytes."""
        return self._found.result()[0]

    def require_text(self) -> None:
        """NotUtf8 when the file was to be UTF-8 and is not."""
        odd = self._found.result()[1]
        if odd is not None:
            raise NotUtf8(f"{self.path.name} is not UTF-8 (byte {odd:,})", file=self.path.name)


@contextmanager
def read_beside(path: Path, *, text: bool = False, alarm: Callable[[], None]) -> Iterator[Original]:
    """Read the file on a thread of its own while the block runs. text: it is to be UTF-8; the first byte that
    is not ends the reading and calls `alarm`, on that thread."""
    with ThreadPoolExecutor(1, "table-original") as pool:
        stop = threading.Event()
        try:
            yield Original(path, pool.submit(_read, path, text, stop, alarm))
        finally:
            stop.set()


def _read(path: Path, text: bool, stop: threading.Event, alarm: Callable[[], None]) -> tuple[str, int | None]:
    digest, utf8 = hashlib.sha256(), Utf8()
    with path.open("rb", buffering=0) as file:
        while not stop.is_set():
            piece = file.read(_PIECE_BYTES)
            if text:
                utf8.feed(piece)
                if utf8.odd is not None:
                    alarm()
                    break
            if not piece:
                break
            digest.update(piece)
    return digest.hexdigest(), utf8.odd
