"""The API's description (OpenAPI 3.1), complete: what the framework reads from the routes, and beside it who
may ask, every answer that is a problem, what is no JSON, rate limits, and an example of each body and answer.

Served at /openapi.json.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from marketplace.api.openapi_answers import ANSWERS, COUNTED, JSON_BODIES, MODELS, MORE, OPEN_IN_PART
from marketplace.api.problems import MEDIA_TYPE, PROBLEMS, problem_example

_ABOUT: Final = """Containers at a flat price that is known before it is paid.

**Who asks.** `Authorization: Bearer TOKEN` with an API key (`pfx_...`) of a managed account, or with the
token of a wallet's session (`POST /v1/sessions`); or a signed-in browser's cookie, with the session's CSRF
token in `X-CSRF-Token` for whatever changes something. What a caller may not see is not there for it: 404.

**Errors** are problems (RFC 9457) with a stable `code`, a `hint` that says what to do, and `retryable`;
all codes are in the page of errors (/docs/errors).

**Again.** Orders carry their own identity: the same order is the same job. `Idempotency-Key` does the same
for what the service signs. **Lists** come in pages: `next` is the `cursor` of the page that follows, null for
the last. **Money** is a string of the token's smallest units: "9000000" is $9.00."""

_SCHEMES: Final = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of a managed account (`pfx_...`), with the scopes that it was given.",
    },
    "walletSession": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of POST /v1/sessions: a key signed the service's nonce (EIP-4361).",
    },
    "sessionCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "prixfixe_session",
        "description": "A signed-in browser (POST /v1/account/session).",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "The session's CSRF token, beside the cookie, for what changes something.",
    },
}
_HEADERS: Final = {
    "RateLimit": {
        "description": "What is left of the caller's share, and in how many seconds all of it is back"
        " (draft-ietf-httpapi-ratelimit-headers-10).",
        "schema": {"type": "string"},
        "example": '"quotes";r=599;t=1',
    },
    "RateLimit-Policy": {
        "description": "The share: so many calls in so many seconds.",
        "schema": {"type": "string"},
        "example": '"quotes";q=600;w=60',
    },
    "Retry-After": {
        "description": "Seconds after which to come back.",
        "schema": {"type": "integer"},
        "example": 1,
    },
}
_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457. Further members tell the values at fault.",
    "required": ["type", "title", "status", "detail", "code", "hint", "retryable", "fault"],
    "properties": {
        "type": {"type": "string", "description": "urn:prixfixe:problem: and the kind."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "One sentence that names the value at fault."},
        "code": {"type": "string", "description": "Stable, for programs."},
        "hint": {"type": ["string", "null"], "description": "What to do next."},
        "retryable": {"type": "boolean", "description": "Whether the same call may succeed later."},
        "fault": {"enum": ["customer", "provider", "platform"]},
    },
    "additionalProperties": True,
}
_SAFE: Final = ("get", "head")
_LIMITED: Final = ("RateLimit", "RateLimit-Policy")


def description(routers: Sequence[APIRouter], version: str) -> dict[str, Any]:
    """The whole document."""
    app = FastAPI(title="Prixfixe", version=version, description=_ABOUT)
    for router in routers:
        app.include_router(router, prefix="/v1")
    found = copy.deepcopy(app.openapi())
    components = found["components"]
    schemas = components["schemas"]
    for gone in ("HTTPValidationError", "ValidationError"):
        schemas.pop(gone, None)
    schemas["Problem"] = _PROBLEM
    kinds: Any = [(model, mode) for model, mode in MODELS]
    _, more = models_json_schema(kinds, ref_template="#/components/schemas/{model}")
    for name, schema in more.get("$defs", {}).items():
        schemas.setdefault(name, schema)
    components["securitySchemes"] = _SCHEMES
    components["headers"] = _HEADERS
    components["responses"] = {f"Problem{status}": _problem(status) for status in PROBLEMS}
    examples = json.loads(files("marketplace.api").joinpath("examples.json").read_text(encoding="utf-8"))
    for route, method in _routes(routers):
        operation = found["paths"]["/v1" + route.path.replace(":path", "")].get(method)
        if operation is not None:
            _complete(operation, route, method)
            _exemplify(operation, examples.get(operation["operationId"], {}))
            _exemplify_parameters(operation, examples["parameters"])
    return found


