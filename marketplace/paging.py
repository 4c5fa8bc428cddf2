"""Cursors of lists: where the page that follows begins. What is no cursor is InvalidInput."""

from __future__ import annotations

from prixfixe.errors import InvalidInput


def no_cursor(cursor: str) -> InvalidInput:
    """To be raised."""
    return InvalidInput(f"{cursor[:40]!r} is no cursor", hint="use `next` of the page before")


def position(cursor: str) -> int:
    """A number."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
        raise no_cursor(cursor)
    return int(cursor)


def moment(cursor: str) -> tuple[int, str]:
    """A second, and the name of what was last of it: `SECOND-NAME`."""
    at, _, name = cursor.partition("-")
    if not (at.isascii() and at.isdigit() and len(at) < 12 and name):
        raise no_cursor(cursor)
    return int(at), name
