"""Sealed secrets go through the service, which cannot open them."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import select

from marketplace.store import deals as chain_deals
from marketplace.store.attempting import attempt_lost
from marketplace.store.tables import sealed_secrets
from prixfixe.keys import LocalSigner
from prixfixe.protocol import wire
from prixfixe.protocol.secrets import (
    SealingKey,
    SignedSealingKey,
    new_private_key,
    public_key,
    seal,
    unseal,
)
from prixfixe.protocol.typed_data import Domain, format_bytes32
from tests.support.service import CUSTOMER, MARKET, STRANGER, WORKER, World, refusal, where

HERE = Domain(MARKET.chain_id, MARKET.contract)
PRIVATE = new_private_key()


def sealing(signer: LocalSigner = WORKER) -> SignedSealingKey:
    said = SealingKey(
        key=WORKER.address,
        contract=MARKET.contract,
        chain_id=MARKET.chain_id,
        public=public_key(PRIVATE),
    )
    return SignedSealingKey(
        statement=said,
        signature="0x" + signer.sign_digest(said.digest()).hex(),
    )


def seals(world: World, job: wire.Job, signer: LocalSigner = CUSTOMER) -> httpx.Response:
    return world.http.get(f"/v1/jobs/{job.id}/seals", headers=world.sign_in(signer))


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


@pytest.mark.both_databases
def test_what_was_sealed_goes_once_the_attempt_ended_or_its_deal_did(world: World) -> None:
    world.publish()

    def given(nonce: int) -> tuple[wire.Job, wire.Assignment]:
        job = world.placed(nonce=nonce)
        running = world.running(job)
        sealed = seal({"a": b"x"}, public_key(PRIVATE), running.deal, WORKER.address, HERE)
        path = f"/v1/jobs/{job.id}/seals/{running.attempt}"
        answer = world.http.put(path, json={"sealed": sealed}, headers=world.sign_in(CUSTOMER))
        assert answer.status_code == 204
        return job, running

    def kept() -> set[str]:
        world.services.seals.sweep()
        with world.store.read() as connection:
            return set(connection.execute(select(sealed_secrets.c.attempt)).scalars())

    _, lost = given(1)
    with world.store.write() as connection:
        attempt_lost(connection, lost.attempt, "w1 fell silent")
    _, refused = given(2)
    assert kept() == {lost.attempt, refused.attempt}, "a lost attempt may come back while its deal is open"
    report = refusal(refused.deal, refused.due)
    answer = world.worker_post(f"{refused.attempt}/result", report.model_dump(mode="json"))
    assert answer.status_code == 200
    assert kept() == {lost.attempt}
    with world.store.write() as connection:
        deal = format_bytes32(lost.deal.id)
        chain_deals.deal_expired(connection, deal, returned=lost.deal.price, where=where(9))
    assert kept() == set()


def test_secrets_for_an_unknown_job_are_refused_as_everything_of_it_is(world: World) -> None:
    nobody = "0x" + "00" * 32
    answer = world.http.get(f"/v1/jobs/{nobody}/seals", headers=world.sign_in(CUSTOMER))
    assert (answer.status_code, answer.json()["code"]) == (404, "job-unknown")
