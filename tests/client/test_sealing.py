"""Secrets go to the workers of the customer's own open deals, whatever the service and other workers say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from prixfixe.client import Client, Context
from prixfixe.client.sealing import Given, give_secrets
from prixfixe.errors import Unavailable
from prixfixe.protocol.deals import LOT_CANCELLED, Deal, open_word
from prixfixe.protocol.secrets import Seal, SignedSealingKey, new_private_key, public_key, unseal
from prixfixe.protocol.typed_data import format_bytes32
from tests.protocol.test_secrets import DEAL, HERE, OTHER, SECRETS, WORKER, signed
from tests.support.service import InProcess, World

JOB, DUE, PRIVATE = format_bytes32(DEAL.order), 1_700_000_000, new_private_key()
KEY = signed(public_key(PRIVATE))
LOW_ORDER = signed("0" * 64)


def waiting(
    attempt: str, sealing: SignedSealingKey | None = KEY, deal: Deal = DEAL, worker: str = WORKER.address
) -> Seal:
    return Seal.model_construct(
        attempt=attempt, deal=deal, due=DUE, worker=worker, sealing=sealing, given=False
    )


def give(*seals: Seal, job: str = JOB, word: bytes | None = None) -> tuple[Given, dict[str, str]]:
    """What became of it, and what was handed in, by attempt."""
    handed: dict[str, str] = {}

    def hand_in(_: str, attempt: str, sealed: str) -> None:
        handed[attempt] = sealed

    def lot(order: bytes, number: int) -> bytes:
        return open_word(replace(DEAL, order=order, lot=number).id, DUE) if word is None else word

    client: Any = SimpleNamespace(seals=lambda _: seals, give_seal=hand_in)
    market: Any = SimpleNamespace(lot=lot, domain=HERE)
    return give_secrets(client, market, job, SECRETS), handed


def code(given: Given) -> str:
    assert given.fault is not None
    return given.fault.code


def test_a_worker_whose_key_is_none_keeps_no_other_from_its_secrets() -> None:
    second = replace(DEAL, lot=1)
    given, handed = give(waiting("a", LOW_ORDER), waiting("b", deal=second), waiting("c", None))
    assert (given.workers, code(given)) == (1, "sealing-key")
    assert unseal(handed["b"], PRIVATE, second, WORKER.address, HERE) == SECRETS
    assert list(handed) == ["b"]


def test_nothing_is_sealed_for_a_deal_of_another_order_or_to_a_worker_that_it_does_not_name() -> None:
    for wrong in (
        give(waiting("a"), job="0x" + "02" * 32),
        give(waiting("a", deal=replace(DEAL, order=b"\x02" * 32))),
        give(waiting("a", worker=OTHER.address)),
    ):
        assert (code(wrong[0]), wrong[1]) == ("seal-deal", {})


def test_nothing_is_sealed_for_a_deal_that_is_not_open_on_the_chain() -> None:
    given, handed = give(waiting("a"), word=LOT_CANCELLED)
    assert (given.workers, code(given), handed) == (0, "seal-not-open", {})


class Swapping(InProcess):
    """A service that answers for one job with another's."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if not request.url.path.startswith("/v1/jobs/"):
            return answer
        return httpx.Response(answer.status_code, json={**answer.json(), "id": "0x" + "22" * 32})


def test_an_answer_of_another_job_than_was_asked_for_is_refused(world: World, context: Context) -> None:
    job = world.placed()
    with Client(context, transport=Swapping(world.app)) as client:
        for asked in (client.job, client.cancel):
            with pytest.raises(Unavailable, match=f"calls order {job.id} job 0x2222") as error:
                asked(job.id)
            assert error.value.code == "bad-answer"
            assert not error.value.retryable
