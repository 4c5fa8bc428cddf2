"""Secrets open for the worker of the deal that they were sealed for, and for nobody else."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from Crypto.Protocol import HPKE
from Crypto.Protocol.DH import import_x25519_public_key

from prixfixe.errors import InvalidInput, VerificationFailed
from prixfixe.keys import development_signer
from prixfixe.protocol.deals import Deal, Leg
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.secrets import (
    SealingKey,
    SignedSealingKey,
    new_private_key,
    public_key,
    require_secrets,
    seal,
    unseal,
)
from prixfixe.protocol.typed_data import Domain

CUSTOMER, PROVIDER, WORKER, OTHER = (development_signer(index) for index in (3, 4, 10, 11))
HERE = Domain(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")
DEAL = Deal(
    order=b"\x01" * 32,
    customer=CUSTOMER.address,
    bundle=bytes(32),
    lot=0,
    count=1,
    quorum=1,
    disputable=False,
    price=5,
    fee=0,
    legs=(Leg(PROVIDER.address, WORKER.address, 5),),
)
SECRETS = {"token": b"hunter2", "empty": b"", "bytes": bytes(range(256))}


def signed(public: str) -> SignedSealingKey:
    said = SealingKey(
        key=WORKER.address, contract=HERE.verifying_contract, chain_id=HERE.chain_id, public=public
    )
    return SignedSealingKey(statement=said, signature="0x" + WORKER.sign_digest(said.digest()).hex())


def test_what_was_sealed_opens_with_the_key_and_shows_nothing_before() -> None:
    private = new_private_key()
    sealed = seal(SECRETS, public_key(private), DEAL, WORKER.address, HERE)
    assert unseal(sealed, private, DEAL, WORKER.address, HERE) == SECRETS
    assert seal(SECRETS, public_key(private), DEAL, WORKER.address, HERE) != sealed


@pytest.mark.parametrize("other", ["key", "deal", "worker", "market", "bytes", "nothing"])
def test_it_opens_for_nothing_else_and_says_no_word_of_it(other: str) -> None:
    private = new_private_key()
    sealed = seal(SECRETS, public_key(private), DEAL, WORKER.address, HERE)
    deal = replace(DEAL, lot=1) if other == "deal" else DEAL
    key = OTHER.address if other == "worker" else WORKER.address
    domain = Domain(1, HERE.verifying_contract) if other == "market" else HERE
    if other == "bytes":
        sealed = sealed[:60] + ("A" if sealed[60] != "A" else "B") + sealed[61:]
    with pytest.raises(InvalidInput, match="do not open") as caught:
        unseal(
            "" if other == "nothing" else sealed,
            new_private_key() if other == "key" else private,
            deal,
            key,
            domain,
        )
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_nested_without_end_is_refused_as_what_does_not_open() -> None:
    private = new_private_key()
    info = b"".join(
        (
            b"prixfixe secrets 1\n",
            f"{HERE.chain_id} {HERE.verifying_contract} {WORKER.address} ".encode(),
            DEAL.id,
        )
    )
    receiver = import_x25519_public_key(bytes.fromhex(public_key(private)))
    cipher = HPKE.new(receiver_key=receiver, aead_id=HPKE.AEAD.CHACHA20_POLY1305, info=info)
    sealed = base64.b64encode(cipher.enc + cipher.seal(b"[" * 100_000)).decode()
    with pytest.raises(InvalidInput, match="do not open"):
        unseal(sealed, private, DEAL, WORKER.address, HERE)


@pytest.mark.parametrize("public", ["00" * 32, "01" + "00" * 31], ids=["zero", "one"])
def test_nothing_is_sealed_to_a_key_whose_secret_everybody_knows(public: str) -> None:
    with pytest.raises(VerificationFailed) as caught:
        seal(SECRETS, public, DEAL, WORKER.address, HERE)
    assert caught.value.code == "sealing-key"


def test_a_sealing_key_that_the_service_swapped_is_found() -> None:
    mine, theirs = public_key(new_private_key()), public_key(new_private_key())
    signed(mine).verify(WORKER.address, HERE)
    swapped = signed(mine).model_copy(
        update={"statement": signed(mine).statement.model_copy(update={"public": theirs})}
    )
    for wrong, key, domain in (
        (swapped, WORKER.address, HERE),
        (signed(mine), OTHER.address, HERE),
        (signed(mine), WORKER.address, Domain(1, HERE.verifying_contract)),
    ):
        with pytest.raises(VerificationFailed):
            wrong.verify(key, domain)


def test_a_manifest_names_secrets_and_one_without_keeps_its_digest() -> None:
    plain = {"image": "sha256:" + "1a" * 32, "command": ("true",), "inputs": (), "determinism": "none"}
    assert b"secrets" not in JobManifest.model_validate(plain).canonical()
    named = JobManifest.model_validate({**plain, "secrets": ("token",)})
    assert JobManifest.model_validate_json(named.canonical()) == named
    for wrong in (("a", "a"), ("../x",), ("",)):
        with pytest.raises(ValueError):
            JobManifest.model_validate({**plain, "secrets": wrong})


def test_secrets_are_those_that_are_named_and_small() -> None:
    require_secrets(SECRETS, tuple(SECRETS))
    for wrong, names in ((SECRETS, ("token",)), ({}, ("token",)), ({"x": bytes(65_537)}, ("x",))):
        with pytest.raises(InvalidInput):
            require_secrets(wrong, names)
