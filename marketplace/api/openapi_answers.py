"""What of the API's description cannot be read from the routes: bodies that a route reads itself, answers
that are files, streams or written by hand, and problems beyond those that every such route has."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from prixfixe.protocol.lot_batch import LotReports
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.reports import LotReport

# Models of bodies and answers that routes read or write by themselves.
MODELS: Final[tuple[tuple[type[BaseModel], str], ...]] = (
    (LotReport, "validation"),
    (LotReports, "validation"),
    (Receipt, "serialization"),
)
JSON_BODIES: Final = {"workers_result": "LotReport", "workers_results": "LotReports"}

_STRING: Final = {"type": "string"}
_OBJECT: Final = {"type": "object", "additionalProperties": True}
_BLOB: Final = {
    "type": "object",
    "required": ["sha256", "size"],
    "properties": {"sha256": {"type": "string"}, "size": {"type": "integer"}},
    "example": {"sha256": "8d2f397c6f05fd10d2e46822ebce3c78a4bc6569d207143515454b4e866818fa", "size": 1665},
}
_BYTES: Final = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def _answer(text: str, media_type: str, schema: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": text, "content": {media_type: {"schema": schema}}}
    if headers:
        answer["headers"] = {
            name.replace("_", "-"): {"description": said, "schema": _STRING} for name, said in headers.items()
        }
    return answer


def _file(text: str) -> dict[str, Any]:
    return {
        "200": {"description": text, "content": _BYTES, "headers": {"ETag": {"schema": _STRING}}},
        "206": {"description": "The part that `Range` asked for.", "content": _BYTES},
        "416": {"description": "Nothing of the part that `Range` asked for is there."},
    }


def _stream(text: str, kinds: tuple[str, ...], example: dict[str, str]) -> dict[str, Any]:
    """kinds: of events. A stream's schema is that of each event, and `example` one."""
    schema: dict[str, Any] = {
        "type": "object",
        "required": list(example),
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9]+$"},
            "event": {"enum": list(kinds)},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
        "additionalProperties": False,
    }
    return {"description": text, "content": {"text/event-stream": {"schema": schema, "example": example}}}


_JOB_EVENTS: Final = ("state", "progress", "log", "end")
_BOOK_EVENTS: Final = ("depth", "close", "batch")
_WELL: Final = {
    "type": "object",
    "required": ["status", "version"],
    "properties": {"status": {"enum": ["ok", "unwell"]}, "version": _STRING},
    "additionalProperties": True,
}
_READY: Final = {
    "type": "object",
    "required": ["ready", "missing", "led"],
    "properties": {
        "ready": {"type": "boolean"},
        "missing": {"type": "array", "items": _STRING},
        "led": {"type": "object", "additionalProperties": {"type": "boolean"}},
    },
}
_MADE_OF: Final = {
    "description": "The very same was here before.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}},
}

