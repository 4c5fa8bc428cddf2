"""One of several replicas: commit, open, wait for a quorum.

The commitment is given before anybody shows a result, so an answer cannot be copied; the outputs are given
only when a quorum has signed the same root, so that whoever holds them also holds what pays for them. Salt
and quorum are in the journal before they are used: a restart gives the same commitment again.
"""

from __future__ import annotations

import logging
import threading
from typing import Final, NoReturn

from prixfixe.errors import PrixfixeError, SignatureError, VerificationFailed
from prixfixe.keys import sign_typed
from prixfixe.protocol.replicas import Commitment, commitment
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.signatures import parse_signature, require_signer
from prixfixe.protocol.typed_data import format_bytes32
from prixfixe.protocol.wire import Assignment, CommitRequest, OpenRequest, Round
from worker.room import Abandoned, Room

log = logging.getLogger("prixfixe.worker")

_POLL_SECONDS: Final = 5.0  # one long poll: as long as a stop may wait


class NotPaid(PrixfixeError):
    """A replica's result does not count: it was outvoted, nobody agreed, or the deal went on without it."""

    default_code = "not-paid"
    default_fault = "provider"
    title = "The result is not paid"


def agree(
    room: Room, assignment: Assignment, report: LotReport, wait: float, abandoned: threading.Event
) -> Round:
    """The round once a quorum has signed this result. NotPaid when it will not; Conflict when this worker
    came too late to commit. wait: seconds for which a silent service is waited out at each step."""
    _commit(room, assignment, report, wait)
    state = "committing"
    while True:
        if abandoned.is_set():
            raise Abandoned("the attempt was stopped")
        found = room.client.round(assignment.attempt, state, _POLL_SECONDS, wait)
        if found.state == "agreed":
            _keep_quorum(room, assignment, report, found)
            return found
        if found.state == "opening" and state != "opening":
            _open(room, assignment, report, wait)
        elif found.state not in ("committing", "opening"):
            _raise_not_paid(found)
        state = found.state


def _commit(room: Room, assignment: Assignment, report: LotReport, wait: float) -> None:
    deal, provider = assignment.deal.id, room.settings.provider
    hash_ = commitment(report.result.root, room.journal.salt(assignment.attempt), provider, deal)
    signature = sign_typed(room.signer, Commitment(deal, provider, hash_), room.domain)
    request = CommitRequest(hash=format_bytes32(hash_), signature="0x" + signature.hex())
    room.client.commit(assignment.attempt, request, wait)
    log.info("attempt %s: committed; waiting for its replicas", assignment.attempt)


def _open(room: Room, assignment: Assignment, report: LotReport, wait: float) -> None:
    salt = room.journal.salt(assignment.attempt)
    request = OpenRequest(result=report.result, salt=format_bytes32(salt), signature=report.signature)
    room.client.open(assignment.attempt, request, wait)


def _keep_quorum(room: Room, assignment: Assignment, report: LotReport, found: Round) -> None:
    """Write the signatures down, once they are what the contract asks for; VerificationFailed otherwise."""
    deal, digest = assignment.deal, report.result.digest(room.domain)
    if len(found.signatures) != len(deal.legs):
        raise VerificationFailed(f"{len(found.signatures)} signatures for {len(deal.legs)} legs")
    signed = 0
    for leg, signature in zip(deal.legs, found.signatures, strict=True):
        if signature == "0x":
            continue
        try:
            require_signer(digest, parse_signature(signature), leg.key)
        except SignatureError as error:
            raise VerificationFailed(
                f"the service shows a signature of {leg.key} that is none: {error.message}",
                hint="outputs are given only for a quorum of signatures",
            ) from error
        signed += 1
    if signed < deal.quorum:
        raise VerificationFailed(f"the service shows {signed} signatures, and a quorum is {deal.quorum}")
    room.journal.agreed(assignment.attempt, found.signatures)


def _raise_not_paid(found: Round) -> NoReturn:
    reason = found.reason
    raise NotPaid(
        reason.message if reason is not None else f"the round is {found.state}",
        code=reason.code if reason is not None else found.state,
    )
