"""The cage that a task ran in, as its worker tells and signs it beside the result.

It is the worker's word: nobody can see from outside how a stranger's machine ran a task. Signed, the word
binds: a receipt shows it, and whoever finds it untrue can prove who said so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prixfixe.errors import PrixfixeError
from prixfixe.protocol.canonical import canonical_digest_hex
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.signatures import parse_signature, recover
from prixfixe.protocol.typed_data import Bytes32, Domain, TypedStruct

# Of the one run, not of the cage: two workers that ran a job alike have the same digest without them.
_OF_THE_RUN: Final = frozenset({"attempt", "worker", "task", "tasks", "digest", "signature"})


@dataclass(frozen=True, slots=True)
class Surroundings(TypedStruct):
    """What the key of a leg signs of the cage in which the tasks under a settled root ran. The contract never
    sees it."""

    deal: Bytes32
    root: Bytes32
    cage: Bytes32


def cage_digest(shown: Mapping[str, Any]) -> str:
    """SHA-256 over a cage as it is shown, without what is of the one run only; hexadecimal."""
    return canonical_digest_hex({name: value for name, value in shown.items() if name not in _OF_THE_RUN})


def cage_fault(shown: Mapping[str, Any], deal: Deal, root: bytes, domain: Domain) -> str | None:
    """Why a cage that is shown is no word of a worker of this deal, if it is not: its digest is of another,
    or no leg's key signed it with this root."""
    try:
        digest = cage_digest(shown)
        if shown.get("digest") != digest:
            return "the cage that is shown is not the one under its digest"
        word = Surroundings(deal.id, root, bytes.fromhex(digest)).digest(domain)
        signer = recover(word, parse_signature(str(shown.get("signature"))))
    except (PrixfixeError, ValueError) as error:
        return f"nobody signed the cage that is shown ({error})"
    if signer not in {leg.key for leg in deal.legs}:
        return f"{signer} signed the cage that is shown, and is no leg of the deal"
    return None