# By operation and status.
ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "market_health": {
        "200": _answer("All is well.", "application/json", _WELL),
        "503": _answer("Something does not answer.", "application/json", _WELL),
    },
    "market_ready": {
        "200": _answer("It should be sent requests.", "application/json", _READY),
        "503": _answer("It should not; `missing` says why.", "application/json", _READY),
    },
    "purse_statement_csv": {
        "200": {
            "description": "A table with a heading; a line for each movement.",
            "content": {"text/csv": {"schema": _STRING}},
        }
    },
    "purse_order": {
        "200": {
            "description": "This very request was here before.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ordered"}}},
        }
    },
    "purse_statement_pdf": {
        "200": {
            "description": "The statement on paper.",
            "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    "certificates_certificate_pdf": {
        "200": {
            "description": "The certificate on paper.",
            "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    "blobs_upload": {
        "200": _answer("You had sent it before.", "application/json", _BLOB),
        "201": _answer("Stored.", "application/json", _BLOB),
    },
    "blobs_download": _file("The bytes."),
    "uploads_state": {
        "204": {
            "description": "How far it is.",
            "headers": {
                "Upload-Offset": {"schema": {"type": "integer"}, "description": "Bytes that have arrived."},
                "Upload-Complete": {"schema": {"enum": ["?0", "?1"]}, "description": "Whether it is whole."},
                "Upload-Limit": {"schema": _STRING},
            },
        }
    },
    "uploads_append": {
        "200": _answer("The last part; you had sent the file before.", "application/json", _BLOB),
        "201": _answer("The last part; the blob is whole and checked.", "application/json", _BLOB),
        "204": {
            "description": "Taken; more is to come.",
            "headers": {"Upload-Offset": {"schema": {"type": "integer"}}},
        },
    },
    "jobs_place": {"200": _MADE_OF},
    "jobs_events": {
        "200": _stream(
            "Events `state`, `progress`, `log` and `end`, each with its number.",
            _JOB_EVENTS,
            {"id": "1", "event": "state", "data": '{"state": "queued", "stage": "waiting for a worker"}'},
        ),
        "204": {"description": "The job is over, and all was told."},
    },
    "jobs_log": {
        "200": {
            "description": "Text.",
            "content": {"text/plain": {"schema": _STRING, "example": "12 rows\n"}},
        }
    },
    "jobs_output": _file("The file."),
    "jobs_receipt": {
        "200": _answer("The receipt.", "application/json", {"$ref": "#/components/schemas/Receipt"})
    },
    "batches_publication": {
        "200": _answer("The publication, in canonical JSON.", "application/json", _OBJECT),
        "206": {"description": "The part that `Range` asked for.", "content": _BYTES},
        "416": {"description": "Nothing of the part that `Range` asked for is there."},
    },
    "book_events": {
        "200": _stream(
            "The book, then its changes: levels (volume 0: gone), the newest batch, when the next closes.",
            _BOOK_EVENTS,
            {"event": "close", "data": '{"at": 1767225600.0}'},
        )
    },
    "workers_assignment": {"204": {"description": "None came."}},
    "workers_assignments": {"204": {"description": "None came."}},
    "workers_secrets": {"204": {"description": "Nothing came."}},
    "inspections_take": {"204": {"description": "None came."}},
}

# Routes that need a session only when an order replaces another.
OPEN_IN_PART: Final = frozenset({"jobs_place", "jobs_place_batch"})
# Those that count by hand, not by a dependency.
COUNTED: Final = frozenset(
    {
        "accounts_sign_up",
        "accounts_sign_in",
        "accounts_change_password",
        "accounts_accept_invite",
        "purse_standing_withdrawal",
        "purse_withdraw",
        "purse_statement",
        "purse_statement_pdf",
        "certificates_certificate",
        "certificates_certificate_pdf",
        "webhooks_test",
        "webhooks_replay",
        "jobs_place_batch",
        "inspections_ask",
    }
)
# Problems beyond those of every route of its kind.
MORE: Final[dict[str, tuple[int, ...]]] = {
    "accounts_sign_in": (401,),
    "accounts_change_password": (401,),
    "sessions_open_session": (401,),
    "quotes_quote": (402, 404, 409, 410),
    "jobs_place": (401, 402, 403, 404, 409, 410),
    "jobs_place_batch": (401, 402, 403, 404, 409, 410),
    "purse_order": (402, 404, 409, 410),
    "purse_withdraw": (402,),
    "purse_standing_withdrawal": (409,),
    "inspections_ask": (404,),
    "jobs_receipt": (409,),
    "jobs_output": (404,),
    "blobs_upload": (413,),
    "uploads_append": (413, 429),
    "bundles_publish": (404,),
    "book_place": (401, 403, 404),
    "workers_register": (402, 404),
    "workers_heartbeat": (402, 404),
    "workers_benchmark": (404,),
    "workers_round": (409,),
    "desk_inputs": (404,),
    "desk_history": (404,),
}
