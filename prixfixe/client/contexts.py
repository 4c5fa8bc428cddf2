"""Contexts: which market a command talks to, and with which key.

One file, `contexts.json` in `PRIXFIXE_HOME`, holds all by name and says which is current. It names keys (a
key spec, see `prixfixe.keys` and `prixfixe.client.api_keys`) and holds none. Environment variables win over
the file, one by one: PRIXFIXE_CONTEXT picks the context; PRIXFIXE_SERVICE, PRIXFIXE_RPC, PRIXFIXE_CHAIN_ID,
PRIXFIXE_CONTRACT and PRIXFIXE_KEY replace its fields, and PRIXFIXE_API_KEY is the API key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from prixfixe.client.api_keys import FROM_ENVIRONMENT, VARIABLE, require_spec
from prixfixe.errors import ConfigurationError, NotFound
from prixfixe.keys import home
from prixfixe.protocol.addresses import parse_address

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Context:
    """One market as this person knows it.

    service: base URL of the HTTP API. chain_id, contract: what the service must name too, else it is
    refused. rpc: URL of a chain node that the person chose, None when unknown (chain checks are then left
    out). key: key spec of the customer, None when none is set. api_key: where the API key of a managed
    account lies; with one the service signs, and `key` is not used.
    """

    name: str
    service: str
    chain_id: int
    contract: str
    rpc: str | None = None
    key: str | None = None
    api_key: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"{self.name!r} is no name for a context", hint="letters, digits, dot, dash, underscore"
            )
        object.__setattr__(self, "service", _url(self.service, "service"))
        if self.rpc is not None:
            object.__setattr__(self, "rpc", _url(self.rpc, "rpc"))
        if self.api_key is not None:
            require_spec(self.api_key)
        if type(self.chain_id) is not int or self.chain_id < 1:
            raise ConfigurationError(f"chain id is {self.chain_id!r}, not a positive number")
        object.__setattr__(self, "contract", parse_address(self.contract, name="contract"))


@dataclass(frozen=True, slots=True)
class Contexts:
    """The whole file."""

    current: str | None = None
    contexts: Mapping[str, Context] = field(default_factory=dict)


def load_contexts() -> Contexts:
    """All contexts; none when the file does not exist. ConfigurationError when it is not readable as ours."""
    path = _path()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Contexts(
            data["current"],
            {name: Context(name=name, **fields) for name, fields in data["contexts"].items()},
        )
    except FileNotFoundError:
        return Contexts()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}", hint="correct it, or move it away"
        ) from error


def save_context(context: Context, *, make_current: bool = True) -> None:
    """Add the context or replace the one of its name; by default it becomes the current one."""
    known = load_contexts()
    _write(
        Contexts(
            context.name if make_current or known.current is None else known.current,
            {**known.contexts, context.name: context},
        )
    )


def use_context(name: str) -> Context:
    """Make a known context the current one."""
    known = load_contexts()
    chosen = _find(known, name)
    _write(replace(known, current=name))
    return chosen


def remove_context(name: str) -> None:
    """Forget a context. The current one may be removed too; then none is current."""
    known = load_contexts()
    _find(known, name)
    _write(
        Contexts(
            None if known.current == name else known.current,
            {other: context for other, context in known.contexts.items() if other != name},
        )
    )


def resolve_context(name: str | None = None) -> Context:
    """The named context, else PRIXFIXE_CONTEXT's, else the current one, with the environment's fields in
    place.

    When the environment names service, chain id and contract, no file is needed.
    """
    environment = os.environ
    overrides: dict[str, Any] = {
        name_: environment[variable]
        for name_, variable in (
            ("service", "PRIXFIXE_SERVICE"),
            ("rpc", "PRIXFIXE_RPC"),
            ("contract", "PRIXFIXE_CONTRACT"),
            ("key", "PRIXFIXE_KEY"),
        )
        if environment.get(variable)
    }
    if environment.get(VARIABLE):
        overrides["api_key"] = FROM_ENVIRONMENT
    if chain_id := environment.get("PRIXFIXE_CHAIN_ID"):
        if not chain_id.isascii() or not chain_id.isdigit():
            raise ConfigurationError(f"PRIXFIXE_CHAIN_ID is {chain_id!r}, not a number")
        overrides["chain_id"] = int(chain_id)
    chosen = name or environment.get("PRIXFIXE_CONTEXT")
    if chosen is None and {"service", "chain_id", "contract"} <= overrides.keys():
        return Context(name="environment", **overrides)
    known = load_contexts()
    chosen = chosen or known.current
    if chosen is None:
        raise ConfigurationError(
            "no market is set up on this machine",
            code="no-context",
            hint="start a local one (`prixfixe dev`) or add one (`prixfixe context add NAME --service URL`)",
        )
    return replace(_find(known, chosen), **overrides)


def _find(known: Contexts, name: str) -> Context:
    try:
        return known.contexts[name]
    except KeyError:
        names = ", ".join(sorted(known.contexts)) or "none"
        raise NotFound(f"there is no context {name!r}", hint=f"known contexts: {names}") from None


def _write(contexts: Contexts) -> None:
    path = _path()
    stored = {
        name: {key: value for key, value in asdict(context).items() if key != "name" and value is not None}
        for name, context in sorted(contexts.contexts.items())
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(
        json.dumps({"current": contexts.current, "contexts": stored}, indent=2) + "\n", encoding="utf-8"
    )
    temporary.replace(path)


def _path() -> Path:
    return home() / "contexts.json"


def _url(text: object, name: str) -> str:
    if type(text) is not str or not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", text):
        raise ConfigurationError(f"{name} is {text!r}, not a URL", hint="it begins with http:// or https://")
    return text.rstrip("/")
