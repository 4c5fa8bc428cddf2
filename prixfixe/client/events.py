"""Server-sent events of a job (HTML standard, section 9.2), from lines of text."""

from __future__ import annotations

import json

from pydantic import ValidationError

from prixfixe.protocol.wire import JobEvent


class EventParser:
    """Fed the stream line by line; remembers the last id, from which a new connection resumes."""

    def __init__(self, after: int = 0) -> None:
        self.last_id = after
        self._id: str | None = None
        self._kind = ""
        self._data: list[str] = []

    def feed(self, line: str) -> JobEvent | None:
        """The event that this line completes, if any. Comments, unknown fields and repeated events are
        skipped."""
        if line == "":
            return self._complete()
        if line.startswith(":"):
            return None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self._id = value
        elif name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        return None

    def reset(self) -> None:
        """Forget a half-received event: the connection broke inside it, and it will come again."""
        self._id, self._kind, self._data = None, "", []

    def _complete(self) -> JobEvent | None:
        number, kind, data = self._id, self._kind, "\n".join(self._data)
        self.reset()
        if number is None or not (number.isascii() and number.isdigit()) or int(number) <= self.last_id:
            return None
        try:
            event = JobEvent(id=int(number), kind=kind, data=json.loads(data))  # type: ignore[arg-type]
        except (ValueError, ValidationError, RecursionError):
            return None  # a kind that a newer service knows
        self.last_id = event.id
        return event
