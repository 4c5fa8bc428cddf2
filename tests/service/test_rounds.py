"""Three workers of one deal over HTTP: nobody learns another's answer before its own is fixed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from marketplace.archive import Archive
from marketplace.chain import AccountView
from marketplace.store import deals as chain_deals
from marketplace.store import openings, rounds
from marketplace.store.attempting import attempt_lost, attempt_started
from marketplace.store.rewind import undo
from marketplace.store.settling import settle_when_signed, standing_of
from marketplace.store.tables import asks, attempts, deals, lots, tasks, transactions, workers
from marketplace.store.tables import rounds as round_table
from prixfixe.keys import LocalSigner, development_signer, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.deals import Deal, Due, Fact, refusal_root
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import OutputManifest, leaf, merkle_root
from prixfixe.protocol.replicas import Commitment, commitment
from prixfixe.protocol.reports import LotReport, TaskReport
from prixfixe.protocol.typed_data import format_bytes32
from tests.support.service import (
    CHAIN_TIME,
    CUSTOMER,
    DOLLAR,
    DOMAIN,
    OPERATOR,
    World,
    manifest_of,
    success,
    where,
)

pytestmark = pytest.mark.both_databases

TRUTH = manifest_of(out_csv=b"a true result\n")
LIE = manifest_of(out_csv=b"a lie\n")
OTHER_LIE = manifest_of(out_csv=b"another lie\n")
DUE = Due(CHAIN_TIME + 124).pack()


@dataclass
class Replica:
    """One of the three, over HTTP."""

    world: World
    deal: Deal
    key: LocalSigner
    provider: str
    attempt: str
    salt: bytes

    def post(self, what: str, body: Any) -> httpx.Response:
        path = f"/v1/attempts/{self.attempt}/{what}"
        return self.world.http.post(path, json=body, headers=self.world.sign_in(self.key))

    def hash(self, outputs: OutputManifest) -> bytes:
        return commitment(root(outputs), self.salt, self.provider, self.deal.id)

    def commit(self, outputs: OutputManifest = TRUTH, given: bytes | None = None) -> httpx.Response:
        given = given or self.hash(outputs)
        signature = sign_typed(self.key, Commitment(self.deal.id, self.provider, given), DOMAIN)
        return self.post("commit", {"hash": format_bytes32(given), "signature": "0x" + signature.hex()})

    def open(self, outputs: OutputManifest = TRUTH, salt: bytes | None = None) -> httpx.Response:
        result = Result(self.deal.id, root(outputs), 1)
        body = {
            "result": result.to_json(),
            "salt": format_bytes32(salt or self.salt),
            "signature": "0x" + sign_typed(self.key, result, DOMAIN).hex(),
        }
        return self.post("open", body)

    def look(self) -> wire.Round:
        path = f"/v1/attempts/{self.attempt}/round"
        answer = self.world.http.get(path, headers=self.world.sign_in(self.key))
        assert answer.status_code == 200, answer.text
        return wire.Round.model_validate(answer.json())

    def report(self, outputs: OutputManifest = TRUTH, content: bytes = b"a true result\n") -> httpx.Response:
        self.world.upload(self.key, content)
        return self.post("result", success(self.deal, outputs, self.key).model_dump(mode="json"))

    def refuse(self, fault: str = "provider") -> httpx.Response:
        result = Result(self.deal.id, refusal_root(DUE), 0)
        reason = wire.Reason.model_validate({"code": "no-engine", "message": "no engine", "fault": fault})
        signature = "0x" + sign_typed(self.key, result, DOMAIN).hex()
        task = TaskReport(status=6, exit_code=None, seconds=0.0, outputs=OutputManifest(), reason=reason)
        report = LotReport(tasks=(task,), result=result, signature=signature)
        return self.post("result", report.model_dump(mode="json"))

    def lose(self) -> None:
        with self.world.store.write() as connection:
            attempt_lost(connection, self.attempt, "it fell silent")
            rounds.advance(connection, format_bytes32(self.deal.id), 1)

    @property
    def row(self) -> Any:
        with self.world.store.read() as connection:
            return connection.execute(select(attempts).where(attempts.c.id == self.attempt)).one()


def root(outputs: OutputManifest) -> bytes:
    return merkle_root([leaf(0, 0, outputs.digest)])


@pytest.fixture
def matched(world: World) -> list[Replica]:
    """A job of three replicas, open with three workers of three providers."""
    world.publish(replicas=[1, 3])
    world.upload(CUSTOMER, b"a,b\n")
    answer = world.post_order(world.order(world.quote(replicas=3)))
    assert answer.status_code == 201, answer.text
    job = answer.json()["id"]
    people = [(development_signer(10 + at), development_signer(4 + at).address) for at in range(3)]
    for at, (key, provider) in enumerate(people):
        world.chain.accounts[provider] = AccountView(5 * DOLLAR, 0, 1)
        world.chain.workers[(provider, key.address)] = CHAIN_TIME + 10**6
        body = {
            "provider": provider,
            "name": f"w{at + 1}",
            "resources": {"milli_vcpu": 2000, "memory_mib": 4096, "disk_mib": 8192, "slots": 1},
            "version": "0.1.0",
        }
        assert world.http.post("/v1/workers", json=body, headers=world.sign_in(key)).status_code == 200
    legs = [(provider, key.address) for key, provider in people]
    deal = world.open_deal(job, people=legs, quorum=2)
    found = []
    for at, (key, provider) in enumerate(people):
        attempt = openings.attempt_id(format_bytes32(deal.id), 1, key.address)
        found.append(Replica(world, deal, key, provider, attempt, bytes([at + 1]) * 32))
    return found


@pytest.fixture
def three(matched: list[Replica]) -> list[Replica]:
    """The same, running."""
    for replica in matched:
        assert replica.post("start", None).status_code == 204
    return matched


def settlement(world: World) -> dict[str, Any] | None:
    """What is in the outbox for the deal."""
    with world.store.read() as connection:
        found = connection.execute(
            select(transactions.c.arguments).where(transactions.c.call == "settle")
        ).scalars()
        return next(iter(found), None)


def paid(world: World, deal: Deal, signed: int) -> None:
    """What the indexer does once the settlement in the outbox is mined. signed: a bit for each leg."""
    queued = settlement(world)
    assert queued is not None
    settled = chain_deals.Settled(
        format_bytes32(deal.id),
        root=queued["root"],
        done=1,
        paid=signed.bit_count() * DOLLAR,
        returned=deal.given_back(1, signed).units,
        fact=Fact(done=1, signed=signed, time=where(2)["time"]).pack(),
        signatures=queued["signatures"],
        where=where(2),
    )
    with world.store.write() as connection:
        chain_deals.deals_settled(connection, [settled])


def refused(answer: httpx.Response, code: str, status: int = 409) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_what_was_taken_back_once_a_worker_was_lost_is_not_started_by_another(
    world: World, matched: list[Replica]
) -> None:
    matched[0].lose()
    path = f"/v1/jobs/{matched[0].row.job}/cancel"
    assert world.http.post(path, headers=world.sign_in(CUSTOMER)).status_code == 200
    refused(matched[1].post("start", None), "job-cancelled")


def test_three_who_agree_open_deliver_once_and_settle_with_three_signatures(
    world: World, three: list[Replica]
) -> None:
    for each in three[:2]:
        assert each.commit().status_code == 204
        assert each.look().state == "committing"
        refused(each.open(), "round-not-open")
    assert three[2].commit().status_code == 204
    for each in three:
        assert each.look().state == "opening"
        assert each.open().status_code == 204
    agreed = three[0].look()
    assert (agreed.state, agreed.delivered) == ("agreed", False)
    assert all(signature != "0x" for signature in agreed.signatures)
    assert settlement(world) is None, "nothing is paid before it is delivered"

    assert three[0].report().json() == {"accepted": True, "reason": None}
    queued = settlement(world)
    assert queued is not None
    assert (queued["root"], queued["done"]) == (format_bytes32(root(TRUTH)), 1)
    assert queued["signatures"] == list(agreed.signatures)
    assert three[1].look().delivered
    report = success(three[1].deal, TRUTH, three[1].key).model_dump(mode="json")
    assert three[1].post("result", report).json()["accepted"], "outputs are brought once"


def test_outputs_are_not_taken_before_a_quorum_agrees(three: list[Replica]) -> None:
    for each in three:
        each.commit()
    three[0].open()
    refused(three[0].report(), "not-agreed")


def test_a_copied_commitment_is_refused_and_could_not_be_opened(three: list[Replica]) -> None:
    three[0].commit()
    refused(three[1].commit(given=three[0].hash(TRUTH)), "commitment-copied")
    # Not even under the copier's own name: the hash binds its provider.
    assert three[1].hash(TRUTH) != three[0].hash(TRUTH)


def test_an_opening_must_be_what_was_committed_to(three: list[Replica]) -> None:
    three[0].commit(LIE)
    three[1].commit()
    three[2].commit()
    refused(three[0].open(TRUTH), "not-as-committed", 422)
    refused(three[1].open(salt=bytes(31) + b"\1"), "not-as-committed", 422)
    refused(three[1].commit(LIE), "committed-already")
    assert three[1].commit().status_code == 204, "the same again is no error"


def test_a_commitment_is_signed_by_the_leg_itself(three: list[Replica]) -> None:
    forged = sign_typed(three[1].key, Commitment(three[0].deal.id, three[0].provider, bytes(32)), DOMAIN)
    body = {"hash": format_bytes32(bytes(32)), "signature": "0x" + forged.hex()}
    assert three[0].post("commit", body).status_code in (401, 422)
    assert three[0].row.commitment is None


def test_a_late_commitment_is_refused(world: World, three: list[Replica]) -> None:
    three[2].lose()
    for each in three[:2]:
        each.commit()
    assert three[0].look().state == "opening", "whoever is gone is not waited for"
    refused(three[2].commit(), "round-closed")
    assert three[2].look().state == "over"
    for each in three[:2]:
        each.open()
    three[0].report()
    queued = settlement(world)
    assert queued is not None
    assert [signature == "0x" for signature in queued["signatures"]] == [False, False, True]


def test_a_liar_is_outvoted_told_so_and_cools_down_with_its_provider(
    world: World, three: list[Replica]
) -> None:
    three[0].commit(LIE)
    three[1].commit()
    three[2].commit()
    three[0].open(LIE)
    three[1].open()
    three[2].open()
    told = three[0].look()
    assert told.state == "outvoted"
    assert told.signatures == ()
    assert three[0].row.state == "failed"
    assert three[1].look().state == three[2].look().state == "agreed"
    with world.store.read() as connection:
        until = connection.execute(
            select(workers.c.cool_until).where(workers.c.key == three[0].key.address)
        ).scalar_one()
    assert until > 0
    three[2].report()
    queued = settlement(world)
    assert queued is not None
    assert queued["signatures"][0] == "0x"


def test_three_answers_are_no_consensus_and_the_job_ends_with_it(world: World, three: list[Replica]) -> None:
    with world.store.write() as connection:
        for each in three:
            attempt_started(connection, each.row.id)
    for each, outputs in zip(three, (TRUTH, LIE, OTHER_LIE), strict=True):
        each.commit(outputs)
    for each, outputs in zip(three, (TRUTH, LIE, OTHER_LIE), strict=True):
        each.open(outputs)
    assert [each.look().state for each in three] == ["split"] * 3
    with world.store.write() as connection:
        chain_deals.deal_expired(
            connection, format_bytes32(three[0].deal.id), returned=three[0].deal.price, where=where(2)
        )
    job = world.http.get(
        f"/v1/jobs/{format_bytes32(three[0].deal.order)}", headers=world.sign_in(CUSTOMER)
    ).json()
    assert (job["state"], job["charged"], job["reason"]["code"]) == ("refunded", "0", "no-consensus")
    with world.store.read() as connection:
        left = connection.execute(select(tasks.c.state)).scalars().all()
    assert left == ["queued"], "nobody is at it"


def test_three_answers_are_asked_of_three_others_once_when_there_are_any(
    world: World, three: list[Replica]
) -> None:
    with world.store.write() as connection:
        like = dict(connection.execute(select(workers)).mappings().first() or {})
        ask = world.ask().ask
        for number in range(17, 20):
            other = development_signer(number).address
            connection.execute(workers.insert().values({**like, "key": other, "provider": other}))
            row = {
                "worker": other,
                "product": format_bytes32(ask.product),
                "provider": other,
                "price": DOLLAR,
            }
            row |= {"slots": 1, "expiry": ask.expiry, "ask": ask.to_json(), "signature": "0x", "placed_at": 0}
            connection.execute(asks.insert().values(row))
    for each, outputs in zip(three, (TRUTH, LIE, OTHER_LIE), strict=True):
        each.commit(outputs)
    for each, outputs in zip(three, (TRUTH, LIE, OTHER_LIE), strict=True):
        each.open(outputs)
    assert three[0].look().state == "split"
    with world.store.write() as connection:
        chain_deals.deal_expired(
            connection, format_bytes32(three[0].deal.id), returned=three[0].deal.price, where=where(2)
        )
        lot = connection.execute(select(lots)).mappings().one()
        assert (lot["state"], lot["tries"]) == ("free", 1)
        failed = connection.execute(select(attempts.c.worker).where(attempts.c.state == "failed")).scalars()
        assert set(failed) == {each.key.address for each in three}, "who does not get it again"


def test_a_quorum_of_refusals_gives_the_price_back_at_once(world: World, three: list[Replica]) -> None:
    assert three[0].refuse().status_code == 200
    assert settlement(world) is None, "one of three may be a broken machine"
    assert three[1].refuse("platform").status_code == 200
    queued = settlement(world)
    assert queued is not None
    assert (queued["done"], queued["signatures"][2]) == (0, "0x")
    with world.store.write() as connection:
        chain_deals.deal_refused(
            connection,
            format_bytes32(three[0].deal.id),
            returned=three[0].deal.price,
            signatures=queued["signatures"],
            where=where(2),
        )
    beat = wire.Heartbeat(asks=(), running=(three[2].attempt,)).model_dump(mode="json")
    answer = world.http.post("/v1/workers/heartbeat", json=beat, headers=world.sign_in(three[2].key))
    assert answer.json()["stop"] == [three[2].attempt], "the third works for nothing"


def test_one_who_breaks_does_not_stop_the_others(world: World, three: list[Replica]) -> None:
    three[0].refuse()
    for each in three[1:]:
        each.commit()
    for each in three[1:]:
        assert each.open().status_code == 204
    three[1].report()
    queued = settlement(world)
    assert queued is not None
    assert queued["done"] == 1


def test_who_was_given_up_after_committing_may_still_open(three: list[Replica]) -> None:
    for each in three:
        each.commit()
    three[0].lose()
    assert three[0].row.state == "lost"
    assert three[0].commit().status_code == 204, "a restarted worker begins again with the same"
    three[0].open()
    three[1].open()
    assert three[0].look().state == "agreed"


def test_a_deal_that_the_chain_takes_back_leaves_nobody_waiting_and_goes_on_where_it_was_when_it_returns(
    world: World, three: list[Replica]
) -> None:
    for each in three:
        each.commit()
    three[0].open()
    job = three[0].row.job
    with world.store.write() as connection:
        undo(connection, "DealOpened", {"deal": format_bytes32(three[0].deal.id)})
    assert {each.row.state for each in three} == {"lost"}, "its lot may be matched with others"

    world.open_deal(job, people=[(each.provider, each.key.address) for each in three], quorum=2)
    assert [each.row.state for each in three] == ["opened", "committed", "committed"]
    three[1].open()
    assert three[0].look().state == "agreed"
    assert three[0].report().json()["accepted"]


def test_who_reports_after_its_replicas_were_paid_is_archived_too(
    world: World, three: list[Replica], tmp_path: Path
) -> None:
    for each in three:
        each.commit()
    for each in three:
        each.open()
    three[0].report()
    paid(world, three[0].deal, signed=0b111)
    archive, deal = Archive(tmp_path / "archive"), format_bytes32(three[0].deal.id)
    for reported, held in ((1, {deal}), (2, {deal}), (3, set())):
        if reported > 1:
            assert three[reported - 1].report().json()["accepted"]
        with world.store.read() as connection:
            assert archive.put_results(connection, [deal]) == held
        document = archive.result(deal, 1)
        assert document is not None
        assert len(document["attempts"]) == reported


def test_the_receipt_names_each_leg_and_its_sum_is_exact(world: World, three: list[Replica]) -> None:
    three[0].commit(LIE)
    three[1].commit()
    three[2].commit()
    three[0].open(LIE)
    three[1].open()
    three[2].open()
    three[1].report()
    deal = three[0].deal
    paid(world, deal, signed=0b110)
    from prixfixe.client.verification import parse_receipt, verify

    answer = world.http.get(f"/v1/jobs/{format_bytes32(deal.order)}/receipt", headers=world.sign_in(CUSTOMER))
    receipt = parse_receipt(answer.content)
    (lot,) = receipt.lots
    assert receipt.charged.units == deal.price - DOLLAR
    assert [leg.signed for leg in lot.legs] == [False, True, True]
    assert lot.legs[0].reason is not None
    assert lot.legs[0].reason.code == "outvoted"
    checked = verify(
        receipt, chain_id=DOMAIN.chain_id, contract=DOMAIN.verifying_contract, operator=OPERATOR.address
    )
    assert checked.valid, checked.faults
    fewer = receipt.model_copy(update={"quote": receipt.quote.model_copy(update={"replicas": 4})})
    assert not verify(
        fewer, chain_id=DOMAIN.chain_id, contract=DOMAIN.verifying_contract, operator=OPERATOR.address
    ).valid


def test_a_straggler_is_waited_for_and_not_for_ever(world: World, three: list[Replica]) -> None:
    for each in three[:2]:
        each.commit()
    deal = format_bytes32(three[0].deal.id)
    with world.store.write() as connection:
        standing = standing_of(connection, deal, 1)
        assert standing.round is not None
        quorum_at = standing.round["quorum_at"]
        assert not rounds.is_late(standing, quorum_at + rounds.STRAGGLER_SECONDS - 1)
        assert rounds.is_late(standing, quorum_at + rounds.STRAGGLER_SECONDS + 1)
        connection.execute(update(round_table).values(created_at=quorum_at - 100))
        assert not rounds.is_late(standing_of(connection, deal, 1), quorum_at + 99), "as long again"
        rounds.close_commitments(connection, deal, 1)
    assert three[2].row.state == "lost"
    assert three[0].look().state == "opening"


def test_who_commits_and_does_not_open_holds_the_others_up_for_seconds_only(
    world: World, three: list[Replica]
) -> None:
    for each in three:
        each.commit()
    for each in three[:2]:
        each.open()
    three[0].report()
    assert settlement(world) is None, "the third may still show that it agrees"
    deal = format_bytes32(three[0].deal.id)
    with world.store.write() as connection:
        connection.execute(update(round_table).values(agreed_at=0.0))
        assert settle_when_signed(connection, deal, 1)
    queued = settlement(world)
    assert queued is not None
    assert [signature == "0x" for signature in queued["signatures"]] == [False, False, True]


def test_a_deal_of_one_leg_has_no_round(world: World) -> None:
    world.publish()
    assignment = world.running(world.placed())
    answer = world.http.get(
        f"/v1/attempts/{assignment.attempt}/round", headers=world.sign_in(development_signer(10))
    )
    refused(answer, "no-round")
    with world.store.read() as connection:
        assert connection.execute(select(deals.c.state)).scalar_one() == "open"
