"""Receipts: everything about an ended job, sealed, the same whenever it is asked for."""

from __future__ import annotations

import json

from prixfixe.protocol.canonical import canonical_digest, canonical_json
from prixfixe.protocol.deals import open_word
from prixfixe.protocol.outputs import leaf, merkle_root
from prixfixe.protocol.quotes import quote_digest, receipt_digest
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.signatures import parse_signature, recover
from prixfixe.protocol.typed_data import format_bytes32
from tests.support.finished import hand_in
from tests.support.service import (
    CUSTOMER,
    DOMAIN,
    OPERATOR,
    STRANGER,
    WORKER,
    World,
    refusal,
    refuse_on_chain,
)


def _receipt(world: World, job: str) -> Receipt:
    answer = world.http.get(f"/v1/jobs/{job}/receipt", headers=world.sign_in(CUSTOMER))
    assert answer.status_code == 200, answer.text
    receipt = Receipt.model_validate_json(answer.content)
    assert answer.content == canonical_json(receipt.model_dump(mode="json"))
    seal = receipt_digest(receipt, DOMAIN)
    assert recover(seal, parse_signature(receipt.signature)) == receipt.operator == OPERATOR.address
    return receipt


def test_a_settled_job_has_a_receipt_that_holds_together(world: World) -> None:
    world.publish()
    job = world.placed()
    assignment = world.running(job)
    early = world.http.get(f"/v1/jobs/{job.id}/receipt", headers=world.sign_in(CUSTOMER))
    assert (early.status_code, early.json()["code"]) == (409, "job-not-over")
    report = hand_in(world, assignment, out_csv=b"done")
    receipt = _receipt(world, job.id)
    assert (receipt.outcome, receipt.quoted, receipt.charged) == ("settled", job.quoted, job.quoted)
    assert receipt.job == format_bytes32(receipt.order.digest(DOMAIN)) == job.id
    customer = recover(receipt.order.digest(DOMAIN), parse_signature(receipt.order_signature))
    assert customer == CUSTOMER.address
    assert recover(quote_digest(receipt.quote, DOMAIN), parse_signature(receipt.quote.signature)) == (
        OPERATOR.address
    )
    named = receipt.quote.manifest.bundle
    assert named is not None
    assert named.definition == canonical_digest(receipt.definition).hex()
    (lot,) = receipt.lots
    assert lot.deal_id == format_bytes32(lot.deal.id)
    assert (lot.outcome, lot.done, lot.due) == ("settled", 1, assignment.due)
    leaves = [leaf(place, task.status, task.outputs.digest) for place, task in enumerate(lot.tasks)]
    assert lot.root == format_bytes32(merkle_root(leaves))
    assert recover(report.result.digest(DOMAIN), parse_signature(lot.signatures[0])) == WORKER.address
    assert open_word(lot.deal.id, lot.due)
    assert _receipt(world, job.id) == receipt


def test_a_refused_job_says_why_and_that_nothing_was_charged(world: World) -> None:
    world.publish()
    job = world.placed()
    assignment = world.running(job)
    report = refusal(assignment.deal, assignment.due)
    assert report.reason is not None
    # A float in an application's own message must not keep the receipt from being written.
    odd = report.reason.model_copy(update={"details": {"column": "x", "share": 0.5, "big": 2**60}})
    report = report.model_copy(update={"tasks": (report.tasks[0].model_copy(update={"reason": odd}),)})
    answer = world.worker_post(f"{assignment.attempt}/result", report.model_dump(mode="json"))
    assert answer.json()["accepted"] is True
    refuse_on_chain(world, assignment.deal, report)
    receipt = _receipt(world, job.id)
    assert (receipt.outcome, receipt.charged.units) == ("refunded", 0)
    assert receipt.reason is not None
    assert (receipt.reason.code, receipt.reason.fault) == ("no-column", "customer")
    assert receipt.reason.details == {"column": "x", "share": "0.5", "big": str(2**60)}
    (lot,) = receipt.lots
    assert (lot.outcome, lot.done, lot.root, lot.tasks[0].status) == ("refused", 0, None, 5)
    assert recover(report.result.digest(DOMAIN), parse_signature(lot.signatures[0])) == WORKER.address


def test_a_job_that_never_ran_has_a_receipt_without_deals(world: World) -> None:
    world.publish()
    job = world.placed()
    world.http.post(f"/v1/jobs/{job.id}/cancel", headers=world.sign_in(CUSTOMER))
    receipt = _receipt(world, job.id)
    assert (receipt.outcome, receipt.lots, receipt.charged.units) == ("refunded", (), 0)


def test_a_receipt_is_for_its_customer(world: World) -> None:
    world.publish()
    job = world.placed()
    answer = world.http.get(f"/v1/jobs/{job.id}/receipt", headers=world.sign_in(STRANGER))
    assert (answer.status_code, json.loads(answer.content)["code"]) == (404, "job-unknown")
