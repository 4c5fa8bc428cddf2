"""Sealed secrets go through the service, which cannot open them."""

from __future__ import annotations

import httpx

from prixfixe.protocol import wire
from prixfixe.protocol.secrets import (
    SealingKey,
    SignedSealingKey,
    new_private_key,
    public_key,
    seal,
    unseal,
)
from prixfixe.protocol.typed_data import Domain
from tests.support.service import CUSTOMER, MARKET, STRANGER, WORKER, World

HERE = Domain(MARKET.chain_id, MARKET.contract)
PRIVATE = new_private_key()


def sealing(signer: object = WORKER) -> SignedSealingKey:
    said = SealingKey(
        key=WORKER.address,
        contract=MARKET.contract,
        chain_id=MARKET.chain_id,
        public=public_key(PRIVATE),
    )
    return SignedSealingKey(
        statement=said,
        signature="0x" + signer.sign_digest(said.digest()).hex(),  # type: ignore[attr-defined]
    )


def seals(world: World, job: wire.Job, signer: object = CUSTOMER) -> httpx.Response:
    return world.http.get(f"/v1/jobs/{job.id}/seals", headers=world.sign_in(signer))  # type: ignore[arg-type]


def test_a_customer_seals_to_the_worker_of_its_deal_and_only_that_worker_gets_it(world: World) -> None:
    world.publish()
    job = world.placed()
    assert world.register(sealing=sealing().model_dump(mode="json")).status_code == 200
    assert seals(world, job).json()["items"] == []
    world.open_deal(job.id)
    assignment = world.assignment()
    (waiting,) = seals(world, job).json()["items"]
    assert (waiting["worker"], waiting["given"]) == (WORKER.address, False)
    assert SignedSealingKey.model_validate(waiting["sealing"]) == sealing()
    taken = f"/v1/attempts/{assignment.attempt}/secrets"
    assert world.http.get(taken, headers=world.sign_in(WORKER)).status_code == 204
    sealed = seal({"a": b"x"}, public_key(PRIVATE), assignment.deal, WORKER.address, HERE)
    given = f"/v1/jobs/{job.id}/seals/{assignment.attempt}"
    for signer, status in ((STRANGER, 404), (WORKER, 404), (CUSTOMER, 204)):
        answer = world.http.put(given, json={"sealed": sealed}, headers=world.sign_in(signer))
        assert answer.status_code == status
    assert seals(world, job).json()["items"][0]["given"] is True
    assert seals(world, job, STRANGER).status_code == 404
    assert world.http.get(taken, headers=world.sign_in(STRANGER)).status_code == 404
    told = world.http.get(taken, headers=world.sign_in(WORKER)).json()["sealed"]
    assert unseal(told, PRIVATE, assignment.deal, WORKER.address, HERE) == {"a": b"x"}


def test_a_sealing_key_that_the_worker_has_not_signed_is_refused(world: World) -> None:
    answer = world.register(sealing=sealing(STRANGER).model_dump(mode="json"))
    assert (answer.status_code, answer.json()["code"]) == (422, "sealing-key")
