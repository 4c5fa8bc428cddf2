"""Rounds: how the workers of a deal with several legs commit, open, and learn what the others say.

Nobody learns anything of another's result before its own is fixed: commitments are kept here, and signatures
are handed out only to those who signed the same root.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.engine import RowMapping

from marketplace.assignments import deal_of, own_attempt
from marketplace.store import rounds
from marketplace.store.database import Store
from marketplace.store.settling import PAID_STATES, Standing, standing_of, vote_of
from prixfixe.errors import Conflict, InvalidInput
from prixfixe.protocol import wire
from prixfixe.protocol.replicas import commitment
from prixfixe.protocol.signatures import parse_signature, require_signer
from prixfixe.protocol.typed_data import Domain, format_bytes32, parse_bytes32

_OVER: Final = wire.Reason(
    code="deal-over",
    message="the deal went on without this result",
    hint="nothing is paid for it; stop working on it",
    fault="provider",
)


class Rounds:
    """The worker's side of a round. Every call names its worker's key; nobody else's attempt exists."""

    def __init__(self, store: Store, domain: Domain) -> None:
        self._store = store
        self._domain = domain

    def commit(self, attempt: str, key: str, request: wire.CommitRequest) -> None:
        """Take a commitment. The same again is no error; another one is a Conflict, and so is one that comes
        too late or is another replica's. SignatureError when the worker's key did not sign it."""
        with self._store.write() as connection:
            row = own_attempt(connection, attempt, key)
            deal = parse_bytes32(deal_of(connection, row)["id"])
            signed = request.commitment(deal, row["provider"]).digest(self._domain)
            require_signer(signed, parse_signature(request.signature), key)
            if row["commitment"] is not None and row["commitment"] != request.hash:
                raise Conflict(
                    "another result was committed to already", code="committed-already", fault="provider"
                )
            if row["commitment"] is None or row["state"] == "lost":
                rounds.attempt_committed(connection, attempt, request.hash)

    def open(self, attempt: str, key: str, request: wire.OpenRequest) -> None:
        """Take the result behind a commitment, signed. The same again is no error. InvalidInput when it is
        not what was committed to, Conflict before the round is opening or after it is over."""
        result = request.result
        with self._store.write() as connection:
            row = own_attempt(connection, attempt, key)
            deal = deal_of(connection, row)
            if row["commitment"] is None:
                raise Conflict(
                    "nothing was committed to", code="not-committed", hint="commit first", fault="provider"
                )
            count = deal["deal"]["count"]
            if format_bytes32(result.deal) != deal["id"] or not 1 <= result.done <= count:
                raise _bad(f"the result is not of deal {deal['id']} with 1 to {count} tasks done")
            found = commitment(result.root, parse_bytes32(request.salt), row["provider"], result.deal)
            if format_bytes32(found) != row["commitment"]:
                raise _bad(
                    f"root and salt hash to {format_bytes32(found)}, committed was {row['commitment']}",
                    code="not-as-committed",
                )
            require_signer(result.digest(self._domain), parse_signature(request.signature), key)
            if row["state"] in ("committed", "lost"):
                rounds.attempt_opened(connection, attempt, result, request.signature)

    def look(self, attempt: str, key: str) -> tuple[str, wire.Round]:
        """The deal, by which to wait for news, and the round as this worker may see it."""
        with self._store.read() as connection:
            row = own_attempt(connection, attempt, key)
            deal_of(connection, row)
            standing = standing_of(connection, row["deal"], row["opening"])
        if standing.round is None:
            raise Conflict("the deal has one leg", code="no-round", fault="provider")
        return row["deal"], _seen(standing, row)


def _seen(standing: Standing, row: RowMapping) -> wire.Round:
    assert standing.round is not None
    own = vote_of(row)
    if row["state"] == "failed" and row["reason"] is not None:
        reason = wire.Reason.model_validate(row["reason"])
        state = {"outvoted": "outvoted", "no-consensus": "split"}.get(reason.code, "over")
        return wire.Round.model_validate({"state": state, "reason": reason})
    paid = standing.row["state"] in PAID_STATES
    said = standing.row if paid else standing.round
    agreed = f"{said['root']}:{said['done']}"
    if own is not None and own == agreed and (paid or standing.row["state"] == "open"):
        return wire.Round(
            state="agreed",
            signatures=tuple(standing.signatures(said["root"], said["done"])),
            delivered=any(each["state"] == "succeeded" for each in standing.attempts),
        )
    late = row["commitment"] is None and standing.round["state"] != "committing"
    if standing.row["state"] != "open" or late:
        return wire.Round(state="over", reason=_OVER)
    # A leg that is still to open may do so after the others have agreed: it is paid if it says the same.
    return wire.Round(state="committing" if standing.round["state"] == "committing" else "opening")


def _bad(message: str, code: str = "bad-opening") -> InvalidInput:
    return InvalidInput(message, code=code, fault="provider")
