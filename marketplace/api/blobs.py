"""`/v1/blobs/{sha256}`: files in, files out, streamed both ways."""

from __future__ import annotations

import asyncio
from typing import Protocol

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from marketplace.api.access import BlobName, Caller, ServicesDep
from marketplace.api.files import file_response
from marketplace.api.shares import share_of_account
from marketplace.blobs import Blob
from prixfixe.errors import InvalidInput

router = APIRouter(prefix="/blobs", tags=["blobs"])

# Bytes handed to a thread at once: the hop costs as much as hashing a tenth of it.
_PIECE_BYTES = 1 << 20


class Writable(Protocol):
    """What takes a body's pieces; may block."""

    def write(self, chunk: bytes) -> None: ...


@router.put("/{sha256}", status_code=201, dependencies=[share_of_account("uploads")])
async def upload(
    services: ServicesDep, caller: Caller, sha256: BlobName, request: Request, response: Response
) -> dict[str, object]:
    """Store a file under its SHA-256. 201 when it is new, 200 when it was there; 422 when the bytes have
    another digest."""
    began = await run_in_threadpool(services.blobs.upload, sha256, caller, declared_size(request))
    with began as incoming:
        size = await receive(request, incoming)
        new = await run_in_threadpool(incoming.finish)
    response.status_code = 201 if new else 200
    return {"sha256": sha256, "size": size}


@router.head("/{sha256}", include_in_schema=False)
@router.get("/{sha256}")
def download(services: ServicesDep, caller: Caller, sha256: BlobName, request: Request) -> Response:
    """The bytes, for whoever put them there and for the worker that needs them. Ranges are served."""
    return blob_response(request, services.blobs.open(sha256, caller))


def blob_response(request: Request, blob: Blob, name: str | None = None) -> Response:
    """A file that no browser interprets and every cache may keep by its digest."""
    headers = {"ETag": f'"{blob.sha256}"', "X-Content-Type-Options": "nosniff", "Cache-Control": "private"}
    return file_response(request, blob, "application/octet-stream", headers, name)


async def receive(request: Request, incoming: Writable) -> int:
    """Hand a body on in pieces; its bytes. What came before a cut is handed on too. While a piece is written
    the next one arrives; two are in memory at most."""
    size, held, writing = 0, 0, None
    chunks: list[bytes] = []
    cut: ClientDisconnect | None = None
    try:
        async for chunk in request.stream():
            size += len(chunk)
            held += len(chunk)
            chunks.append(chunk)
            if held >= _PIECE_BYTES:
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(run_in_threadpool(incoming.write, b"".join(chunks)))
                chunks, held = [], 0
    except ClientDisconnect as error:
        cut = error
    finally:
        # Also when something else went wrong: nobody closes the file while a thread writes to it.
        if writing is not None:
            await writing
    if chunks:
        await run_in_threadpool(incoming.write, b"".join(chunks))
    if cut is not None:
        # Nobody hears this; it ends the request without a fault in the log.
        raise InvalidInput("the upload was cut off", code="upload-cut", retryable=True) from cut
    return size


def declared_size(request: Request) -> int | None:
    """Bytes of the body, when its sender says them."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None
