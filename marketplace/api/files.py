"""Files as answers, wherever they lie: whole or the part that was asked for, streamed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from fastapi import Request, Response
from starlette.responses import FileResponse, StreamingResponse

from marketplace.blobs import Blob

_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII)
# Bytes read of a file at once that is sent: each piece is a hop to a thread and back, so that in pieces of
# 64 KiB sending takes twice the processor; in larger ones than these the receiver waits for the reading.
_SENT_BYTES: Final = 1 << 18


class _SentFile(FileResponse):
    """A file in larger pieces than the library's."""

    chunk_size = _SENT_BYTES


def file_response(
    request: Request, blob: Blob, media_type: str, headers: Mapping[str, str], name: str | None = None
) -> Response:
    """The answer that is a blob. headers: with its `ETag`. name: under which it is saved."""
    if (path := blob.path) is not None:
        return _SentFile(path, media_type=media_type, filename=name, headers=dict(headers))
    told = {**headers, "Accept-Ranges": "bytes", "Content-Type": media_type}
    if name is not None:
        # Nothing but what `quote` lets through reaches the header, whatever somebody called the file.
        quoted = quote(name, safe="")
        named = f'filename="{name}"' if quoted == name else f"filename*=utf-8''{quoted}"
        told["Content-Disposition"] = f"attachment; {named}"
    asked = request.headers.get("range")
    if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        asked = None
    start, end, status = 0, blob.size, 200
    if asked is not None and (found := _RANGE.fullmatch(asked)) is not None and found[1] + found[2]:
        start, end = part_of(found[1], found[2], blob.size)
        if start >= end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{blob.size}"})
        told["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
        status = 206
    told["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=told)
    pieces = blob.pieces(start, end)
    # Before the answer begins: what is away or gone is an error, not half a file.
    first = next(pieces, b"")
    return StreamingResponse(itertools.chain([first], pieces), status, told)


def part_of(first: str, last: str, size: int) -> tuple[int, int]:
    """From which byte up to which, of the two numbers of a range (RFC 9110, 14.1.2); an empty part when none
    of it is there. Several ranges at once are no range: a server may send the whole instead."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
