"""Who asks at a managed account, and what they may do."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from prixfixe.errors import Forbidden
from prixfixe.protocol.accounts import Role, Scope

# What a person's role lets it do; a key has the scopes that it was given.
SCOPES: Final[dict[Role, frozenset[Scope]]] = {
    "owner": frozenset({"read", "order", "manage"}),
    "member": frozenset({"read", "order"}),
    "viewer": frozenset({"read"}),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """account: its number. person: who is signed in; None for a key. key: the API key's id; None for a
    person."""

    account: int
    address: str
    scopes: frozenset[Scope]
    person: str | None = None
    key: str | None = None

    @property
    def name(self) -> str:
        """For the books: who asked."""
        return person_name(str(self.person)) if self.key is None else f"key:{self.key}"

    def require(self, scope: Scope) -> Identity:
        """Itself; Forbidden without the scope. Asked before anything is looked up, so that the answer says
        nothing of what there is."""
        if scope not in self.scopes:
            raise Forbidden(
                f"this needs the scope {scope}",
                code="scope-missing",
                hint="ask an owner of the account for a key or a role that has it",
                scope=scope,
            )
        return self


def person_name(person: str) -> str:
    """As `Identity.name` of who is signed in."""
    return f"person:{person}"


def new_id() -> str:
    return secrets.token_hex(16)
