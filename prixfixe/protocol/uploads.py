"""How a large file is sent in parts, and goes on after an interruption: what both sides must agree on.

The shape is that of resumable uploads for HTTP (draft-ietf-httpbis-resumable-upload-10), with one freedom:
an upload's address, `/v1/uploads/{sha256}`, is known before it begins, since a blob is named by its digest
and an upload belongs to who sends it. So nothing is created, and a client needs to remember nothing:

    HEAD    204, Upload-Offset: bytes that the service holds (0 when none), Upload-Complete: ?1 when all
    PATCH   appends at Upload-Offset, which must be where the service is; else 409 with the right one.
            Upload-Complete: ?1 says that these are the last bytes: the whole is then checked against its name
    DELETE  forgets what was sent
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prixfixe.errors import Unavailable

# Files up to this size go in one PUT: asking first and sending again cost about the same.
SMALL_BYTES: Final = 8 * 2**20
# Of one request: what a proxy that collects bodies before it forwards them has to hold, and what a cut
# connection through such a proxy costs.
PART_BYTES: Final = 32 * 2**20

MEDIA_TYPE: Final = "application/partial-upload"
OFFSET: Final = "Upload-Offset"
COMPLETE: Final = "Upload-Complete"
LENGTH: Final = "Upload-Length"
LIMIT: Final = "Upload-Limit"
YES: Final = "?1"
NO: Final = "?0"


def upload_path(sha256: str) -> str:
    """Where a file of that digest is sent to in parts."""
    return f"/v1/uploads/{sha256}"


@dataclass(frozen=True, slots=True)
class UploadState:
    """How far an upload is. offset: bytes that the service holds. complete: the blob is there and checked."""

    offset: int
    complete: bool

    def headers(self) -> dict[str, str]:
        return {OFFSET: str(self.offset), COMPLETE: YES if self.complete else NO}

    @staticmethod
    def read(headers: Mapping[str, str]) -> UploadState:
        """The state that an answer tells; Unavailable when it tells none."""
        offset = headers.get(OFFSET, "")
        if not (offset.isascii() and offset.isdigit()):
            raise Unavailable(
                "the service does not say how much of the file it has",
                code="bad-answer",
                hint="service and client may be of different versions: update the older one",
                retryable=False,
            )
        return UploadState(int(offset), headers.get(COMPLETE) == YES)


@dataclass(frozen=True, slots=True)
class PartRange:
    """Bytes `offset` to `offset + length` of a file of `size` bytes."""

    offset: int
    length: int
    size: int

    @staticmethod
    def next(offset: int, size: int) -> PartRange:
        """The next part to send from `offset`. Without bytes when all are there and only the check is not."""
        return PartRange(offset, min(PART_BYTES, size - offset), size)

    @property
    def end(self) -> int:
        return self.offset + self.length

    @property
    def last(self) -> bool:
        return self.end == self.size

    def headers(self) -> dict[str, str]:
        """The request's headers, its length included."""
        return {
            OFFSET: str(self.offset),
            COMPLETE: YES if self.last else NO,
            LENGTH: str(self.size),
            "Content-Length": str(self.length),
            "Content-Type": MEDIA_TYPE,
        }
