"""A challenged job is open to the contract's arbiter, to nobody else, and only while its case is."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from marketplace.store.tables import deals
from prixfixe.keys import LocalSigner
from prixfixe.protocol import wire
from tests.support.finished import RESULT, challenge, deliver, end_case
from tests.support.service import ADMIN, CUSTOMER, DOMAIN, PROVIDER, STRANGER, WORKER, World


@pytest.fixture
def disputed(world: World) -> wire.Job:
    world.publish()
    job = world.placed()
    deliver(world, job)
    challenge(world, job)
    return job


def case_of(world: World, job: wire.Job, reader: LocalSigner) -> tuple[int, dict[str, object]]:
    with world.store.read() as connection:
        deal = connection.execute(select(deals.c.id).where(deals.c.job == job.id)).scalar_one()
    answer = world.http.get(f"/v1/cases/{deal}", headers=world.sign_in(reader))
    return answer.status_code, answer.json()


def blob_of(world: World, sha256: str, reader: LocalSigner) -> int:
    return world.http.get(f"/v1/blobs/{sha256}", headers=world.sign_in(reader)).status_code


def test_the_arbiter_has_all_it_needs_to_run_the_task_again(world: World, disputed: wire.Job) -> None:
    status, told = case_of(world, disputed, ADMIN)
    assert status == 200
    file = wire.CaseFile.model_validate(told)
    assert "0x" + file.purchase.digest(DOMAIN).hex() == disputed.id
    assert file.manifest.digest() == file.purchase.job
    (task,) = file.tasks
    assert (task.index, task.status) == (0, 0)
    needed = [file.image_archive, *(each.sha256 for each in file.manifest.inputs)]
    needed += [each.sha256 for each in task.outputs.files]
    assert [blob_of(world, each, ADMIN) for each in needed] == [200] * len(needed)


@pytest.mark.parametrize("reader", [CUSTOMER, PROVIDER, STRANGER, WORKER])
def test_nobody_else_has_a_case(world: World, disputed: wire.Job, reader: LocalSigner) -> None:
    assert case_of(world, disputed, reader)[0] == 404


@pytest.mark.parametrize("outcome", ["guilty", "acquitted", "lapsed"])
def test_when_the_case_is_over_the_arbiter_sees_nothing_any_more(
    world: World, disputed: wire.Job, outcome: str
) -> None:
    table = wire.CaseFile.model_validate(case_of(world, disputed, ADMIN)[1]).manifest.inputs[0].sha256
    end_case(world, disputed, outcome)
    assert case_of(world, disputed, ADMIN)[0] == 404
    assert blob_of(world, table, ADMIN) == 404


def test_before_a_challenge_the_arbiter_sees_nothing(world: World) -> None:
    world.publish()
    job = world.placed()
    deliver(world, job)
    assert case_of(world, job, ADMIN)[0] == 404


def test_a_blob_that_the_disk_has_lost_is_not_there(world: World, disputed: wire.Job) -> None:
    from prixfixe.protocol.hashing import sha256_hex

    name = sha256_hex(RESULT)
    assert blob_of(world, name, ADMIN) == 200
    world.services.blobs.kept.path(name).unlink()
    assert blob_of(world, name, ADMIN) == 404


def test_the_customer_sees_the_dispute_in_its_job(world: World, disputed: wire.Job) -> None:
    answer = world.http.get(f"/v1/jobs/{disputed.id}", headers=world.sign_in(CUSTOMER))
    (dispute,) = wire.Job.model_validate(answer.json()).disputes
    assert (dispute.state, dispute.ground, dispute.task) == ("open", "wrong", 0)
    end_case(world, disputed, "guilty")
    answer = world.http.get(f"/v1/jobs/{disputed.id}", headers=world.sign_in(CUSTOMER))
    job = wire.Job.model_validate(answer.json())
    assert (job.charged.units, job.disputes[0].returned) == (0, job.quoted)
