"""What both transports share: how a client is put together, its limits, what a lost connection is called."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from prixfixe import __version__
from prixfixe.client.api_keys import FROM_ENVIRONMENT, VARIABLE, open_api_key
from prixfixe.client.calls import Part, Request, Upload
from prixfixe.client.contexts import Context, resolve_context
from prixfixe.client.keeping import SessionFile
from prixfixe.client.operations import Operations
from prixfixe.connections import connection_options
from prixfixe.development_keys import ADDRESSES
from prixfixe.errors import PrixfixeError, Unavailable
from prixfixe.keys import Signer, list_keystores, load_signer

# A service sends a comment every few seconds on an event stream; three missed ones are a dead connection.
EVENTS_READ_SECONDS = 45.0
# How long a watcher keeps trying a service that does not answer at all. The chain refunds without the
# service.
SILENCE_SECONDS = 90.0
RECONNECT_SECONDS = 0.5


def make_operations(
    context: Context | str | None,
    signer: Signer | Callable[[], Signer] | None,
    *,
    keep_sessions: bool,
    api_key: str | None = None,
) -> Operations:
    """The operations of a context's customer; of a managed account's with an API key: given, the context's,
    or in PRIXFIXE_API_KEY."""
    if not isinstance(context, Context):
        context = resolve_context(context)
    if api_key is None and signer is None and (where := api_key_of(context)) is not None:
        api_key = open_api_key(where)
    if api_key is not None:
        return Operations(context, None, api_key=api_key)
    opener: Callable[[], Signer] | None
    address: str | None = None
    if signer is None:
        spec, chain_id = context.key, context.chain_id
        opener = None if spec is None else lambda: load_signer(spec, chain_id=chain_id)
        address = None if spec is None else address_of_spec(spec)
    elif callable(signer):
        opener = signer
    else:
        opener, address = lambda: signer, signer.address
    sessions = SessionFile(context.service) if keep_sessions else None
    return Operations(context, opener, address, sessions)


def api_key_of(context: Context) -> str | None:
    """Where the API key lies that speaks for this context's customer; None when a key of the customer's own
    does, or nobody."""
    if context.api_key is None and context.key is None and os.environ.get(VARIABLE):
        return FROM_ENVIRONMENT
    return context.api_key


def address_of_spec(spec: str) -> str | None:
    """The address of a key spec when it can be told without opening the key, else None."""
    kind, _, rest = spec.partition(":")
    if kind == "dev" and rest.isascii() and rest.isdigit() and int(rest) < len(ADDRESSES):
        return ADDRESSES[int(rest)]
    try:
        return dict(list_keystores()).get(rest if kind == "keystore" else spec)
    except PrixfixeError:
        return None  # some keystore in the folder is broken; opening the right one says more


def http_options(context: Context) -> dict[str, Any]:
    """Keywords of httpx.Client and httpx.AsyncClient."""
    return {
        "base_url": context.service,
        "timeout": 30.0,
        "headers": {"User-Agent": f"prixfixe/{__version__}", "Accept": "application/json"},
        # A bearer token is for this service alone, so redirects are not followed.
        "follow_redirects": False,
        **connection_options(context.service),
    }


def request_options(call: Request | Upload | Part, content: Any) -> dict[str, Any]:
    """Keywords of `request` for an exchange. content: the body of what comes from a file."""
    if isinstance(call, Part):
        headers = {**call.headers, **call.range.headers()}
        return {"method": "PATCH", "url": call.path, "headers": headers, "content": content, "timeout": 300.0}
    if isinstance(call, Upload):
        headers = {
            **call.headers,
            "Content-Length": str(call.size),
            "Content-Type": "application/octet-stream",
        }
        return {"method": "PUT", "url": call.path, "headers": headers, "content": content, "timeout": 300.0}
    options: dict[str, Any] = {"method": call.method, "url": call.path, "headers": dict(call.headers)}
    if call.query:
        options["params"] = dict(call.query)
    if call.body is not None:
        options["json"] = call.body
    return options


def event_headers(authorization: Mapping[str, str], last_id: int) -> dict[str, str]:
    """Headers of an event stream that goes on after an event."""
    headers = {**authorization, "Accept": "text/event-stream"}
    return {**headers, "Last-Event-ID": str(last_id)} if last_id else headers


def lost(context: Context, error: Exception) -> Unavailable:
    """A connection that gave no whole answer."""
    if isinstance(error, Unavailable):
        return error
    why = str(error) or type(error).__name__
    return Unavailable(
        f"the service at {context.service} is out of reach: {why}",
        hint="is it running? `prixfixe context show` says which one is meant",
    )
