"""`/v1/uploads/{sha256}`: large files in parts, resumed where they stopped. `prixfixe.protocol.uploads` says
how."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request, Response
from starlette.concurrency import run_in_threadpool

from marketplace.api.access import BlobName, Caller, ServicesDep
from marketplace.api.blobs import declared_size, receive
from marketplace.api.shares import share_of_account
from marketplace.uploads import Append
from prixfixe.protocol.uploads import LIMIT, MEDIA_TYPE, YES, UploadState

router = APIRouter(prefix="/uploads", tags=["blobs"])

# What a decimal integer of a structured header can hold (RFC 9651).
_LARGEST = 10**15 - 1
_Size = Annotated[int, Header(ge=0, le=_LARGEST)]


@router.head("/{sha256}", status_code=204)
def state(services: ServicesDep, caller: Caller, sha256: BlobName) -> Response:
    """How many bytes of this file the caller has sent (`Upload-Offset`), and whether it is whole
    (`Upload-Complete`)."""
    found = services.uploads.state(sha256, caller)
    limits = f"max-size={services.blobs.max_bytes}, max-age={services.uploads.limits.seconds:.0f}"
    headers = {**found.headers(), LIMIT: limits, "Cache-Control": "no-store"}
    return Response(status_code=204, headers=headers)


@router.patch(
    "/{sha256}",
    status_code=201,
    dependencies=[share_of_account("uploads")],
    responses={
        200: {"description": "The last part; the blob was there before."},
        201: {"description": "The last part; the blob is whole and checked."},
        204: {"description": "Taken; more is to come."},
        409: {"description": "The part begins elsewhere than at `Upload-Offset`, which the answer names."},
    },
    openapi_extra={
        "requestBody": {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def append(
    services: ServicesDep,
    caller: Caller,
    sha256: BlobName,
    request: Request,
    response: Response,
    upload_offset: _Size,
    upload_complete: Annotated[Literal["?0", "?1"], Header()],
    upload_length: Annotated[int | None, Header(ge=0, le=_LARGEST)] = None,
) -> dict[str, object] | None:
    """Go on with a file at `Upload-Offset`. Bytes before a cut are kept. `Upload-Complete: ?1`: these are
    the last ones; the whole is checked against its name: 422 when it is another file, and nothing is left."""

    def begin() -> Append:
        return services.uploads.append(
            sha256, caller, upload_offset, coming=declared_size(request) or 0, length=upload_length
        )

    with await run_in_threadpool(begin) as incoming:
        await receive(request, incoming)
        if upload_complete != YES:
            response.headers.update(UploadState(incoming.offset, complete=False).headers())
            response.status_code = 204
            return None
        new = await run_in_threadpool(incoming.finish)
    response.headers.update(UploadState(incoming.offset, complete=True).headers())
    response.status_code = 201 if new else 200
    return {"sha256": sha256, "size": incoming.offset}


@router.delete("/{sha256}", status_code=204)
def cancel(services: ServicesDep, caller: Caller, sha256: BlobName) -> None:
    """Forget what was sent of a file that is not whole. A blob that is there stays."""
    services.uploads.cancel(sha256, caller)
