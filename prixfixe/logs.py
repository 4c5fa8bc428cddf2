"""Logs of service and worker: lines for people or one JSON object a line, bound by ids, without secrets.

`about(job=...)` binds ids to all that its thread or coroutine logs within it; `extra=ids(job=...)` to one
line. An order's id is its job's: the same name stands in the lines of the API, the scheduler's duties and the
worker, so one word finds all that happened to it.

A line never holds the password of an address, a bearer token, what a name such as `secret=` or `api_key:`
announces, or anything given to `hide`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, TypeAlias
from urllib.parse import urlsplit

LogFormat: TypeAlias = Literal["text", "json"]
FORMATS: Final[tuple[LogFormat, ...]] = ("text", "json")

_HIDDEN: Final = "***"
_LEAST_HIDDEN: Final = 6  # a shorter secret would blot out words that mean nothing
_BREAKS: Final = {ordinal: f"\\x{ordinal:02x}" for ordinal in range(32) if chr(ordinal) not in "\t"}
_bound: ContextVar[Mapping[str, Any] | None] = ContextVar("prixfixe_log_ids", default=None)
_secrets: tuple[str, ...] = ()
_WORD: Final = re.compile(r"\w+")
_hiding: Final = threading.Lock()

_PATTERNS: Final = (
    # scheme://user:PASSWORD@host
    (re.compile(r"(://[^/\s:@'\"]*:)[^/\s@'\"]+(?=@)"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{6,}"), rf"\1\2{_HIDDEN}"),
    (
        re.compile(
            r"(?i)((?:password|passwd|passphrase|secret|private[_-]?key|api[_-]?key|access[_-]?key|authorization"
            r"|x-amz-signature|(?:session|access|bearer)[_-]?token)[\"']?\s*[=:]\s*[\"']?)(?!\*)[^\s\"'&,;}]+"
        ),
        rf"\1{_HIDDEN}",
    ),
)


@contextmanager
def about(**named: Any) -> Iterator[None]:
    """Bind ids to what this thread or coroutine logs within. What is None is left out."""
    token = _bound.set({**(_bound.get() or {}), **_given(named)})
    try:
        yield
    finally:
        _bound.reset(token)


def ids(**named: Any) -> dict[str, Any]:
    """For the `extra` of one line."""
    return {"ids": _given(named)}


def hide(secret: str | None) -> None:
    """Keep this text out of every line of this process. Nothing shorter than six characters."""
    global _secrets
    if secret is not None and len(secret) >= _LEAST_HIDDEN:
        # The longest first, as one may begin another.
        with _hiding:
            _secrets = tuple(sorted({*_secrets, secret}, key=len, reverse=True))


def hide_address(url: str) -> None:
    """Keep what an address may be a key to out of every line: password, path and query. url: several are
    separated by spaces."""
    for each in url.split():
        parts = urlsplit(each)
        for secret in (parts.password, parts.path.strip("/"), parts.query):
            hide(secret or None)


def without_secrets(text: str) -> str:
    """The text with what is secret in it blotted out."""
    for secret in _secrets:
        text = text.replace(secret, _HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


class TextLines(logging.Formatter):
    """A line for people, with the ids at its end that it does not name already. Times are UTC when
    `dates` ends in Z."""

    def __init__(self, form: str, dates: str | None = None) -> None:
        super().__init__(form, dates)
        if dates is not None and dates.endswith("Z"):
            self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        # What a stranger's text holds cannot look like a line of its own.
        record.message = record.message.translate(_BREAKS)
        line = super().formatMessage(record)
        said = set(_WORD.findall(record.message))
        more = [
            f"{name}={value}"
            for name, value in _ids_of(record).items()
            if isinstance(value, int) or value not in said
        ]
        return f"{line} [{' '.join(more)}]" if more else line

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object a line: `time` (UTC, RFC 3339), `level`, `logger`, `message`, the ids by their names,
    and `error` with a traceback when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        line |= {name: value for name, value in _ids_of(record).items() if name not in line}
        if record.exc_info:
            line["error"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def formatter(form: LogFormat, text: str, dates: str | None = None) -> logging.Formatter:
    """What writes the lines: `text` is the form of those for people."""
    return JsonLines() if form == "json" else TextLines(text, dates)


def configure(level: str, form: LogFormat = "text", stream: TextIO | None = None) -> None:
    """All of a process's log on standard error, instead of where it went before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(form, "%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _given(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if value is not None}


def _ids_of(record: logging.LogRecord) -> dict[str, Any]:
    bound = _bound.get()
    own: Mapping[str, Any] | None = getattr(record, "ids", None)
    return {**(bound or {}), **(own or {})}
