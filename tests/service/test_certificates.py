"""Certificates: what a receipt proves, in plain words, for its customer and nobody else."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from pypdf import PdfReader

from marketplace.certificates import read_totals
from marketplace.console.certificate_paper import certificate_pdf
from marketplace.console.languages import LANGUAGES
from prixfixe.client.certificates import certificate_bytes, certificate_of
from prixfixe.client.verification import parse_receipt, verify
from prixfixe.protocol.certificate import Certificate
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.money import Money
from prixfixe.protocol.wire import Job
from tests.support.finished import RESULT, challenge, deliver, end_case, refuse
from tests.support.service import CHAIN_ID, CONTRACT, CUSTOMER, DOLLAR, OPERATOR, PROVIDER, STRANGER, World

TOTALS = '{"rows": 12, "sum": 1234.50, "ok": true, "名": [null], "sentences": ["12 rows in. <b>\u202e"]}'


def delivered(world: World) -> Job:
    world.publish()
    job = world.placed()
    deliver(world, job, out_csv=RESULT, totals_json=TOTALS.encode())
    return job


def get(world: World, job: Job, kind: str = ".json") -> bytes:
    answer = world.http.get(f"/v1/jobs/{job.id}/certificate{kind}", headers=world.sign_in(CUSTOMER))
    assert answer.status_code == 200, answer.text
    return answer.content


def text_of(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)


def test_a_certificate_says_what_went_in_what_came_out_and_what_it_cost(world: World) -> None:
    job = delivered(world)
    content = get(world, job)
    found = Certificate.model_validate(json.loads(content))
    assert content == certificate_bytes(found)  # canonical
    receipt = world.http.get(f"/v1/jobs/{job.id}/receipt", headers=world.sign_in(CUSTOMER)).content
    assert found.receipt == hashlib.sha256(receipt).hexdigest()
    assert (found.job, found.customer, found.outcome) == (job.id, CUSTOMER.address, "settled")
    assert (found.quoted, found.charged) == (Money(4 * DOLLAR), Money(4 * DOLLAR))
    assert [(each.name, each.sha256) for each in found.inputs] == [("table.csv", sha256_hex(b"a,b\n"))]
    outputs = {each.name: each.sha256 for each in found.outputs}
    assert outputs == {"out.csv": sha256_hex(RESULT), "totals.json": sha256_hex(TOTALS.encode())}
    assert found.application.bundle == "echo"
    (deal,) = found.deals
    assert (deal.outcome, deal.signed, deal.done) == ("settled", (PROVIDER.address,), 1)
    assert found.control_totals is not None
    assert (found.control_totals["rows"], found.control_totals["sum"]) == (12, "1234.50")


def test_what_was_checked_and_what_was_not_is_the_receipts_own_verification(world: World) -> None:
    found = Certificate.model_validate(json.loads(get(world, delivered(world))))
    assert found.valid
    assert all(each.held for each in found.checked)
    assert {"seal", "order", "quote", "definition", "deal-result", "sum"} <= {
        each.what for each in found.checked
    }
    assert found.not_checked == ("chain", "single", "files", "truth")


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_paper_says_it_in_plain_words(world: World, code: str) -> None:
    job = delivered(world)
    content = get(world, job, f".pdf?language={code}")
    assert content == get(world, job, f".pdf?language={code}")
    text, words = text_of(content), LANGUAGES[code].text
    for key in (
        "certificate.title",
        "certificate.holds",
        "checked.was",
        "checked.was_not",
        "unchecked.truth",
    ):
        assert str(words(key))[:20] in text, key
    for told in (job.id, sha256_hex(RESULT), "12 rows in. <b>\\u{202e}", "sum: 1234.50", "prixfixe verify"):
        assert told in text, told


def test_an_accept_header_chooses_the_kind(world: World) -> None:
    job = delivered(world)
    headers = {**world.sign_in(CUSTOMER), "Accept": "application/pdf"}
    answer = world.http.get(f"/v1/jobs/{job.id}/certificate", headers=headers)
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content == get(world, job, ".pdf")
    assert get(world, job, "") == get(world, job)


def test_there_is_none_for_strangers_nor_before_the_end(world: World) -> None:
    world.publish()
    job = world.placed()
    for kind in ("", ".json", ".pdf"):
        path = f"/v1/jobs/{job.id}/certificate{kind}"
        assert world.http.get(path).status_code == 401
        assert world.http.get(path, headers=world.sign_in(STRANGER)).status_code == 404
        answer = world.http.get(path, headers=world.sign_in(CUSTOMER))
        assert (answer.status_code, answer.json()["code"]) == (409, "job-not-over")


def test_a_job_without_a_result_has_one_too(world: World) -> None:
    world.publish()
    job = world.placed()
    refuse(world, job)
    found = Certificate.model_validate(json.loads(get(world, job)))
    assert (found.outcome, found.charged, found.done) == ("refunded", Money(0), 0)
    assert (found.outputs, found.control_totals) == ((), None)
    assert "not delivered, money back" in text_of(get(world, job, ".pdf"))


def test_what_a_judge_gave_back_is_no_output(world: World) -> None:
    job = delivered(world)
    challenge(world, job)
    end_case(world, job, "guilty")
    found = Certificate.model_validate(json.loads(get(world, job)))
    assert found.outputs == ()
    assert found.deals[0].returned


def test_a_receipt_that_does_not_hold_says_so_first(world: World) -> None:
    job = delivered(world)
    text = world.http.get(f"/v1/jobs/{job.id}/receipt", headers=world.sign_in(CUSTOMER)).content
    altered = parse_receipt(text).model_copy(update={"charged": Money(1)})
    checks = verify(altered, chain_id=CHAIN_ID, contract=CONTRACT, operator=OPERATOR.address)
    found = certificate_of(altered, checks)
    assert not found.valid
    told = text_of(certificate_pdf(found, LANGUAGES["en"]))
    assert "This receipt does not hold" in told
    assert told.index("does not hold") < told.index("DOES NOT HOLD")
    assert "Everything that was checked holds" not in told


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (b'{"a": 0.10, "b": 9007199254740993}', {"a": "0.10", "b": "9007199254740993"}),
        (b'{"a": NaN}', None),
        (b"[1]", None),
        (b"", None),
        (b"\xff", None),
        (b'{"a": "\\ud800"}', None),
        (b"[" * 100_000, None),
        (b'{"a": ' + b"9" * 5000 + b"}", None),
    ],
)
def test_totals_that_a_stranger_wrote_are_taken_as_they_are_or_not_at_all(
    content: bytes, read: object
) -> None:
    assert read_totals(content) == read
