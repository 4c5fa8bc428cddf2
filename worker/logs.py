"""A job's output on its way to the customer: bounded, live, and never waited for.

`LogTail` is pure: bytes of the two streams in, text to send out. `LogSender` posts what is there the moment
it comes; while one post is under way the next text collects, so a quiet job's line leaves at once and a
loud job makes few large posts.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from prixfixe.errors import InvalidInput
from prixfixe.protocol.canonical import require_storable_json
from worker.settings import Limits

_CHUNK_CHARACTERS: Final = 32768  # the wire takes 65,536; JSON escapes may double a text
_PROGRESS = re.compile(rb"progress: (0(?:\.[0-9]{1,9})?|1(?:\.0{1,9})?)(?: .*)?", re.DOTALL)
_HELD_BYTES: Final = 2048  # of the beginning, and of the end, of a log that is held back
_LINE_CUT: Final = b" ... (line cut)\n"
_LOG_CUT: Final = "\n... (log cut here: it is longer than the worker passes on)\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """Text to send, from `offset` bytes of the log as it was sent so far; progress 0..1 when the job said
    it."""

    offset: int
    text: str
    progress: float | None


class _Lines:
    """One stream, cut at `longest` bytes a line. Keeps the last whole line and the unfinished one."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._line = bytearray()  # of the present line, what was let through
        self._cut = False
        self.last = b""

    def feed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """What of `data` is let through, and the lines that ended in it."""
        passed, ended = bytearray(), []
        for part in data.splitlines(keepends=True) if b"\n" in data or b"\r" in data else [data]:
            whole = part.endswith(b"\n")
            room = self._longest - len(self._line)
            if not self._cut:
                taken = part if len(part) <= room else part[:room]
                passed += taken
                self._line += taken
                if len(taken) < len(part):
                    self._cut = True
                    passed += _LINE_CUT
            if whole:
                line = bytes(self._line).rstrip(b"\r\n")
                if line:
                    self.last = line
                ended.append(line)
                self._line.clear()
                self._cut = False
        return bytes(passed), ended

    @property
    def final(self) -> bytes:
        """The last line that is not empty, ended or not."""
        return bytes(self._line).strip() or self.last


class LogTail:
    """Both streams of one attempt. Offsets count from the attempt's first byte: a worker that was restarted
    reads the whole log again, and the service drops what it has."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._streams = {True: _Lines(limits.line_bytes), False: _Lines(limits.line_bytes)}
        self._undecoded = {True: b"", False: b""}
        self._said = 0
        self.raw_bytes = 0
        self._cut = False

    @property
    def flooded(self) -> bool:
        """The job printed more than it may: it is stopped."""
        return self.raw_bytes > self._limits.log_flood_bytes

    def feed(self, stderr: bool, data: bytes) -> Piece | None:
        """Text of this data to send, if any."""
        self.raw_bytes += len(data)
        passed, lines = self._streams[stderr].feed(data)
        progress = self._progress(lines) if stderr else None
        text = self._decode(stderr, passed)
        if self._cut:
            text = ""
        elif self._said + len(text.encode()) > self._limits.log_bytes:
            text = text.encode()[: self._limits.log_bytes - self._said].decode(errors="ignore") + _LOG_CUT
            self._cut = True
        size = len(text.encode())
        offset = self._said
        self._said += size
        return Piece(offset, text, progress) if text or progress is not None else None

    def _decode(self, stderr: bool, data: bytes) -> str:
        """UTF-8 with a character that two chunks share kept for the next; NUL, which no database text
        holds, and what is no UTF-8 become the replacement character."""
        data = self._undecoded[stderr] + data
        keep = _incomplete(data)
        self._undecoded[stderr] = data[len(data) - keep :] if keep else b""
        return data[: len(data) - keep].decode(errors="replace").replace("\0", "�")

    @staticmethod
    def _progress(lines: list[bytes]) -> float | None:
        for line in reversed(lines):
            if found := _PROGRESS.fullmatch(line):
                return float(found[1])
        return None

    def last_error(self) -> dict[str, Any] | None:
        """The JSON object of stderr's last line, which a job that left with 64 or 65 owes its customer."""
        try:
            line = self._streams[True].final
            require_storable_json(line)
            told = json.loads(line)
        except (InvalidInput, ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) else None

    def last_line(self) -> str:
        """The last line of stderr, else of stdout, for a reason that has nothing better."""
        final = self._streams[True].final or self._streams[False].final
        return final[:300].decode(errors="replace").replace("\0", "�")


def _incomplete(data: bytes) -> int:
    """How many bytes at the end begin a character that is not there yet."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < length else 0
        if byte < 0x80:
            return 0
    return 0


class HeldLog:
    """The log of a task that its customer pays for only if it ends well: a few lines live, the rest at its
    end. A task that is not paid for shows its last lines instead, or failing would be free compute.

    emit: takes the pieces that go out. Offsets count what goes out.
    """

    def __init__(self, emit: Callable[[Piece], None]) -> None:
        self._emit = emit
        self._sent = 0
        self._held: list[str] = []

    def put(self, piece: Piece) -> None:
        room = _HELD_BYTES - self._sent if not self._held else 0
        data = piece.text.encode()
        now = data[: max(room, 0)].decode(errors="ignore")
        if rest := piece.text[len(now) :]:
            self._held.append(rest)
        if now or piece.progress is not None:
            self._send(now, piece.progress)

    def end(self, *, paid: bool) -> None:
        """Send what was held: all of it, or the last lines."""
        held, self._held = "".join(self._held), []
        if not paid and len(data := held.encode()) > _HELD_BYTES:
            last = data[-_HELD_BYTES:].decode(errors="ignore")
            held = f"\n... ({len(data) - _HELD_BYTES} bytes are not shown: the task is not paid)\n{last}"
        if held:
            self._send(held, None)

    def _send(self, text: str, progress: float | None) -> None:
        self._emit(Piece(self._sent, text, progress))
        self._sent += len(text.encode())


class LogSender:
    """Posts pieces in order from a thread of its own. A post that fails for good ends the log, never the
    job."""

    def __init__(self, post: Callable[[Piece], None]) -> None:
        self._post = post
        self._condition = threading.Condition()
        self._text: list[str] = []
        self._offset = 0
        self._progress: float | None = None
        self._closed = False
        self._broken = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, piece: Piece) -> None:
        with self._condition:
            if self._broken:
                return
            if piece.text:
                if not self._text:
                    self._offset = piece.offset
                self._text.append(piece.text)
            if piece.progress is not None:
                self._progress = piece.progress
            self._condition.notify_all()

    def begin_again(self) -> None:
        """The log is read from its beginning again, and what waits here comes with it."""
        with self._condition:
            self._text.clear()

    def close(self, timeout: float) -> None:
        """Send what is left, for at most `timeout` seconds."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while (piece := self._next()) is not None:
            try:
                self._post(piece)
            except Exception:  # the log is a courtesy: the result must go out without it
                with self._condition:
                    self._broken = True
                    self._text.clear()
                return

    def _next(self) -> Piece | None:
        with self._condition:
            self._condition.wait_for(lambda: self._text or self._progress is not None or self._closed)
            if not self._text and self._progress is None:
                return None
            joined = "".join(self._text)
            text, rest = joined[:_CHUNK_CHARACTERS], joined[_CHUNK_CHARACTERS:]
            piece = Piece(self._offset, text, self._progress)
            self._offset += len(text.encode())
            self._text = [rest] if rest else []
            self._progress = None
            return piece