def _routes(routers: Sequence[APIRouter]) -> Iterator[tuple[APIRoute, str]]:
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                yield from ((route, method.lower()) for method in sorted(route.methods or ()))


def operation_id(route: APIRoute) -> str:
    """`jobs_outputs`: module and function."""
    module = route.endpoint.__module__.rpartition(".")[2]
    return f"{module}_{route.endpoint.__name__}".rstrip("_")


def _complete(operation: dict[str, Any], route: APIRoute, method: str) -> None:
    name = operation["operationId"] = operation_id(route)
    text = " ".join(operation["description"].split())
    operation["summary"] = text.partition(". ")[0].partition("; ")[0].rstrip(".")
    operation["description"] = text
    asked = set(_asked(route.dependant))
    _say_who(operation, name, asked, method)
    if name in JSON_BODIES:
        schema = {"$ref": f"#/components/schemas/{JSON_BODIES[name]}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    answers = operation["responses"]
    for status, answer in ANSWERS.get(name, {}).items():
        answers[status] = copy.deepcopy(answer)
    for status, answer in answers.items():
        if answer.get("description") == "Successful Response":
            answer["description"] = (
                "Done; nothing is said." if status == "204" else operation["summary"] + "."
            )
        if ("count" in asked or name in COUNTED) and status.startswith("2"):
            answer.setdefault("headers", {}).update(
                {each: {"$ref": f"#/components/headers/{each}"} for each in _LIMITED}
            )
    for number in _problems(operation, name, asked, method):
        if "content" not in answers.get(str(number), {}) or number == 422:
            answers[str(number)] = {"$ref": f"#/components/responses/Problem{number}"}
    operation["responses"] = dict(sorted(answers.items()))


def _asked(dependant: Dependant) -> Iterator[str]:
    """Names of all functions that a route depends on."""
    for each in dependant.dependencies:
        yield getattr(each.call, "__name__", "")
        yield from _asked(each)


def _say_who(operation: dict[str, Any], name: str, asked: set[str], method: str) -> None:
    browser: dict[str, list[str]] = {"sessionCookie": []}
    if method not in _SAFE:
        browser["csrf"] = []
    operation.pop("security", None)
    if "caller" in asked:
        operation["security"] = [{"walletSession": []}, {"apiKey": []}, browser]
    elif "asker" in asked:
        operation["security"] = [{"apiKey": []}, browser]
    elif "session_of" in asked:
        operation["security"] = [browser]
    elif "wallet_session" in asked:
        operation["security"] = [{"walletSession": []}]
    elif name in OPEN_IN_PART:
        operation["security"] = [{}, {"walletSession": []}]
    else:
        operation["security"] = []


def _problems(operation: dict[str, Any], name: str, asked: set[str], method: str) -> list[int]:
    """Statuses of the problems that it can answer."""
    found = {500, 503, *MORE.get(name, ())}
    if operation.get("parameters") or "requestBody" in operation or operation["security"]:
        found.add(422)
    if "requestBody" in operation:
        found |= {400, 413}
    if operation["security"]:
        found |= {401, 403}
    if "managed_of" in asked or any(each["in"] == "path" for each in operation.get("parameters", ())):
        found.add(404)
    if "count" in asked or name in COUNTED:
        found.add(429)
    if method not in _SAFE:
        found |= {409, 507}
    return sorted(found)


def _problem(status: int) -> dict[str, Any]:
    example = problem_example(status)
    answer: dict[str, Any] = {
        "description": example["title"] + ".",
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example},
        },
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "example": "Bearer"}}
    return answer


def _exemplify(operation: dict[str, Any], known: dict[str, Any]) -> None:
    """known: `request`, `responses` by status, and the answer as a table, `csv`, as they were recorded of a
    service."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None and "request" in known:
        body["example"] = known["request"]
    for status, value in known.get("responses", {}).items():
        content = operation["responses"].get(status, {}).get("content", {}).get("application/json")
        if content is not None:
            content["example"] = value
    table = operation["responses"].get("200", {}).get("content", {}).get("text/csv")
    if table is not None and "csv" in known:
        table["example"] = known["csv"]


def _exemplify_parameters(operation: dict[str, Any], known: dict[str, Any]) -> None:
    """known: by a parameter's name, before it by operation and name."""
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        example = known.get(f"{operation['operationId']}.{name}", known.get(name))
        if example is not None:
            parameter["schema"].pop("examples", None)
            parameter["example"] = example
