"""`/v1/blobs/{sha256}`: files in, files out, streamed both ways."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse

from marketplace.api.access import BlobName, Caller, ServicesDep
from marketplace.blobs import Upload
from prixfixe.errors import InvalidInput

router = APIRouter(prefix="/blobs", tags=["blobs"])

# Bytes handed to a thread at once: the hop costs as much as hashing a tenth of it.
_PIECE_BYTES = 1 << 20


@router.put("/{sha256}", status_code=201)
async def upload(
    services: ServicesDep, caller: Caller, sha256: BlobName, request: Request, response: Response
) -> dict[str, object]:
    """Store a file under its SHA-256. 201 when it is new, 200 when it was there; 422 when the bytes have
    another digest."""
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdigit() else None
    began = await run_in_threadpool(services.blobs.upload, sha256, caller, declared)
    with began as incoming:
        size = await _receive(request, incoming)
        new = await run_in_threadpool(incoming.finish)
    response.status_code = 201 if new else 200
    return {"sha256": sha256, "size": size}


@router.head("/{sha256}", include_in_schema=False)
@router.get("/{sha256}")
def download(services: ServicesDep, caller: Caller, sha256: BlobName) -> FileResponse:
    """The bytes, for whoever put them there and for the worker that needs them. Ranges are served."""
    blob = services.blobs.open(sha256, caller)
    return file_response(str(blob.path), sha256)


def file_response(path: str, sha256: str, name: str | None = None) -> FileResponse:
    """A file that no browser interprets and every cache may keep by its digest."""
    headers = {"ETag": f'"{sha256}"', "X-Content-Type-Options": "nosniff", "Cache-Control": "private"}
    return FileResponse(path, media_type="application/octet-stream", filename=name, headers=headers)


async def _receive(request: Request, incoming: Upload) -> int:
    size, piece = 0, bytearray()
    try:
        async for chunk in request.stream():
            size += len(chunk)
            piece += chunk
            if len(piece) >= _PIECE_BYTES:
                await run_in_threadpool(incoming.write, bytes(piece))
                piece.clear()
    except ClientDisconnect as error:
        # Nobody hears this; it ends the request without a fault in the log.
        raise InvalidInput("the upload was cut off", code="upload-cut", retryable=True) from error
    if piece:
        await run_in_threadpool(incoming.write, bytes(piece))
    return size
