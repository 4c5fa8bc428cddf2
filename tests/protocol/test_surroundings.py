"""A worker's word for its cage binds deal, root and every limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from prixfixe.keys import development_signer, sign_typed
from prixfixe.protocol.deals import Deal, Leg
from prixfixe.protocol.surroundings import Surroundings, cage_digest, cage_fault
from prixfixe.protocol.typed_data import Domain

DOMAIN = Domain(31337, "0x" + "12" * 20)
ROOT = b"\1" * 32
WORKER = development_signer(10)
DEAL = Deal(
    order=b"\2" * 32,
    customer="0x" + "34" * 20,
    bundle=bytes(32),
    lot=0,
    count=1,
    quorum=1,
    disputable=False,
    price=10,
    fee=1,
    legs=(Leg("0x" + "56" * 20, WORKER.address, 9),),
)
SHOWN = {"runtime": "runsc", "memory_mib": 64, "environment": {"A": "1"}, "attempt": "a", "worker": "w"}


def signed(shown: dict[str, Any], signer: Any = WORKER) -> dict[str, Any]:
    digest = cage_digest(shown)
    word = Surroundings(DEAL.id, ROOT, bytes.fromhex(digest))
    return {**shown, "digest": digest, "signature": "0x" + sign_typed(signer, word, DOMAIN).hex()}


def test_a_cage_that_a_leg_signed_holds_and_names_no_run() -> None:
    assert cage_fault(signed(SHOWN), DEAL, ROOT, DOMAIN) is None
    assert cage_digest(SHOWN) == cage_digest({**SHOWN, "attempt": "b", "worker": "v", "task": 3})


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ({**signed(SHOWN), "memory_mib": 65}, "not the one under its digest"),
        (signed(SHOWN, development_signer(11)), "no leg of the deal"),
        ({**signed(SHOWN), "signature": "0x12"}, "nobody signed"),
        ({**SHOWN, "digest": cage_digest(SHOWN)}, "nobody signed"),
        ({}, "not the one under its digest"),
    ],
)
def test_another_is_no_word_of_the_worker(shown: dict[str, Any], says: str) -> None:
    assert says in str(cage_fault(shown, DEAL, ROOT, DOMAIN))


def test_the_word_is_for_one_deal_and_one_root() -> None:
    assert cage_fault(signed(SHOWN), replace(DEAL, lot=1), ROOT, DOMAIN) is not None
    assert cage_fault(signed(SHOWN), DEAL, bytes(32), DOMAIN) is not None
