"""A list of checks with their outcome: what a verification gives back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from prixfixe.errors import PrixfixeError, VerificationFailed


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ok: None when it could not be, and `detail` says what that takes."""

    name: str
    ok: bool | None
    detail: str

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "detail": self.detail}


@dataclass(slots=True)
class Checks:
    """Collects outcomes in order. A check that raises one of our errors has failed, with its sentence."""

    done: list[Check] = field(default_factory=list)

    def add(self, name: str, ok: bool, detail: str) -> bool:
        self.done.append(Check(name, ok, detail))
        return ok

    def skip(self, name: str, detail: str) -> None:
        self.done.append(Check(name, None, detail))

    @contextmanager
    def check(self, name: str, detail: str) -> Iterator[None]:
        """`detail` is what holds when the block ends; the block calls `refuse` when something does not."""
        try:
            yield
        except PrixfixeError as error:
            self.done.append(Check(name, False, error.message))
        else:
            self.done.append(Check(name, True, detail))


def refuse(message: str) -> None:
    """End the present check as failed."""
    raise VerificationFailed(message)


def require(holds: bool, message: str) -> None:
    """`refuse(message)` unless it holds."""
    if not holds:
        refuse(message)


@dataclass(frozen=True, slots=True)
class Verification:
    """All checks of one receipt. valid: none failed; complete: none was left out either."""

    checks: tuple[Check, ...]

    @property
    def valid(self) -> bool:
        return all(check.ok is not False for check in self.checks)

    @property
    def complete(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def faults(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.ok is False)

    def to_json(self) -> dict[str, Any]:
        return {
            "valid": self.valid,
            "complete": self.complete,
            "checks": [check.to_json() for check in self.checks],
        }
